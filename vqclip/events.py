"""What the loops tell the world: one event per step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
