"""A prior at work: it must belong to the VQGAN that paints, reads the prompt through its own CLIP, and sketches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.paint import Look, paint
from vqclip.engine.stages import enlarge
from vqclip.engine.starts import from_image, from_prior
from vqclip.engine.streams import stream
from vqclip.engine.thrift import Thrift
from vqclip.errors import ModelError
from vqclip.models.prior import Prior
from vqclip.models.vqgan import VQGAN
from vqclip.ops.cutouts import CutoutSettings
from vqclip.ops.resample import stretch
from vqclip.prompts import parse_prompts
from vqclip.runs.recipe import plain_name
from vqclip.settings import Settings
from vqclip.store.folder import digest, locate
from vqclip.store.openclip import load_clip
from vqclip.store.perceptor import ClipPerceptor
from vqclip.store.priors import Pair, load_prior, prior_outline, trained_with
from vqclip.store.starter import STARTER
from vqclip.words import counted


def require_its_vqgan(settings: Settings) -> None:
    """Looks whether the prior of the settings was trained with the VQGAN that paints; loads neither.

    Raises: ModelError naming the right one.
    """
    if settings.prior is None:
        return
    pair, here = trained_with(settings.prior), digest(locate(settings.vqgan, "vqgan"))
    if pair.vqgan_digest == here:
        return
    name, painter = plain_name(settings.prior), plain_name(settings.vqgan)
    if painter == pair.vqgan:
        raise ModelError(
            f"{name} was trained with another {painter} (sha256 {pair.vqgan_digest[:12]}, not {here[:12]})",
            hint="name that file, or train the prior again, or start with --init codes",
        )
    raise ModelError(
        f"{name} sketches for the VQGAN {pair.vqgan}, not for {painter}",
        hint=f"paint with --vqgan {pair.vqgan}, or start with --init codes",
    )


def sketch(
    settings: Settings,
    vqgan: VQGAN,
    looks: Sequence[Look],
    grid: tuple[int, int],
    cutouts: CutoutSettings,
    *,
    over: Tensor | None = None,
    kept: float | None = None,
    turn: int = 0,
    fine: bool = False,
    thrift: Thrift | None = None,
) -> Tensor:
    """What the prior of the settings makes of the prompts: a latent [1, C, *grid], enlarged from the size it knows.

    Of several sketches it is the one that the looks like best. The prior reads through the CLIP among them that it was
    trained with, or through the starter's. over [1, 3, H, W] is a picture to sketch over, of which the share `kept`
    stays (see `Prior.sample`); the VQGAN then needs its encoder. fine sketches at the grid's own size where
    the prior has learnt to refine it, a quarter as often. Every turn has noise of its own. The looks spend memory as
    `thrift` says.
    Raises: ModelError if there is no such CLIP, or the prior does not fit the VQGAN.
    """
    name, device = settings.prior or STARTER, vqgan.codebook.device
    prior = _loaded(name, digest(locate(name, "prior")), device)
    channels = vqgan.codebook.shape[1]
    if prior.config.latent_channels != channels:
        raise _misfit(
            name, f"sketches {counted(prior.config.latent_channels, 'channel')}, and the VQGAN has {channels}"
        )
    clips = [look.perceptor for look in looks if isinstance(look.perceptor, ClipPerceptor)]
    text, count = _read(settings, prior, clips, name), settings.sketches or 1
    fine = fine and prior.config.grid < min(grid) <= prior.config.fine_grid
    count = max(1, count // 4) if fine else count  # a finer one is four times the work
    small = sketch_grid(grid, min(grid) if fine else prior.config.grid)
    rng, start = stream(settings.seed or 0, "init", *([turn] if turn else [])), None
    if over is not None:
        start = from_image(vqgan, _resized(over, (small[0] * vqgan.stride, small[1] * vqgan.stride), cutouts))

    how: dict[str, Any] = {"over": start, "kept": kept or 0.0}
    how |= {"guidance": settings.guidance} if settings.guidance is not None else {}
    words = text.expand(count, -1)
    drawn = from_prior(lambda noise: prior.sample(words, noise.to(device), **how), channels, small, [rng] * count)
    latent = _liked(drawn, settings, vqgan, looks, cutouts, thrift)
    if small == grid:
        return latent
    with torch.no_grad():
        image = vqgan.decode(vqgan.quantize(latent)[0]).clamp(0, 1)
    return enlarge(latent, image, grid, vqgan.stride, vqgan if vqgan.can_encode else None, wrap=cutouts.wrap)


def _resized(image: Tensor, size: tuple[int, int], cutouts: CutoutSettings) -> Tensor:
    """A picture [1, 3, H, W] at another size: smooth where it grows, of whole areas where it shrinks."""
    if size[0] * size[1] > image.shape[2] * image.shape[3]:
        return stretch(image, size, "bicubic", cutouts.wrap).clamp(0, 1)
    return F.interpolate(image, size, mode="area")


def knows(settings: Settings, grid: tuple[int, int]) -> bool:
    """Whether the prior can sketch over a painting of that grid without loss. Raises: ModelError if it is damaged."""
    config = prior_outline(settings.prior or STARTER)
    return min(grid) <= max(config.grid, config.fine_grid)


def _liked(
    latents: Tensor,
    settings: Settings,
    vqgan: VQGAN,
    looks: Sequence[Look],
    cutouts: CutoutSettings,
    thrift: Thrift | None,
) -> Tensor:
    """Of latents [N, C, h, w] the one [1, C, h, w] whose picture the looks like best, all seen in the same cuts."""
    if len(latents) == 1:
        return latents
    glance = Course(steps=0, learning_rate=0.0, micro_batch=settings.micro_batch)
    cutouts = replace(cutouts, start=None)  # a choice for the whole painting, so by all that it will be seen in

    def loss(latent: Tensor) -> float:
        start = begin(latent, [settings.seed or 0])
        seen = paint(vqgan, looks, start, course=glance, cutouts=cutouts, thrift=thrift)
        return float(next(seen).loss)

    return min(latents.split(1), key=loss)


def sketch_grid(grid: tuple[int, int], trained: int) -> tuple[int, int]:
    """The grid (rows, columns) of a prior's sketch: the short side as trained, the long one at most four times it.

    A longer picture gets a stretched sketch: a prior has never seen one, and its size would have no bound.
    """
    scale = trained / min(grid)
    rows, columns = (min(4 * trained, max(4, round(side * scale / 4) * 4)) for side in grid)
    return rows, columns


def _read(settings: Settings, prior: Prior, clips: Sequence[ClipPerceptor], name: str) -> Tensor:
    """The prompts that pull, as one embedding [1, D] of length one; zeros, "any picture", where there is none."""
    device, width = prior.mean.device, prior.config.text_channels
    wanted = [prompt for prompt in parse_prompts(settings.prompt) if prompt.weight > 0]
    if not wanted:
        return torch.zeros(1, width, device=device)
    clip = _reader(trained_with(name), clips, name, device)
    rows = clip.embed_text([prompt.text for prompt in wanted])
    if rows.shape[1] != width:
        raise _misfit(name, f"reads texts of {counted(width, 'number')}, and {clip.name} writes {rows.shape[1]}")
    pull = torch.tensor([[prompt.weight] for prompt in wanted], device=device)
    return F.normalize((rows * pull).sum(0, keepdim=True), dim=-1)


def _reader(pair: Pair, clips: Sequence[ClipPerceptor], name: str, device: torch.device) -> ClipPerceptor:
    found = next((clip for clip in clips if clip.digest == pair.clip_digest), None)
    if found is not None:
        return found
    if digest(locate(STARTER, "clip")) == pair.clip_digest:
        return _starter_clip(device)
    raise ModelError(
        f"{plain_name(name)} reads the prompt through the CLIP {pair.clip} (sha256 {pair.clip_digest[:12]}), "
        "which is not among those that look",
        hint=f"name that file: --clip {pair.clip}, beside others if you like",
    )


def _misfit(name: str, said: str) -> ModelError:
    return ModelError(f"{plain_name(name)} does not fit: it {said}", hint="train it again with `vqclip train prior`")


@lru_cache(maxsize=1)
def _loaded(name: str, sha256: str, device: torch.device) -> Prior:
    """A prior, loaded once for a batch; sha256 tells another file under the same name."""
    return load_prior(name, device=device)


@lru_cache(maxsize=1)
def _starter_clip(device: torch.device) -> ClipPerceptor:
    return load_clip(STARTER, device=device, offline=True)
