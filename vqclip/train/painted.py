"""Pictures that are being painted while a CLIP trains against them, and the finished ones that it should not forget."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass
class Painted:
    """Pictures [K, 3, H, W] in [0, 1] that were painted, and for which scene and which of its captions each was."""

    images: Tensor
    scenes: np.ndarray
    texts: np.ndarray

    def take(self, chosen: Tensor) -> Painted:
        """Those at the indices [K]."""
        return Painted(self.images[chosen], self.scenes[chosen.numpy()], self.texts[chosen.numpy()])

    def joined(self, other: Painted) -> Painted:
        """These and then the other ones."""
        return Painted(
            torch.cat([self.images, other.images]),
            np.concatenate([self.scenes, other.scenes]),
            np.concatenate([self.texts, other.texts]),
        )


@dataclass
class PaintedBuffer:
    """Latents [S, C, h, w] being painted, with Adam's moments, ages and rates [S]; their pictures; finished ones."""

    latents: Tensor
    current: Painted
    rates: Tensor
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)
    ages: Tensor = field(init=False)
    finished: Painted = field(init=False)

    def __post_init__(self) -> None:
        self.first, self.second = torch.zeros_like(self.latents), torch.zeros_like(self.latents)
        self.ages = torch.zeros(len(self.latents), dtype=torch.long)
        self.finished = self.current.take(torch.arange(0))

    def keep(self, slots: Tensor, most: int) -> None:
        """Remembers the pictures of these slots [K] as finished, and forgets the oldest beyond `most`."""
        joined = self.finished.joined(self.current.take(slots))
        self.finished = joined.take(torch.arange(max(0, len(joined.scenes) - most), len(joined.scenes)))

    def restart(self, slots: Tensor, latents: Tensor, rates: Tensor, scenes: np.ndarray, texts: np.ndarray) -> None:
        """Begins anew in these slots [K], for other scenes."""
        self.latents[slots], self.first[slots], self.second[slots], self.ages[slots] = latents, 0.0, 0.0, 0
        self.rates[slots] = rates
        self.current.scenes[slots.numpy()], self.current.texts[slots.numpy()] = scenes, texts

    def step(self, slots: Tensor, gradient: Tensor) -> None:
        """One Adam step of these slots [K] along their gradients [K, C, h, w]."""
        self.ages[slots] += 1
        age = self.ages[slots].view(-1, 1, 1, 1)
        self.first[slots] = first = self.first[slots].lerp(gradient, 0.1)
        self.second[slots] = second = self.second[slots].lerp(gradient.square(), 0.001)
        scaled = first / (1 - 0.9**age) / ((second / (1 - 0.999**age)).sqrt() + 1e-12)
        self.latents[slots] -= self.rates[slots].view(-1, 1, 1, 1) * scaled

    def shown(self, recalled: int, rng: torch.Generator) -> Painted:
        """All that are being painted, and by chance some of the finished."""
        count = len(self.finished.scenes)
        return self.current.joined(self.finished.take(torch.randperm(count, generator=rng)[:recalled]))
