"""Coarse to fine: the first steps at half the size or less, where the composition is cheap, the rest at full size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    """One size, in latent cells (rows, columns), and the course at that size.

    kept is the share of the painting so far that stays as it is sketched over for this stage; None = it goes on as it
    is.
    """

    grid: tuple[int, int]
    course: Course
    kept: float | None = None


SketchOver = Callable[[Tensor, int], Tensor]
"""Makes of a picture [1, 3, H, W] in [0, 1] the latent that a stage, by its number, begins with."""


def plan_stages(
    course: Course,
    grid: tuple[int, int],
    coarse: float = 0.0,
    halvings: int = 1,
    taper: float = 1.0,
    *,
    turns: Sequence[float] = (),
    refine: float | None = None,
) -> list[Stage]:
    """Splits a course: the share `coarse` of its steps at smaller sizes, each half the next, and the rest at full size.

    The smaller sizes share their steps alike. The schedule runs anew in each stage, from the share `taper` of the rate
    of the size before. Sizes of fewer than two cells and stages without a step are left out. The first size is cut into
    as many more stages as there are turns, each of which begins sketched over, with the share of a turn kept; the last
    one begins so with the share `refine`.
    """
    early = max(0, min(round(course.steps * coarse), course.steps - 1))
    grids = [grid]
    while len(grids) <= min(halvings, early) and min(grids[0]) >= 4:
        grids.insert(0, ((grids[0][0] + 1) // 2, (grids[0][1] + 1) // 2))
    smaller = len(grids) - 1
    ends = [early * number // max(1, smaller) for number in range(smaller + 1)] + [course.steps]
    stages = [
        Stage(one, replace(course, steps=b - a, learning_rate=course.learning_rate * taper**number))
        for number, (one, (a, b)) in enumerate(zip(grids, pairwise(ends), strict=True))
    ]
    if smaller:
        stages[-1] = replace(stages[-1], kept=refine)
    return [*_in_turns(stages[0], turns), *stages[1:]]


def _in_turns(stage: Stage, turns: Sequence[float]) -> list[Stage]:
    """A stage cut into equal parts, each but the first one beginning with a turn's share of what was there."""
    turns = turns[: max(0, stage.course.steps - 1)]
    ends = [stage.course.steps * number // (len(turns) + 1) for number in range(len(turns) + 2)]
    return [
        replace(stage, course=replace(stage.course, steps=b - a), kept=kept)
        for kept, (a, b) in zip((stage.kept, *turns), pairwise(ends), strict=True)
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
    over: SketchOver | None = None,
    thrift: Thrift | None = None,
    graph: bool = False,
) -> Iterator[Step]:
    """Paints stage by stage as one stream of events 0 .. steps; see `paint`.

    state is `begin(latent of the first stage's grid, seeds)`, or an event's `state()`, which knows its stage. A stage
    begins with the one before it, finished, enlarged and encoded; without an encoder its latent is enlarged. A stage
    that says what is kept begins with what `over` makes of it.
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
        latent = _beginning(event, stages[number], number, decoder.stride, encoder, over, cutouts.wrap)
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


def _beginning(
    event: Step,
    stage: Stage,
    number: int,
    stride: int,
    encoder: ImageEncoder | None,
    over: SketchOver | None,
    wrap: Wrap,
) -> Tensor:
    """The first latent of a stage, after the last event of the one before."""
    if stage.kept is not None and over is not None:
        return over(event.image, number)
    return enlarge(event.latent, event.image, stage.grid, stride, encoder, wrap=wrap)


def _placed(event: Step, stage: int, steps: int) -> Step:
    return replace(event, steps=steps, state=lambda: {**event.state(), "stage": stage})
