"""`vqclip zoom "PROMPT"`: a film that flies into its picture, or out of it, while it is painted on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from vqclip.cli import say
from vqclip.cli.generate import add_with_flags, note_inputs, read_settings
from vqclip.cli.limit import limited
from vqclip.cli.options import Asked, Flag, flag, read_flags
from vqclip.errors import UsageError
from vqclip.films import (
    Change,
    FilmSettings,
    Reel,
    RimKind,
    film_values,
    frame_count,
    loop_frames,
    speed,
    speeds,
    turns,
)
from vqclip.settings import Delivery, FilmFormat, Settings

if TYPE_CHECKING:
    from vqclip.shotlist import Script

FILM, CAMERA = "The film", "The camera"
WITHOUT = frozenset({"count", "save_every", "video", "video_seconds", "quality", "sidecar"})
SHOWN = frozenset({"calm", "clarity"})
"""How a picture is shown; for films these are said of their frames."""
_NONE = "none"
_AS_SAID = ["steps_per_frame", "rim", "carry", "hold", "sharpen", "frame_average", "clarity", "calm"]
_AS_SAID += ["change_every", "change", "renew"]

FLAGS: tuple[Flag, ...] = (
    flag(FILM, "--seconds", float, "How long the film is.", "NUMBER", default="10"),
    flag(FILM, "--frames", int, "How many frames it has, instead of --seconds.", "NUMBER"),
    flag(FILM, "--steps-per-frame", int, "How many steps each frame is painted on.", "NUMBER", default="5"),
    flag(FILM, "--frame-lr", float, "Learning rate of the frames.", "NUMBER", default="model's own"),
    flag(FILM, "--loop", bool, "Let the end flow into the beginning."),
    flag(FILM, "--story", list[str], "A further prompt, in turn. May be repeated.", "PROMPT"),
    flag(FILM, "--change-every", int, "Frames until the next prompt of the story.", "NUMBER"),
    flag(FILM, "--change", Change, "How it comes: sketched by the prior, or by paint alone.", default="sketch"),
    flag(
        FILM,
        "--renew",
        float,
        "Let the prompt come once more, from afar, whenever the camera has gone in by this factor; 0 never.",
        "NUMBER",
        default="model's own",
    ),
    flag(
        CAMERA,
        "--zoom",
        str,
        "How fast the camera goes in (below 1: out); 1.6/s is per second.",
        "SPEED",
        default="1.02",
    ),
    flag(CAMERA, "--zoom-per-second", float, "The same, per second.", "NUMBER"),
    flag(CAMERA, "--pan", str, "Pixels to the right and down, such as 2,0 or 48/s,0.", "X,Y", default=_NONE),
    flag(CAMERA, "--rotate", str, "Degrees the picture turns clockwise, such as 0.5 or 12/s.", "SPEED", default=_NONE),
    flag(CAMERA, "--shear", str, "Slant, such as 0.01,0.", "X,Y", default=_NONE),
    flag(CAMERA, "--tilt", str, "Perspective: the right and the lower side come closer.", "X,Y", default=_NONE),
    flag(CAMERA, "--rim", RimKind, "What comes in from beyond the edges.", default="mirror"),
    flag(
        CAMERA,
        "--carry",
        Literal["picture", "state", "cells"],
        "How the painting follows the camera (see docs/concepts/films.md).",
        default="cells",
    ),
    flag(CAMERA, "--hold", float, "How much of what a move loses is kept from frame to frame.", "0..1", default="0.95"),
    flag(CAMERA, "--sharpen", float, "How much fine detail is given back after moves.", "0..1", default="0.3"),
    flag(FILM, "--frame-average", float, "Smooths frames over their steps.", "0..1", default="0.9"),
    flag(FILM, "--clarity", float, "How much clearer frames are shown than painted.", "0..2", default="1.2"),
    flag(FILM, "--calm", float, "How strongly faint texture is smoothed where frames are shown.", "0..10", default="1"),
)


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    prompt = inspect.Parameter(
        "prompt",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[
            str | None, typer.Argument(help="What to paint, as for a picture.", metavar="PROMPT", show_default=False)
        ],
    )
    add_with_flags(app, zoom, prompt, without=WITHOUT | SHOWN, more=FLAGS)


def zoom(ctx: typer.Context, prompt: str | None, **flags: Any) -> int:
    """Film a flight into a picture, painted on as it goes. Frames are kept, and a stopped film goes on."""
    said = {key: value for key, value in flags.items() if value is not None and value != []}
    asked = read_flags(with_format(flags))
    settings = read_settings(ctx, prompt, asked)
    settings, story = in_turn(settings, said.get("story", []))
    film = read_film({**said, "story": story} if story else said, asked.delivery.fps)
    return carry_out_film(settings, film, asked)


def carry_out_film(settings: Settings, film: FilmSettings, asked: Asked) -> int:
    """Resolves the settings and films, or shows the plan. Returns the exit code."""
    settings.check()
    from vqclip.runs.plan import film_target, resolve, resolve_film

    resolved, notes = resolve(settings)
    for text in () if asked.delivery.quiet else notes:
        say.note(text)
    film = resolve_film(film, resolved)
    if asked.dry_run:
        return show_plan(resolved, film, asked, film_target(resolved, asked.delivery))
    return film_it(resolved, film, asked)


def in_turn(settings: Settings, story: Sequence[str]) -> tuple[Settings, list[str]]:
    """The settings with a story's first prompt, and all its further ones: `^` joins prompts here as in films.

    Raises: UsageError for an empty prompt.
    """
    after = [part for one in story for part in turns(one)]
    if "^" not in settings.prompt:
        return settings, after
    first, *more = turns(settings.prompt)
    return settings.changed(prompt=first), [*more, *after]


def with_format(flags: Mapping[str, Any]) -> Mapping[str, Any]:
    """The flags of a film, with the format that the name of the output says where none is said."""
    suffix = Path(flags.get("output") or "").suffix.casefold().lstrip(".")
    known = suffix in get_args(FilmFormat) and flags.get("film_format") is None
    return {**flags, "film_format": suffix} if known else flags


def read_film(said: Mapping[str, Any], fps: float) -> FilmSettings:
    """The film settings that flags asked for. Raises: UsageError."""
    if "zoom" in said and "zoom_per_second" in said:
        raise UsageError("both --zoom and --zoom-per-second are given", hint="leave one of them out")
    values: dict[str, Any] = {"fps": fps, "frames": frame_count(said.get("frames"), said.get("seconds"), fps)}
    if "zoom_per_second" in said:
        values["zoom"] = speed(f"{said['zoom_per_second']}/s", fps, flag="--zoom-per-second", factor=True)
    if "zoom" in said:
        values["zoom"] = speed(said["zoom"], fps, flag="--zoom", factor=True)
    if "rotate" in said:
        values["rotate"] = speed(said["rotate"], fps, flag="--rotate")
    values |= {key: speeds(said[key], fps, flag=f"--{key}") for key in ("pan", "shear", "tilt") if key in said}
    values |= {key: said[key] for key in _AS_SAID if key in said}
    if "frame_lr" in said:
        values["frame_learning_rate"] = said["frame_lr"]
    if said.get("loop"):
        values["loop"] = loop_frames(values["frames"], fps)
    if "change_every" in said and "story" not in said:
        raise UsageError("--change-every is for a story", hint='vqclip zoom "a castle ^ a forest" --change-every 48')
    if "story" in said:
        values["story"] = tuple(said["story"])
        values.setdefault("change_every", max(1, values["frames"] // (len(values["story"]) + 1)))
    return film_values(values)


def film_it(settings: Settings, film: FilmSettings, asked: Asked, **more: Any) -> int:
    """Films, says where the film is, and gives the exit code. `more` goes to `runs.film.shoot`."""
    from vqclip.runs.inputs import check_pictures
    from vqclip.runs.plan import film_target
    from vqclip.sinks.publish import prepare

    delivery = asked.delivery
    check_pictures(settings)  # before torch is loaded, as the next line: an error here should be quick
    prepare(film_target(settings, delivery))
    from vqclip.runs.cores import share_cores

    share_cores()
    from vqclip.runs.film import shoot

    with limited(asked) as stop:
        note = silent if delivery.quiet else say.note
        done = shoot(settings, film, delivery, on_note=note, stop=stop, **more)
    return report(done, delivery)


def resume_film(folder: Path, flags: Mapping[str, Any]) -> int:
    """Goes on with a film from its folder of frames, as it was begun. Raises: UsageError if a flag would change it."""
    asked = read_flags(flags)
    if asked.settings:
        raise UsageError("a film goes on as it was begun", hint="leave out the flags that change the picture")
    said = {key: value for key, value in flags.items() if value is not None and value != []}
    changes = {key: said[key] for key in ("quiet", "json_lines", "preview", "device", "offline") if key in said}
    from vqclip.runs.cores import share_cores

    share_cores()
    from vqclip.runs.film import resume

    with limited(asked) as stop:
        done = resume(folder, on_note=silent if asked.delivery.quiet else say.note, delivery=changes, stop=stop)
    return report(done, asked.delivery)


def report(done: Any, delivery: Delivery) -> int:
    """Prints where a film is, or its frames where there is none, and gives the exit code."""
    path = str(done.path or done.folder)
    if delivery.json_lines:
        facts = {"path": path, "seed": done.settings.seed, "seconds": done.seconds, "frames": done.frames_done}
        settings = done.settings.model_dump(mode="json")
        say.json_line(
            {**facts, "stopped": done.stopped, "settings": settings, "film": done.film.model_dump(mode="json")}
        )
    else:
        say.result(path)
    return 128 + done.stopped if done.stopped else 0


def show_plan(settings: Settings, film: Reel, asked: Asked, path: Path, *, script: Script | None = None) -> int:
    """Shows what would be filmed, where it would go and what it takes. Returns 0. Raises: as `note_inputs`, `fit`."""
    note_inputs(settings, asked.delivery)
    from vqclip.runs.estimate import in_words
    from vqclip.runs.filmplan import estimate_film, fit_film
    from vqclip.runs.inputs import require_one_device

    delivery = asked.delivery
    require_one_device(delivery.device)
    if delivery.fit:
        settings = fit_film(settings, delivery, silent if delivery.quiet else say.note, script=script)
    told: dict[str, Any] = film.model_dump(mode="json")
    if script is not None:
        told = {"frames": film.frames, "fps": film.fps, "scenes": len(script.shots.scenes)}
    takes = in_words(estimate_film(settings, film, delivery, script=script))
    values = {**settings.model_dump(mode="json"), **told, "output": str(path), **takes}
    if delivery.json_lines:
        say.json_line({"plan": values})
    else:
        say.table(values)
    return 0


def silent(text: str) -> None:
    """Takes a note and says nothing, for --quiet."""
