"""Turns names into parts: the one place where settings become models, targets and a first latent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vqclip.engine.course import Course
from vqclip.engine.paint import Look
from vqclip.engine.precision import choose_dtype
from vqclip.engine.stages import Stage, plan_stages
from vqclip.engine.starts import from_codes, from_image, gradient_image, noise_image
from vqclip.engine.streams import stream
from vqclip.engine.thrift import Thrift
from vqclip.models.interfaces import Perceptor
from vqclip.models.vqgan import VQGAN
from vqclip.ops.bands import PLAIN, Wrap
from vqclip.ops.clarity import Showing
from vqclip.ops.cutouts import CutoutSettings, apply_cutouts, draw_cutouts
from vqclip.ops.guide import Targets
from vqclip.ops.losses import LatentAnchor, TotalVariation
from vqclip.ops.pixels import fit, to_tensor
from vqclip.prompts import Prompt, parse_clip, parse_image_prompt, parse_prompts
from vqclip.runs.inputs import check_pictures
from vqclip.runs.pictures import read_picture
from vqclip.runs.plan import again, needs_encoder, round_size
from vqclip.runs.recipe import plain_name
from vqclip.runs.sketch import knows, require_its_vqgan, sketch
from vqclip.settings import Settings
from vqclip.store.folder import digest, locate
from vqclip.store.openclip import fetch_notice, load_clip
from vqclip.store.perceptor import ClipPerceptor
from vqclip.store.vqgans import load_vqgan

Note = Callable[[str], None]
Copy = tuple[torch.device, Perceptor]


@dataclass(frozen=True)
class Parts:
    """All that a loop is made of, and the settings with every open value filled in.

    models maps each model's name to the sha256 of its file.
    """

    settings: Settings
    vqgan: VQGAN
    looks: Sequence[Look]
    latent: Tensor
    stages: Sequence[Stage]
    cutouts: CutoutSettings
    extras: Sequence[tuple[str, float, Any]]
    models: dict[str, str]


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" is the first of cuda, mps and cpu that there is."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def build_parts(
    settings: Settings,
    *,
    device: torch.device,
    offline: bool,
    note: Note,
    encoder: bool = False,
    picture: Image.Image | None = None,
    others: Sequence[torch.device] = (),
) -> Parts:
    """Loads the models, reads the pictures and sets the start. settings come from `resolve`.

    encoder loads the VQGAN's encoder too where the start does not need it: films do. picture is a picture to start from
    that is no file of its own, such as a frame of a clip. others are devices that look at their share of the cutouts.

    Raises: ModelError, PictureError, UsageError.
    """
    check_pictures(settings)
    require_its_vqgan(settings)
    dtype = choose_dtype(device, settings.dtype)
    encoder = encoder or needs_encoder(settings)
    vqgan = _vqgan(settings.vqgan, settings.vqgan_config, dtype, device, encoder, wrap_of(settings))
    settings = round_size(settings, vqgan.stride, note)
    settings = settings.changed(dtype="bfloat16" if dtype is torch.bfloat16 else "float32")
    cutouts = _cutouts(settings, vqgan.stride)
    looks = make_looks(settings, cutouts, dtype=dtype, device=device, offline=offline, note=note)
    if others:
        looks = [replace(look, copies=_copies(look, dtype, device, offline, others)) for look in looks]
    grid = _grid(settings, vqgan.stride)
    stages = _stages(settings, grid)
    if settings.init == "prior":
        latent = sketch(settings, vqgan, looks, stages[0].grid, cutouts)
    else:
        latent = _start(settings, vqgan, stages[0].grid, device, note, picture)
    extras = _extras(settings, latent)
    models = {plain_name(settings.vqgan): digest(locate(settings.vqgan, "vqgan"))}
    models |= {
        f"clip:{plain_name(look.name)}": look.perceptor.digest
        for look in looks
        if isinstance(look.perceptor, ClipPerceptor)
    }
    if settings.prior:
        models[f"prior:{plain_name(settings.prior)}"] = digest(locate(settings.prior, "prior"))
    return Parts(settings, vqgan, looks, latent, stages, cutouts, extras, models)


def sketch_stage(parts: Parts, image: Tensor, number: int, thrift: Thrift | None = None) -> Tensor:
    """The latent that a stage begins with where the prior sketches over the picture [1, 3, H, W] of the one before."""
    stage = parts.stages[number]
    how: dict[str, Any] = {"over": image, "kept": stage.kept, "turn": number, "fine": True, "thrift": thrift}
    return sketch(parts.settings, parts.vqgan, parts.looks, stage.grid, parts.cutouts, **how)


def _stages(settings: Settings, grid: tuple[int, int]) -> list[Stage]:
    """The stages of a painting; one that began as a sketch has the prior's turns in it, at the sizes that it knows.

    A picture that tiles has none: the prior would leave a seam where too few steps are left to mend it.
    """
    sizes = settings.coarse or 0.0, settings.halvings or 1, settings.taper or 1.0
    stages = plan_stages(_course(settings), grid, *sizes)
    if settings.init != "prior" or any(wrap_of(settings)):
        return stages
    turns = again(settings.sketch_again or 0) if knows(settings, stages[0].grid) else []
    refine = settings.refine if settings.refine and knows(settings, grid) else None
    return plan_stages(_course(settings), grid, *sizes, turns=turns, refine=refine)


def make_looks(
    settings: Settings, cutouts: CutoutSettings, *, dtype: torch.dtype, device: torch.device, offline: bool, note: Note
) -> list[Look]:
    """The CLIPs of the settings, each with what its prompts want to see. Raises: ModelError, PictureError."""
    chosen = [parse_clip(text) for text in settings.clip or ()]
    for said in [] if offline else filter(None, (fetch_notice(one.name) for one in chosen)):
        note(said)
    perceptors = [_clip(one.name, dtype, device, offline) for one in chosen]
    for said in filter(None, (perceptor.take_notice() for perceptor in perceptors)):
        note(said)
    _warn_of_words(settings, perceptors, note)
    return [
        Look(one.name, perceptor, _targets(settings, perceptor, cutouts, device, note), one.weight, one.share)
        for one, perceptor in zip(chosen, perceptors, strict=True)
    ]


@lru_cache(maxsize=2)
def _vqgan(name: str, config: str | None, dtype: torch.dtype, device: torch.device, encoder: bool, wrap: Wrap) -> VQGAN:
    return load_vqgan(name, config, dtype=dtype, device=device, encoder=encoder).wrap_around(*wrap)


@lru_cache(maxsize=4)
def _clip(name: str, dtype: torch.dtype, device: torch.device, offline: bool) -> ClipPerceptor:
    return load_clip(name, dtype=dtype, device=device, offline=offline)


@lru_cache(maxsize=8)
def _copy(name: str, dtype: torch.dtype, device: torch.device, offline: bool, number: int, at: torch.device) -> Copy:
    return at, _clip(name, dtype, device, offline).copy_to(at)


def _copies(
    look: Look, dtype: torch.dtype, device: torch.device, offline: bool, others: Sequence[torch.device]
) -> list[Copy]:
    """The perceptor of a look on each of the other devices; a device that is named twice has two."""
    return [_copy(look.name, dtype, device, offline, number, at) for number, at in enumerate(others)]


def _grid(settings: Settings, stride: int) -> tuple[int, int]:
    return (settings.height or 0) // stride, (settings.width or 0) // stride


def _course(settings: Settings) -> Course:
    names = ("steps", "optimizer", "learning_rate", "schedule", "average", "micro_batch")
    return Course(**{name: getattr(settings, name) for name in names}, lean=bool(settings.lean))


def wrap_of(settings: Settings) -> Wrap:
    """Which sides of the picture meet, across and down."""
    return settings.tile in ("x", "both"), settings.tile in ("y", "both")


def showing_of(settings: Settings) -> Showing:
    """How a picture is shown, as the settings say."""
    return Showing(settings.clarity or 0.0, settings.calm or 0.0, wrap_of(settings))


def _cutouts(settings: Settings, stride: int) -> CutoutSettings:
    same = ("whole_views", "smallest_view", "noise", "jitter", "rotation", "perspective", "flip", "antithetic")
    return CutoutSettings(
        count=settings.cutouts or 1,
        start=settings.cutouts_start,
        grown=settings.steps or 0,
        method=settings.cutout_method,
        power=settings.cutout_power,
        roll=float(stride) if settings.grid_roll else 0.0,
        wrap=wrap_of(settings),
        **{name: getattr(settings, name) for name in same},
    )


def _extras(settings: Settings, latent: Tensor) -> list[tuple[str, float, Any]]:
    extras: list[tuple[str, float, Any]] = []
    if settings.tv:
        extras.append(("tv", settings.tv, TotalVariation(wrap_of(settings))))
    if settings.init_weight:
        extras.append(("init", settings.init_weight, LatentAnchor(latent)))
    return extras


def _warn_of_words(settings: Settings, perceptors: Sequence[ClipPerceptor], note: Note) -> None:
    for prompt in parse_prompts(settings.prompt, settings.negative):
        for perceptor in perceptors:
            if warning := perceptor.window_warning(prompt.text):
                note(warning)
            if unknown := perceptor.unknown_words(prompt.text):
                note(
                    f"{perceptor.name} does not know {', '.join(unknown)}: `vqclip words` lists what it knows; "
                    "for all other words use full models, such as --clip ViT-B-32/openai --vqgan imagenet-f16-16384"
                )


def _targets(
    settings: Settings, perceptor: ClipPerceptor, cutouts: CutoutSettings, device: torch.device, note: Note
) -> Targets:
    prompts = parse_prompts(settings.prompt, settings.negative)
    rows = [perceptor.embed_text([prompt.text for prompt in prompts])] if prompts else []
    weights, stops = [p.weight for p in prompts], [p.stop for p in prompts]
    for number, text in enumerate(settings.image_prompts):
        one = parse_image_prompt(text)
        seen = _look_at(one, settings, perceptor, cutouts, number, device, note)
        rows.append(seen)
        weights += [one.weight / len(seen)] * len(seen)
        stops += [one.stop] * len(seen)
    return Targets(torch.cat(rows)[None], torch.tensor(weights, device=device), torch.tensor(stops, device=device))


def _look_at(
    prompt: Prompt,
    settings: Settings,
    perceptor: Perceptor,
    cutouts: CutoutSettings,
    number: int,
    device: torch.device,
    note: Note,
) -> Tensor:
    """The embeddings [n, D] of the cutouts of an image prompt, at its own aspect and about the output's area."""
    picture = read_picture(prompt.text, background=settings.background, note=note)
    area = (settings.width or 256) * (settings.height or 256)
    scale = min(1.0, (area / (picture.width * picture.height)) ** 0.5)
    size = (max(16, round(picture.width * scale)), max(16, round(picture.height * scale)))
    image = to_tensor(fit(picture, *size)).to(device)
    rng = stream(settings.seed or 0, "image prompt", number)
    cutouts = replace(cutouts, wrap=PLAIN)  # the painting may wrap, the picture it should resemble does not
    plan = draw_cutouts(cutouts, size=perceptor.image_size, height=size[1], width=size[0], rngs=[rng])
    with torch.no_grad():
        return perceptor.embed_image(apply_cutouts(image, plan))


def _start(
    settings: Settings,
    vqgan: VQGAN,
    grid: tuple[int, int],
    device: torch.device,
    note: Note,
    picture: Image.Image | None = None,
) -> Tensor:
    """The first latent [1, C, *grid], as any `init` but "prior" says."""
    rng = stream(settings.seed or 0, "init")
    if settings.init == "codes":
        return from_codes(vqgan.codebook, grid, [rng])
    height, width = (side * vqgan.stride for side in grid)
    if settings.init == "image":
        if picture is None:
            picture = read_picture(settings.init_image or "", background=settings.background, note=note)
        image = to_tensor(fit(picture, width, height))
    else:
        image = (noise_image if settings.init == "noise" else gradient_image)(height, width, [rng])
    return from_image(vqgan, image.to(device))
