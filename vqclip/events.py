"""What the loops tell the world: one event per step, or per frame of a film."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One moment of a painting loop, before its update: image, latent and losses belong together.

    index counts from 0 to steps inclusive; the event with index == steps is the result.
    image [B, 3, H, W] in [0, 1]; latent [B, C, h, w] (B pictures painted at once, usually 1); losses and loss are 0-d
    tensors still on the device (call `.item()` only when showing them). skipped counts the non-finite steps that were
    masked so far (0-d tensor).
    state() copies all that is needed to go on exactly from here; call it before asking for the next event.
    """

    index: int
    steps: int
    image: Tensor
    latent: Tensor
    loss: Tensor
    losses: Mapping[str, Tensor]
    skipped: Tensor
    state: Callable[[], dict[str, Any]]

    @property
    def is_last(self) -> bool:
        """True for the event that carries the finished picture."""
        return self.index >= self.steps


@dataclass(frozen=True)
class Frame:
    """One finished frame of a film.

    index counts from 0 to frames - 1. image [B, 3, H, W] in [0, 1] as the camera shows it; matrix [1, 3, 3] maps its
    points to those of the frame before (see `ops.geometry`); loss, losses and skipped are those of its last step.
    state() copies all that is needed to go on exactly with the next frame; call it before asking for that.
    """

    index: int
    frames: int
    image: Tensor
    latent: Tensor
    matrix: Tensor
    loss: Tensor
    losses: Mapping[str, Tensor]
    skipped: Tensor
    state: Callable[[], dict[str, Any]]

    unit: ClassVar[str] = "frame"

    @property
    def steps(self) -> int:
        """The index of the last frame, so that listeners can count frames as they count steps."""
        return self.frames - 1

    @property
    def is_last(self) -> bool:
        """True for the film's last frame."""
        return self.index >= self.frames - 1


@dataclass(frozen=True)
class TrainStep:
    """One step of a training loop: its number, the losses that matter, and how far the run has come."""

    index: int
    steps: int
    losses: Mapping[str, float]
    samples: int

    @property
    def is_last(self) -> bool:
        """True after the last update."""
        return self.index >= self.steps
