"""From the settings of a zoom to its shots: the camera's matrix, the prompt and the course of every frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from vqclip.engine.course import Course
from vqclip.engine.film import Carry, Shot
from vqclip.engine.paint import Look
from vqclip.engine.starts import from_image
from vqclip.engine.thrift import Thrift
from vqclip.films import FilmSettings, Reel, renewals
from vqclip.ops.camera import Move, camera
from vqclip.ops.clarity import Showing
from vqclip.ops.resample import within
from vqclip.runs.parts import Note, Parts, make_looks
from vqclip.runs.sketch import sketch, sketch_grid
from vqclip.settings import SEEDS, Settings
from vqclip.store.priors import prior_outline
from vqclip.store.starter import STARTER


def zoom_shots(
    parts: Parts,
    film: FilmSettings,
    *,
    device: torch.device,
    offline: bool,
    note: Note,
    thrift: Thrift | None = None,
) -> Callable[[int], Shot]:
    """What is done for frame n, n = 0, 1, ...: the same move every time, and the story's prompt of that time.

    Frame 0 is the first picture as it was painted. film comes from `resolve_film`.
    """
    settings = parts.settings
    move = Move(film.zoom, film.pan, film.rotate, film.shear, film.tilt)
    matrix = camera(move, width=settings.width or 0, height=settings.height or 0)
    prompts = (settings.prompt, *film.story)
    # to hold on to the first picture would hold the camera back
    extras = [extra for extra in parts.extras if extra[0] != "init"]
    came = renewals([film.zoom] * film.painted, film.renew or 0.0)
    dtype = torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32

    @lru_cache(maxsize=2)
    def looks(number: int) -> tuple[Look, ...]:
        if number == 0:
            return tuple(parts.looks)
        told = settings.changed(prompt=prompts[number])
        return tuple(make_looks(told, parts.cutouts, dtype=dtype, device=device, offline=offline, note=note))

    def shot(index: int) -> Shot:
        turn, since = divmod(index, film.change_every) if film.change_every else (0, index)
        times, ago = came[since]
        number = turn % len(prompts)
        course = frame_course(parts, film, steps=film.steps_per_frame if index else 0)
        told = settings.changed(prompt=prompts[number])
        anew, how = None, {"index": index, "since": ago, "thrift": thrift}
        if times or turn:
            anew = (renewed if times else sketched_anew)(parts, film, told, looks(number), **how)
        return Shot(matrix, looks(number), course, parts.cutouts, extras, anew)

    return shot


TURN = (0.3, 0.2, 0.1, 0.05)
"""A prompt is sketched anew so often, evenly within a second, each time over the one before: how much of it stays."""


def sketched_anew(
    parts: Parts,
    film: FilmSettings,
    told: Settings,
    looks: Sequence[Look],
    *,
    index: int,
    since: int,
    thrift: Thrift | None = None,
) -> Callable[[Tensor], Tensor] | None:
    """What makes frame `index` anew, `since` frames after its prompt was to come: None, or the prior.

    The prior is that of the first picture. told are the settings with the prompt, looks those that want to see it.
    """
    if film.change != "sketch" or parts.settings.init != "prior":
        return None
    number, late = divmod(since, max(1, round(film.fps / len(TURN))))
    if late or not 0 <= number < len(TURN):
        return None
    told = told.changed(seed=((told.seed or 0) + index) % SEEDS)

    def anew(seen: Tensor) -> Tensor:
        rows, columns = (side // parts.vqgan.stride for side in seen.shape[2:])
        how: dict[str, Any] = {"over": seen, "kept": TURN[number], "thrift": thrift}
        return sketch(told, parts.vqgan, looks, (rows, columns), parts.cutouts, **how)

    return anew


CLEAR = 0.5
"""How far from its middle a picture from afar is seen alone, of the way to its sides, where it ends."""
SMALLEST = 0.25
"""A picture from afar is at least this share of the frame each way: smaller, nothing could be told in it."""
BLENDED = 0.5
"""How much stays of the two pictures where the prior makes them one."""


def renewed(
    parts: Parts,
    film: FilmSettings,
    told: Settings,
    looks: Sequence[Look],
    *,
    index: int,
    since: int,
    thrift: Thrift | None = None,
) -> Callable[[Tensor], Tensor] | None:
    """As `sketched_anew`, where a prompt comes once more: from afar, in the middle of the picture that the camera sees.

    It is so small that it fills the frame when it is renewed again. Then the prior makes one picture of both, where it
    has learnt to refine one of that size.
    """
    if since or film.change != "sketch" or parts.settings.init != "prior":
        return None
    told = told.changed(seed=((told.seed or 0) + index) % SEEDS)

    def anew(seen: Tensor) -> Tensor:
        vqgan = parts.vqgan
        grid = tuple(side // vqgan.stride for side in seen.shape[2:])
        outline = prior_outline(told.prior or STARTER)
        small = sketch_grid(grid, outline.grid)
        made = sketch(told, vqgan, looks, small, parts.cutouts, thrift=thrift)
        afar = vqgan.decode(vqgan.quantize(made)[0]).float().clamp(0, 1)
        both = within(seen, afar, max(1 / (film.renew or 1.0), SMALLEST), CLEAR)
        if not outline.grid < min(grid) <= outline.fine_grid:
            return from_image(vqgan, both)
        how: dict[str, Any] = {"over": both, "kept": BLENDED, "fine": True, "turn": 1, "thrift": thrift}
        return sketch(told, vqgan, looks, grid, parts.cutouts, **how)

    return anew


def frame_course(parts: Parts, film: Reel, *, steps: int) -> Course:
    """The course of one frame: a constant rate, so that frames are alike."""
    settings = parts.settings
    return Course(
        steps=steps,
        optimizer=settings.optimizer,
        learning_rate=film.frame_learning_rate or 0.1,
        average=max(settings.average or 0.0, film.frame_average),
        micro_batch=settings.micro_batch,
        lean=bool(settings.lean),
    )


def make_carry(film: FilmSettings) -> Carry:
    """How the painting follows the camera, as the settings say."""
    return Carry(film.carry, hold=film.hold, sharpen=film.sharpen, rim=film.rim)


def make_showing(film: FilmSettings) -> Showing:
    """How frames are shown, as the settings say."""
    return Showing(film.clarity, film.calm, (film.rim == "wrap",) * 2)
