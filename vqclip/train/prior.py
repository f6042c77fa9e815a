"""Trains the prior: a rectified flow from noise to the latents of captioned pictures."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.events import TrainStep
from vqclip.models.prior import Prior
from vqclip.models.vqgan import VQGAN
from vqclip.train.averages import update_average


@dataclass(frozen=True)
class PriorTraining:
    """The numbers of a prior's training.

    nothing is the share of pictures whose words are withheld; batch is that of the coarser size, the finer one has a
    quarter of it, seen only from the share `refined` of the flow's time on: there it refines what is there already.
    """

    steps: int = 10000
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 200
    nothing: float = 0.12
    average: float = 0.999
    refined: float = 0.3
    seed: int = 4


@dataclass(frozen=True)
class Sketches:
    """What the prior learns from: codes [N, h, w] of pictures, K text embeddings of each [N, K, D], codebook."""

    codes: Tensor
    texts: Tensor
    codebook: Tensor

    def latents(self, indices: Tensor) -> Tensor:
        """Indices [B] -> latents [B, C, h, w]."""
        return F.embedding(self.codes[indices].long(), self.codebook).permute(0, 3, 1, 2)


@dataclass
class PriorParts:
    """What is trained: the prior, and the running average of its weights."""

    model: Prior
    averaged: Prior = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01)

    @property
    def device(self) -> torch.device:
        """Where the prior computes."""
        return self.model.mean.device

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs."""
        return {name: getattr(self, name).state_dict() for name in ("model", "averaged", "optimizer")}

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave."""
        for name in ("model", "averaged", "optimizer"):
            getattr(self, name).load_state_dict(state[name])


@torch.no_grad()
def picture_codes(vqgan: VQGAN, images: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [0, 1] -> codes [B, h, w], int16 where they fit."""
    with torch.autocast(images.device.type, torch.bfloat16):
        codes = vqgan.tokenize(images.contiguous(memory_format=torch.channels_last))[1]
    return codes.to(torch.int16 if len(vqgan.codebook) <= 2**15 else torch.int32)


def fit_scale(prior: Prior, latents: Tensor) -> None:
    """Sets the prior's mean and deviation from latents [N, C, h, w]."""
    flat = latents.permute(1, 0, 2, 3).flatten(1)
    prior.mean.copy_(flat.mean(1))
    prior.std.copy_(flat.std(1))


def train_prior(
    parts: PriorParts, data: Sketches, training: PriorTraining, *, fine: Sketches | None = None, start: int = 0
) -> Iterator[TrainStep]:
    """Trains in place, one batch an event; go on later from `start` with `parts.load`.

    fine are further pictures at twice the size: every second batch is of them.
    Source: rectified flow (Liu et al., 2022); times drawn logit-normally (Esser et al., 2024).
    """
    seen = 0 if fine is None else start // 2 * (_fine_batch(training) - training.batch)
    seen += start * training.batch
    for step in range(start, training.steps):
        rng = torch.Generator().manual_seed(training.seed * 1_000_003 + step)
        refining = fine is not None and step % 2 == 1
        source = fine if fine is not None and refining else data
        batch = _fine_batch(training) if refining else training.batch
        indices = torch.randint(len(source.codes), (batch,), generator=rng)
        which = torch.randint(source.texts.shape[1], (batch,), generator=rng)
        clean = parts.model.normalize(source.latents(indices).to(parts.device))
        text = source.texts[indices, which].float()
        text = text * (torch.rand(batch, 1, generator=rng) >= training.nothing)
        time = torch.randn(batch, generator=rng)
        time = training.refined + (1 - training.refined) * torch.sigmoid(time) if refining else torch.sigmoid(time)
        noise = torch.randn(clean.shape, generator=rng)
        loss = _update(parts, *(part.to(parts.device) for part in (clean, noise, time, text)), training, step)
        update_average(parts.averaged, parts.model, min(training.average, (step + 1) / (step + 10)))
        seen += batch
        yield TrainStep(step + 1, training.steps, {"fine flow" if refining else "flow": float(loss)}, seen)


def _fine_batch(training: PriorTraining) -> int:
    return max(1, training.batch // 4)


def _update(
    parts: PriorParts, clean: Tensor, noise: Tensor, time: Tensor, text: Tensor, training: PriorTraining, step: int
) -> Tensor:
    done = step / training.steps
    rate = (
        training.learning_rate
        * min(1.0, (step + 1) / training.warmup)
        * (0.03 + 0.97 * (1 + math.cos(math.pi * done)) / 2)
    )
    for group in parts.optimizer.param_groups:
        group["lr"] = rate
    at = time[:, None, None, None]
    noisy = (clean * at + noise * (1 - at)).contiguous(memory_format=torch.channels_last)
    with torch.autocast(clean.device.type, torch.bfloat16):
        velocity = parts.model(noisy, time, text)
    loss = F.mse_loss(velocity.float(), clean - noise)
    parts.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(parts.model.parameters(), 1.0)
    parts.optimizer.step()
    return loss.detach()
