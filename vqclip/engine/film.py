"""The film loop: move the painting with the camera, paint a few steps, show a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.engine.canvas import State
from vqclip.engine.course import Course
from vqclip.engine.motion import PADDING, Rim, finished, warp, with_latent
from vqclip.engine.paint import Look, paint
from vqclip.engine.thrift import Thrift
from vqclip.errors import DivergedError
from vqclip.events import Frame, Step
from vqclip.models.interfaces import ImageDecoder, ImageEncoder
from vqclip.ops import geometry as geo
from vqclip.ops.camera import reach, whole_cells
from vqclip.ops.clarity import Showing
from vqclip.ops.cutouts import CutoutSettings
from vqclip.ops.guide import Extras
from vqclip.ops.resample import double

Way = Literal["picture", "state", "cells"]
FADE, FADING, ENDING = 0.8, 15, 8
"""The share of the frame before in what is shown while a painting that was made anew comes, and for how many frames;
over the last ones it falls evenly, for what is shown is softer than what is painted, and would end with a jump."""


@dataclass(frozen=True)
class Carry:
    """How the painting follows the camera.

    way "picture": the float picture is warped and encoded again; the optimizer's memory moves along. "state": latent
    and memory are warped. "cells": only the view of the decoded picture moves, until a corner of it is `cells` cells
    away from its place (a straight pan then moves the state by whole cells, exactly; anything else goes as "picture").
    hold: what a picture loses by being encoded again is kept beside the latent, and this share of it is left after
    each frame, so that nothing jumps (0 = jump). sharpen: how much of the finest detail is given back where a picture
    is resampled for good, which always takes some; never more than three quarters of what was let go since the last
    time, so that it cannot build up. rim: what comes in from beyond the edges.
    """

    way: Way = "cells"
    hold: float = 0.95
    sharpen: float = 0.3
    rim: Rim = "mirror"
    cells: float = 1.0


@dataclass(frozen=True)
class Shot:
    """What is done for one frame: where the camera goes, and how it is painted.

    matrix [1, 3, 3] leads from the points of the new frame to those of the one before (see `ops.camera`); it is not
    used for a film's first frame. anew makes a latent [1, C, h, w] of the picture that the camera sees [1, 3, H, W],
    which the painting goes on from; what is shown turns into it within half a second or so.
    """

    matrix: Tensor
    looks: Sequence[Look]
    course: Course
    cutouts: CutoutSettings
    extras: Extras = ()
    anew: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Viewed:
    """A decoder behind a camera: its picture with what is held beside it, as the view shows it."""

    decoder: ImageDecoder
    view: Tensor
    held: Tensor | None
    rim: Rim

    @property
    def stride(self) -> int:
        """Pixels per latent cell."""
        return self.decoder.stride

    def latent_range(self) -> tuple[Tensor, Tensor]:
        """As the decoder's."""
        return self.decoder.latent_range()

    def quantize(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """As the decoder's."""
        return self.decoder.quantize(latent)

    def decode(self, quantized: Tensor, *, lean: bool = False) -> Tensor:
        """Quantized latent [B, C, h, w] -> image [B, 3, H, W] as the camera sees it, not clamped; lean as there."""
        image = self.decoder.decode(quantized, lean=True) if lean else self.decoder.decode(quantized)
        image = image if self.held is None else image + self.held.to(image)
        return image if _is_still(self.view) else see(image, self.view, self.rim)


def see(image: Tensor, view: Tensor, rim: Rim) -> Tensor:
    """A picture through the camera, almost without loss of sharpness: sampled with further pixels between its own.

    Shapes: [B, 3, H, W], view [1, 3, 3] -> [B, 3, H, W].
    """
    height, width = image.shape[2:]
    large = double(image, "circular" if rim == "wrap" else "replicate")
    place = geo.translate(*view.new_tensor([[-0.5 / width], [-0.5 / height]]))  # of the old pixels among the new ones
    return geo.warp(large, place @ view, height=height, width=width, padding=PADDING[rim], mode="bicubic")


def sharpened(image: Tensor, amount: float) -> Tensor:
    """A picture with more of its finest detail: what a blur of 3 x 3 pixels takes away is added. [B, 3, H, W]."""
    if not amount:
        return image
    soft = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return image + amount * (image - soft)


def film(
    decoder: ImageDecoder,
    encoder: ImageEncoder | None,
    state: State,
    *,
    shots: Callable[[int], Shot],
    frames: int,
    carry: Carry = Carry(),
    showing: Showing = Showing(),
    thrift: Thrift | None = None,
) -> Iterator[Frame]:
    """Films: yields a Frame for each of the frames that are still to come, ending with number frames - 1.

    state comes from `begin(latent, seeds)` or a painting's `state()` for a new film, or from a frame's `state()`, to go
    on exactly from there with the next frame. shots(n) is asked once for each frame, in order. showing is how
    the picture of a frame differs from what was painted; the state knows nothing of it. thrift is one for all
    frames (None = as the first course says): what did not fit once is not tried at the next frame.
    Raises: DivergedError if no step of a frame had a finite loss; ValueError if the way needs an encoder and there is
    none.
    """
    if encoder is None and carry.way != "state":
        raise ValueError(f"a film whose painting is carried by {carry.way} needs the encoder")
    device = decoder.latent_range()[0].device
    state = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in state.items()}
    for index in range(state.get("frame", -1) + 1, frames):
        shot = shots(index)
        thrift = thrift or Thrift(shot.course.micro_batch, shot.course.lean)
        if index:
            state = move(decoder, encoder, state, shot.matrix, carry)
            if shot.anew is not None:
                state = turned(decoder, state, shot.anew, carry)
        event = _painted(decoder, state, shot, carry, thrift)
        kept = {name: state[name] for name in ("view", "held", "left", "shown", "fading") if name in state}
        state = {**event.state(), **kept, "frame": index, "painted": shot.course.steps > 0}
        image = event.image
        if "shown" in state:
            image = torch.lerp(image, state["shown"], FADE * min(1.0, (state["fading"] + 1) / ENDING))
            state = {**state, "shown": image}
        yield Frame(
            index,
            frames,
            showing(image),
            event.latent,
            shot.matrix,
            event.loss,
            event.losses,
            event.skipped,
            partial(dict, state),
        )


