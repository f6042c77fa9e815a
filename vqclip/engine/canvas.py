"""The latents being painted, with everything that moves along with them: optimizer, average, count of bad steps."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vqclip.engine.course import Course, make_optimizer

State = dict[str, Any]


def begin(latent: Tensor, seeds: Sequence[int], *, step: int = 0) -> State:
    """The state of a painting before its first step.

    Shapes: latent [B, C, h, w] and one seed for each picture.
    Raises: ValueError if there is not one seed for each picture.
    """
    if len(seeds) != len(latent):
        raise ValueError(f"{len(latent)} pictures, but {len(seeds)} seeds")
    return {"step": step, "seeds": list(seeds), "latent": latent.detach().clone()}


class Canvas:
    """The latents of a batch and their optimizer.

    Each picture is a parameter of its own with its own moments and counters, so that it moves as it would alone.
    """

    def __init__(self, state: State, course: Course, reach: tuple[Tensor, Tensor]) -> None:
        self._low, self._high = (side.float()[None, :, None, None] for side in reach)
        self._course = course
        start = state["latent"].to(self._low.device, torch.float32)
        self._parts = [part.clone().requires_grad_() for part in start.split(1)]
        self._optimizer = make_optimizer(course.optimizer, self._parts)
        if "optimizer" in state:
            self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        fresh = {"average": torch.zeros_like(start), "weight": start.new_zeros(len(start))}
        fresh["skipped"] = start.new_zeros(len(start), dtype=torch.long)
        kept = {name: state.get(name, value).to(start.device, copy=True) for name, value in fresh.items()}
        self._average, self._weight, self.skipped = kept["average"], kept["weight"], kept["skipped"]
        self.step: int = state["step"]
        self.seeds: list[int] = list(state["seeds"])

    @property
    def latent(self) -> Tensor:
        """A copy of the latents [B, C, h, w]."""
        return torch.cat([part.detach() for part in self._parts])

    @property
    def finished(self) -> Tensor:
        """The latents to keep [B, C, h, w]: their average if one is taken and anything is in it yet."""
        if not self._course.average:
            return self.latent
        weight = self._weight[:, None, None, None]
        return torch.where(weight > 0, self._average / weight, self.latent)

    def move(self, gradient: Tensor, sound: Tensor, rate: float) -> None:
        """One step down the gradient, back into the latent's range; a picture whose step is not sound stays.

        Nothing waits for the device: a step that went bad is taken back there, in latent, moments, counters and
        average, and counted.
        Shapes: gradient [B, C, h, w]; sound [B] of booleans (False = the loss or gradient is not finite).
        """
        before = [(part.detach().clone(), self._moments(part, copied=True)) for part in self._parts]
        for part, slope, good in zip(self._parts, gradient.split(1), sound, strict=True):
            part.grad = torch.where(good, slope, 0.0)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        with torch.no_grad():
            for part in self._parts:
                part.clamp_(self._low, self._high)
            kept = [self._keep(*old) for old in zip(self._parts, before, sound, strict=True)]
            self._remember(torch.stack(kept))
        self.step += 1

    def state(self) -> State:
        """A copy of all that is needed to go on exactly from here."""
        return {
            "step": self.step,
            "seeds": list(self.seeds),
            "latent": self.latent,
            "optimizer": copy.deepcopy(self._optimizer.state_dict()),
            "average": self._average.clone(),
            "weight": self._weight.clone(),
            "skipped": self.skipped.clone(),
        }

    def _moments(self, part: Tensor, *, copied: bool = False) -> dict[str, Tensor]:
        """What the optimizer remembers of a picture on its own device (a counter elsewhere would mean waiting)."""
        held = self._optimizer.state.get(part, {}).items()
        found = {name: value for name, value in held if isinstance(value, Tensor) and value.device == part.device}
        return {name: value.clone() for name, value in found.items()} if copied else found

    def _keep(self, part: Tensor, before: tuple[Tensor, dict[str, Tensor]], sound: Tensor) -> Tensor:
        """Takes the step of one picture back unless all of it is finite. Gives whether it was kept [0-d]."""
        latent, moments = before
        now = self._moments(part)
        for value in (part, *now.values()):
            sound = sound & value.isfinite().all()
        part.copy_(torch.where(sound, part, latent))
        for name, value in now.items():
            # at the first step there is nothing to go back to but zeros
            old = moments[name] if name in moments else value.nan_to_num(0.0, 0.0, 0.0)
            value.copy_(torch.where(sound, value, old))
        return sound

    def _remember(self, kept: Tensor) -> None:
        self.skipped += ~kept
        if self._course.average:
            share = torch.where(kept, 1 - self._course.average, 0.0)
            self._weight.lerp_(torch.ones_like(self._weight), share)
            self._average.lerp_(self.latent, share[:, None, None, None])
