"""The events of a picture: its stages on built parts, with recovery, and an end where nothing improves any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vqclip.engine.canvas import State, begin
from vqclip.engine.paint import paint
from vqclip.engine.plateau import until_plateau
from vqclip.engine.recovery import with_recovery
from vqclip.engine.stages import Stage, paint_stages
from vqclip.engine.thrift import Thrift
from vqclip.events import Step
from vqclip.runs.parts import Parts, sketch_stage


def painting(
    parts: Parts, state: State | None = None, thrift: Thrift | None = None, *, graph: bool = False
) -> Iterator[Step]:
    """The events of a picture, from its start or from an earlier event's state, with one recovery from divergence."""
    seed = parts.settings.seed or 0

    def start(at: State, factor: float) -> Iterator[Step]:
        stages = [_slowed(stage, factor) for stage in parts.stages]
        return paint_stages(
            parts.vqgan,
            parts.looks,
            at,
            stages=stages,
            cutouts=parts.cutouts,
            extras=parts.extras,
            encoder=parts.vqgan if parts.vqgan.can_encode else None,
            over=lambda image, number: sketch_stage(parts, image, number, thrift),
            thrift=thrift,
            graph=graph,
        )

    events = with_recovery(start, state or begin(parts.latent, [seed]))
    if parts.settings.until == "end":
        return events
    since = sum(stage.course.steps for stage in parts.stages[:-1])
    return until_plateau(events, lambda at: _finished(parts, at, thrift), since=since)


def _finished(parts: Parts, state: State, thrift: Thrift | None) -> Step:
    """The last event of a painting that ends at a state."""
    course, first = replace(parts.stages[-1].course, steps=0), state["step"]
    common = {"cutouts": parts.cutouts, "extras": parts.extras, "thrift": thrift}
    return next(paint(parts.vqgan, parts.looks, state, course=course, first=first, **common))


def _slowed(stage: Stage, factor: float) -> Stage:
    return replace(stage, course=replace(stage.course, learning_rate=stage.course.learning_rate * factor))
