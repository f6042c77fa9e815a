"""From what was said to what will be painted: every setting that was left open gets its value, without torch."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from vqclip.errors import UsageError
from vqclip.films import Reel, RestyleSettings
from vqclip.presets import merge
from vqclip.prompts import parse_clip, parse_image_prompt, parse_prompts
from vqclip.settings import MAX_SIDE, SEEDS, Delivery, Settings
from vqclip.sinks.names import name_fields, where_to
from vqclip.store.folder import own_defaults
from vqclip.store.registry import Model, find
from vqclip.store.starter import STARTER

R = TypeVar("R", bound=Reel)
MEGAPIXEL = 1024 * 1024
OF_PRIORS = ("sketches", "sketch_again", "refine", "guidance")
"""What only a start from a prior can heed."""
KEPT = (0.3, 0.5)  # of a painting, when it is sketched over for the first time and for the last


def resolve(settings: Settings) -> tuple[Settings, list[str]]:
    """Fills every open setting with the model's own, and draws a seed. Gives the settings and notes for the user.

    Sizes are rounded to the model's stride where the registry knows it, else when the model is loaded.
    Raises: UsageError if settings do not go together, or a prompt cannot be read.
    """
    parse_prompts(settings.prompt, settings.negative)
    for text in settings.image_prompts:
        parse_image_prompt(text)
    for text in settings.clip or ():
        parse_clip(text)
    model, notes = find(settings.vqgan), []
    init = _start(settings.model_dump(include={"init", "init_image", "prior", "vqgan"}))
    notes += _idle(settings, init)
    own = model.own(init) | ({} if model.registered else own_defaults(settings.vqgan))
    missing = {key: value for key, value in own.items() if getattr(settings, key) is None}
    if settings.seed is None:
        missing["seed"] = secrets.randbelow(SEEDS)
        notes.append(f"seed {missing['seed']}")
    resolved = settings.changed(**missing).check_cutouts()
    if resolved.lean is None:  # by the size alone, never by what is free: the way of working changes the last bits
        resolved = resolved.changed(lean=(resolved.width or 0) * (resolved.height or 0) > MEGAPIXEL)
    if resolved.init == "prior" and resolved.prior in (None, STARTER) and model.name != STARTER:
        raise UsageError(
            f"there is no prior for {settings.vqgan!r}: the one there is was trained with the starter",
            hint="start from --init codes, noise, gradient or an --init-image; or make one with `vqclip train prior`, "
            "and name it with --prior",
        )
    return (round_size(resolved, model.stride, notes.append) if model.stride else resolved), notes


def outdated(painted: Mapping[str, Any], said: Mapping[str, Any]) -> set[str]:
    """The settings of a picture that were only its model's own for its start, where `said` asks for another start.

    They are best left open again: a rate that finishes what a prior has sketched makes no picture out of random codes.
    """
    now = merge(painted, said)
    changes = {key for one in (painted, now) for table in _model(one).starts for key in table} - {"init"}
    then, own = (_model(one).own(_start(one)) for one in (painted, now))
    return {key for key in changes if key in painted and painted[key] == then.get(key) != own.get(key)}


def _model(values: Mapping[str, Any]) -> Model:
    return find(values.get("vqgan") or Settings.model_fields["vqgan"].default)


def _start(values: Mapping[str, Any]) -> str:
    """The start that settings say, or that a picture or a prior means, or the model's own."""
    meant = "image" if values.get("init_image") else "prior" if values.get("prior") else None
    return values.get("init") or meant or _model(values).defaults["init"]


def _idle(settings: Settings, init: str) -> list[str]:
    """A note on what was said of sketches where nothing is sketched."""
    flags = [f"--{name.replace('_', '-')}" for name in OF_PRIORS if getattr(settings, name)]
    if init == "prior" or not flags:
        return []
    return [f"only a prior heeds {', '.join(flags)}: with --init {init} nothing is sketched"]


def needs_encoder(settings: Settings) -> bool:
    """Whether pictures are read into the latent: the start, a smaller size of itself, or what is sketched over."""
    turns = settings.init == "prior" and settings.sketch_again
    return bool(settings.coarse or turns or settings.init in ("image", "noise", "gradient"))


def again(times: int) -> list[float]:
    """How much of a painting is kept whenever it is sketched over: ever more, from less than a third to a half."""
    first, last = KEPT
    return [first + (last - first) * n / max(1, times - 1) for n in range(times)]


def round_size(settings: Settings, stride: int, note: Callable[[str], None]) -> Settings:
    """Width and height as the nearest multiples of the stride (at least two cells), saying so where they change."""
    asked = (settings.width or 0, settings.height or 0)
    width, height = (max(2, round(side / stride)) * stride for side in asked)
    if (width, height) == asked:
        return settings
    note(f"{asked[0]}x{asked[1]} becomes {width}x{height}: this model paints in cells of {stride} pixels")
    return settings.changed(width=width, height=height)


def size_of_footage(settings: Settings, size: tuple[int, int]) -> Settings:
    """Settings for painting over pictures of a size: open sides get their aspect, at about the model's own area."""
    if settings.width and settings.height:
        return settings
    own = find(settings.vqgan).own("image") | own_defaults(settings.vqgan)
    wide = size[0] / size[1]
    width = settings.width or (settings.height or (own["width"] * own["height"] / wide) ** 0.5) * wide
    sides = {"width": width, "height": settings.height or width / wide}
    return settings.changed(**{name: min(max(round(side), 16), MAX_SIDE) for name, side in sides.items()})


def target(settings: Settings, delivery: Delivery) -> Path:
    """The file that a picture is meant for; a private one does not tell its prompt by its name. Raises: UsageError."""
    return where_to(delivery.output, _fields(settings, delivery))


def film_target(settings: Settings, delivery: Delivery) -> Path:
    """The file that a film is meant for, its suffix by the format; frames alone have the name of their folder.

    Raises: UsageError.
    """
    return where_to(delivery.output, _fields(settings, delivery), suffixes=(f".{delivery.film_format}",))


def resolve_film(film: R, settings: Settings) -> R:
    """Fills what was left open with the model's own; settings come from `resolve`."""
    model, its = find(settings.vqgan), type(film).model_fields  # not every kind of film has all that a model says
    said = {**model.film, **(model.restyle if isinstance(film, RestyleSettings) else {})}
    own = {key: value for key, value in said.items() if key in its and getattr(film, key) is None}
    if film.frame_learning_rate is None and "frame_learning_rate" not in own:
        own["frame_learning_rate"] = settings.learning_rate
    return film.changed(**own)


def _fields(settings: Settings, delivery: Delivery) -> dict[str, str | int]:
    return name_fields(
        prompt="picture" if delivery.metadata == "private" else settings.prompt or "picture",
        seed=settings.seed or 0,
        model=Path(settings.vqgan).stem,
        steps=settings.steps or 0,
        width=settings.width or 0,
        height=settings.height or 0,
        n=delivery.number,
    )