@torch.no_grad()
def move(decoder: ImageDecoder, encoder: ImageEncoder | None, state: State, matrix: Tensor, carry: Carry) -> State:
    """The state of a film with its camera moved by a matrix [1, 3, 3]; nothing is painted."""
    state = {**state, "view": _view(state) @ matrix.to(_view(state))}
    state = _faded(state, matrix, carry)
    if "held" in state and state.get("painted", True):
        state |= {"held": state["held"] * carry.hold, "left": state.get("left", 1.0) * carry.hold}
    if carry.way == "cells" and _far(state["view"], state) <= carry.cells:
        return state
    return _carried(decoder, encoder, state, carry)


@torch.no_grad()
def turned(decoder: ImageDecoder, state: State, anew: Callable[[Tensor], Tensor], carry: Carry) -> State:
    """The state of a film with its painting made anew from what the camera sees, which fades from the next frame on."""
    seen = Viewed(decoder, _view(state), state.get("held"), carry.rim).decode(decoder.quantize(finished(state))[0])
    seen = seen.float().clamp(0, 1)
    made = {**with_latent(state, anew(seen)), "left": 1.0, "shown": state.get("shown", seen), "fading": FADING}
    for stale in ("optimizer", "view", "held"):  # they are of another painting, and seen from elsewhere
        made.pop(stale, None)
    return made


def _faded(state: State, matrix: Tensor, carry: Carry) -> State:
    """The state with what is still shown of an earlier painting moved along, or gone if it has been there for long."""
    if "shown" not in state:
        return state
    if not state["fading"]:
        return {name: value for name, value in state.items() if name not in ("shown", "fading")}
    shown = see(state["shown"], matrix.to(state["shown"]), carry.rim).clamp(0, 1)
    return {**state, "shown": shown, "fading": state["fading"] - 1}


def _carried(decoder: ImageDecoder, encoder: ImageEncoder | None, state: State, carry: Carry) -> State:
    """The state with its view made straight again: what the camera saw now lies in the latent, and in what is held."""
    rows, columns = state["latent"].shape[2:]
    shift, rest = whole_cells(state["view"], rows=rows, columns=columns)
    straight = carry.way == "cells" and _far(rest, state) <= 0.5 + 1e-6
    if not straight:
        shift, rest = state["view"], torch.eye(3).to(state["view"])[None]
    seen = Viewed(decoder, shift, state.get("held"), carry.rim).decode(decoder.quantize(finished(state))[0])
    moved = {**warp(state, shift, rim=carry.rim, latent_range=decoder.latent_range()), "view": rest}
    if not straight:
        seen = sharpened(seen, given_back(shift, state.get("left", 1.0), carry))
        moved["left"] = 1.0
    if encoder is not None and carry.way != "state" and not straight:
        moved = with_latent(moved, _encoded(encoder, seen, moved, shift, carry))
    if carry.hold:
        moved["held"] = seen - decoder.decode(decoder.quantize(finished(moved))[0])
    return moved


def given_back(view: Tensor, left: float, carry: Carry) -> float:
    """How much is sharpened at a move [1, 3, 3] when the share `left` of what is held has not been let go yet.

    Nothing where the camera goes out: what is made smaller is sharp, and would be sharpened again at every move.
    """
    if torch.linalg.det(view[0, :2, :2]) > 1 + 1e-6:
        return 0.0
    return min(carry.sharpen, (1 / max(left, 0.1) - 1) * 0.75)


def _far(view: Tensor, state: State) -> float:
    """How many cells a view moves a corner of the frame, across or down, whichever is more."""
    rows, columns = state["latent"].shape[2:]
    return float((reach(view) * view.new_tensor([columns, rows]) / 2).max())


def _encoded(encoder: ImageEncoder, seen: Tensor, moved: State, view: Tensor, carry: Carry) -> Tensor:
    """The latent of what the camera saw; where that is to be painted fresh, the fresh one."""
    latent = encoder.tokenize(seen.clamp(0, 1))[0]
    if carry.rim != "fresh":
        return latent
    rows, columns = latent.shape[2:]
    return torch.where(geo.outside(view, height=rows, width=columns).to(latent.device), moved["latent"], latent)


def _painted(decoder: ImageDecoder, state: State, shot: Shot, carry: Carry, thrift: Thrift) -> Step:
    """The last event of the frame's steps. Raises: DivergedError."""
    before = int(state["skipped"].sum()) if "skipped" in state else 0
    viewed = Viewed(decoder, _view(state), state.get("held"), carry.rim)
    events = paint(
        viewed,
        shot.looks,
        state,
        course=shot.course,
        cutouts=shot.cutouts,
        extras=shot.extras,
        first=state["step"],
        thrift=thrift,
    )
    last = None
    for event in events:
        last = event
    assert last is not None
    if shot.course.steps and int(last.skipped) - before >= shot.course.steps:
        raise DivergedError("the loss stopped being a number", hint="try a smaller --frame-lr or --dtype float32")
    return last


def _view(state: State) -> Tensor:
    return state["view"].cpu() if "view" in state else torch.eye(3, dtype=torch.float64)[None]


def _is_still(view: Tensor) -> bool:
    return torch.equal(view, torch.eye(3).to(view)[None])
