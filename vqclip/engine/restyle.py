"""The restyling loop: footage goes by beneath the painting, which takes along what it has added to the frame before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.engine.canvas import State
from vqclip.engine.course import Course
from vqclip.engine.motion import finished, moved_moments
from vqclip.engine.paint import Look, paint
from vqclip.engine.thrift import Thrift
from vqclip.errors import DivergedError
from vqclip.events import Frame, Step
from vqclip.models.interfaces import ImageDecoder, ImageEncoder
from vqclip.ops.cutouts import CutoutSettings
from vqclip.ops.flow import agreement, in_sight, warp_by_flow
from vqclip.ops.guide import Extras
from vqclip.ops.losses import LatentAnchor

# Where less than this share of a frame goes on from the one before, it is another scene.
_CUT = 0.3


@dataclass(frozen=True)
class Take:
    """One frame of the footage, and the way from it to the one before.

    source, before [1, 3, H, W] in [0, 1], sides multiples of the stride; before is None for the first frame. flow, back
    [1, 2, H, W] in pixels: where each point of the frame was in the one before, and the other way (None = nothing
    moves).
    """

    source: Tensor
    before: Tensor | None = None
    flow: Tensor | None = None
    back: Tensor | None = None


@dataclass(frozen=True)
class Manner:
    """How footage is painted over. course is that of a frame, cut that of the first frame of another scene.

    weight is how hard the source frame holds the picture; keep is the share of what was added to a frame that its
    successor begins with; hold is the share of the frame before, moved along, that is shown in a frame.
    """

    looks: Sequence[Look]
    course: Course
    cut: Course
    cutouts: CutoutSettings
    weight: float = 0.0
    keep: float = 1.0
    hold: float = 0.0
    extras: Extras = ()


def restyle(
    decoder: ImageDecoder,
    encoder: ImageEncoder,
    state: State,
    *,
    takes: Callable[[int], Take],
    frames: int,
    manner: Manner,
    thrift: Thrift | None = None,
) -> Iterator[Frame]:
    """Restyles: yields a Frame for each of the frames still to come, ending with number frames - 1.

    state is that of a painting of the first frame, or a frame's `state()`, to go on exactly from there with the next
    one. takes(n) is asked once for each frame, in order. thrift is one for all frames (None = as the course says).
    Raises: DivergedError if no step of a frame had a finite loss.
    """
    device = decoder.latent_range()[0].device
    state = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in state.items()}
    still = torch.eye(3)[None]
    thrift = thrift or Thrift(manner.course.micro_batch, manner.course.lean)
    for index in range(state.get("frame", -1) + 1, frames):
        take = takes(index)
        state, goes_on = follow(encoder, state, take, keep=manner.keep)
        course = replace(manner.course, steps=0) if not index else manner.course if goes_on else manner.cut
        event = _painted(decoder, state, course, manner, thrift)
        image = _shown(event.image, state.get("shown"), take, manner.hold)
        state = {**event.state(), "source": state["source"], "shown": image, "frame": index}
        told = (event.latent, still, event.loss, event.losses, event.skipped)
        yield Frame(index, frames, image, *told, partial(dict, state))


@torch.no_grad()
def follow(encoder: ImageEncoder, state: State, take: Take, *, keep: float) -> tuple[State, bool]:
    """The state, laid over the next frame of the footage, and whether that goes on from the one before.

    Not the latent is carried but what painting has added to that of the footage: the footage then moves as sharply as
    it was filmed, also below a cell, and the style with it. What was added is believed as far as the footage agrees
    with the frame before as the flow has moved it. The optimizer's memory moves along. Another scene begins anew.
    """
    source = encoder.tokenize(take.source)[0]
    if take.before is None:
        return {**state, "source": source}, True
    trust = _trust(take, (source.shape[2], source.shape[3])).to(source)
    if float(trust.mean()) < _CUT:
        return {"step": state["step"], "seeds": state["seeds"], "latent": source, "source": source}, False

    def moved(value: Tensor) -> Tensor:
        return value if take.flow is None else warp_by_flow(value, take.flow.to(value))

    def carried(latent: Tensor) -> Tensor:
        return source + keep * trust * moved(latent - state["source"])

    after = {**state, "latent": carried(state["latent"]), "source": source}
    if "average" in state:
        after["average"] = carried(finished(state)) * state["weight"][:, None, None, None]
    if "optimizer" in state:
        after["optimizer"] = moved_moments(state["optimizer"], moved)
    return after, True


def _trust(take: Take, grid: tuple[int, int]) -> Tensor:
    """How far what lay at each place of the frame before still holds there [1, 1, h, w], from 0 to 1."""
    assert take.before is not None
    if take.flow is None or take.back is None:
        return agreement(take.before, take.source, grid=grid)
    seen = F.interpolate(in_sight(take.flow, take.back).float(), grid, mode="area")
    return seen * agreement(warp_by_flow(take.before, take.flow), take.source, grid=grid)


@torch.no_grad()
def _shown(image: Tensor, before: Tensor | None, take: Take, hold: float) -> Tensor:
    """A frame as it is shown: with some of the one before, where the footage goes on; what flickers is evened out.

    Nothing of this is painted on, so that it cannot pile up.
    """
    if before is None or take.before is None or not hold:
        return image
    moved = before if take.flow is None else warp_by_flow(before, take.flow.to(before), mode="bicubic").clamp(0, 1)
    trust = _trust(take, (image.shape[2], image.shape[3])).to(image)
    return torch.lerp(image, moved, hold * trust)


def _painted(decoder: ImageDecoder, state: State, course: Course, manner: Manner, thrift: Thrift) -> Step:
    """The last event of the frame's steps. Raises: DivergedError."""
    before = int(state["skipped"].sum()) if "skipped" in state else 0
    extras = [*manner.extras]
    if manner.weight:
        extras.append(("source", manner.weight, LatentAnchor(state["source"])))
    how = {"course": course, "cutouts": manner.cutouts, "extras": extras, "thrift": thrift}
    last = None
    for event in paint(decoder, manner.looks, state, first=state["step"], **how):
        last = event
    assert last is not None
    if course.steps and int(last.skipped) - before >= course.steps:
        raise DivergedError("the loss stopped being a number", hint="try a smaller --frame-lr or --dtype float32")
    return last
