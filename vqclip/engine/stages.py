"""Coarse to fine: the first steps at half the size or less, where the composition is cheap, the rest at full size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from vqclip.engine.canvas import State, begin
from vqclip.engine.course import Course
from vqclip.engine.paint import Look, paint
from vqclip.engine.thrift import Thrift
from vqclip.events import Step
from vqclip.models.interfaces import ImageDecoder, ImageEncoder
from vqclip.ops.bands import PLAIN, Wrap
from vqclip.ops.cutouts import CutoutSettings
from vqclip.ops.guide import Extras
from vqclip.ops.resample import stretch


@dataclass(frozen=True)
class Stage:
    """One size, in latent cells (rows, columns), and the course at that size."""

    grid: tuple[int, int]
    course: Course


def plan_stages(
    course: Course, grid: tuple[int, int], coarse: float = 0.0, halvings: int = 1, taper: float = 1.0
) -> list[Stage]:
    """Splits a course: the share `coarse` of its steps at smaller sizes, each half the next, and the rest at full size.

    The smaller sizes share their steps alike. The schedule runs anew in each stage, from the share `taper` of the rate
    of the stage before. Sizes of fewer than two cells and stages without a step are left out.
    """
    early = max(0, min(round(course.steps * coarse), course.steps - 1))
    grids = [grid]
    while len(grids) <= min(halvings, early) and min(grids[0]) >= 4:
        grids.insert(0, ((grids[0][0] + 1) // 2, (grids[0][1] + 1) // 2))
    smaller = len(grids) - 1
    if not smaller:
        return [Stage(grid, course)]
    ends = [early * number // smaller for number in range(smaller + 1)] + [course.steps]
    return [
        Stage(one, replace(course, steps=b - a, learning_rate=course.learning_rate * taper**number))
        for number, (one, (a, b)) in enumerate(zip(grids, pairwise(ends), strict=True))
    ]


def paint_stages(
    decoder: ImageDecoder,
    looks: Sequence[Look],
    state: State,
    *,
    stages: Sequence[Stage],
    cutouts: CutoutSettings,
    extras: Extras = (),
    encoder: ImageEncoder | None = None,
    thrift: Thrift | None = None,
    graph: bool = False,
) -> Iterator[Step]:
    """Paints stage by stage as one stream of events 0 .. steps; see `paint`.

    state is `begin(latent of the first stage's grid, seeds)`, or an event's `state()`, which knows its stage. A stage
    begins with the one before it, finished, enlarged and encoded; without an encoder its latent is enlarged.
    """
    steps = sum(stage.course.steps for stage in stages)
    number = state.get("stage", 0)
    first = sum(stage.course.steps for stage in stages[:number])
    while True:
        course = stages[number].course
        common = {"cutouts": cutouts, "extras": extras, "thrift": thrift, "graph": graph}
        events = paint(decoder, looks, state, course=course, first=first, **common)
        for event in events:
            if event.is_last and number + 1 < len(stages):
                break  # its picture is the next stage's beginning
            yield _placed(event, number, steps)
        else:
            return
        first, number = first + course.steps, number + 1
        grid = stages[number].grid
        latent = enlarge(event.latent, event.image, grid, decoder.stride, encoder, wrap=cutouts.wrap)
        skipped = event.state()["skipped"]
        state = {**begin(latent, state["seeds"], step=first), "skipped": skipped}


@torch.no_grad()
def enlarge(
    latent: Tensor,
    image: Tensor,
    grid: tuple[int, int],
    stride: int,
    encoder: ImageEncoder | None = None,
    *,
    wrap: Wrap = PLAIN,
) -> Tensor:
    """The same picture on a larger grid; along an axis that wraps it goes on at its other end.

    Shapes: latent [B, C, h, w] with its image [B, 3, H, W] in [0, 1]; grid (rows, columns) -> [B, C, *grid].
    """
    if encoder is None:
        return stretch(latent, grid, "bilinear", wrap)
    size = (grid[0] * stride, grid[1] * stride)
    return encoder.tokenize(stretch(image, size, "bicubic", wrap).clamp(0, 1))[0]


def _placed(event: Step, stage: int, steps: int) -> Step:
    return replace(event, steps=steps, state=lambda: {**event.state(), "stage": stage})
