"""Trains a VQGAN: reconstruction, perception, a codebook that stays alive, and late an adversary for sharp edges."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.events import TrainStep
from vqclip.models.discriminator import PatchDiscriminator
from vqclip.models.vqgan import VQGAN
from vqclip.train.averages import update_average
from vqclip.train.codebook import LiveCodebook

Distance = Callable[[Tensor, Tensor], Tensor]
Pictures = Callable[[int], Tensor]


@dataclass(frozen=True)
class VQGANTraining:
    """The numbers of a VQGAN training.

    Until quantize_from it is a plain autoencoder; then the codebook starts from that step's own vectors. Weights
    multiply the L1 loss's companions; adversary_from is a share of the steps.
    """

    steps: int = 12000
    batch: int = 16
    learning_rate: float = 1e-3
    warmup: int = 50
    quantize_from: int = 250
    commitment: float = 0.25
    edges: float = 0.5
    perception: float = 0.3
    adversary_from: float = 0.75
    adversary_weight: float = 0.05
    average: float = 0.998
    seed: int = 2


@dataclass
class VQGANParts:
    """What is trained: the VQGAN, its adversary, its codebook's statistics and the running average of its weights."""

    model: VQGAN
    distance: Distance
    adversary: PatchDiscriminator = field(default_factory=PatchDiscriminator)
    averaged: VQGAN = field(init=False)
    codebook: LiveCodebook = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    adversary_optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.codebook = LiveCodebook(self.model.quantize.weight)
        self.model.quantize.requires_grad_(False)
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False)
        learnt = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(learnt, lr=1e-3, betas=(0.9, 0.99))
        self.adversary_optimizer = torch.optim.Adam(self.adversary.parameters(), lr=3e-4, betas=(0.5, 0.99))

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs."""
        return {name: part.state_dict() for name, part in self._stateful().items()} | {
            "codebook": self.codebook.state()
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave."""
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])
        self.codebook.load(state["codebook"])

    def _stateful(self) -> dict[str, Any]:
        names = ("model", "averaged", "adversary", "optimizer", "adversary_optimizer")
        return {name: getattr(self, name) for name in names}


def quantize_unit(latent: Tensor, codebook: LiveCodebook) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latent [B, C, h, w] -> (quantized, straight-through, alike; commitment 0-d; unit vectors [M, C]; codes [M])."""
    unit = F.normalize(latent.float(), dim=1)
    flat = unit.permute(0, 2, 3, 1).reshape(-1, unit.shape[1])
    codes = codebook.nearest(flat.detach())
    rows = codebook.rows.detach()[codes].view(len(unit), *unit.shape[2:], -1).permute(0, 3, 1, 2)
    return unit + (rows - unit).detach(), F.mse_loss(unit, rows) * unit.shape[1], flat.detach(), codes


def edge_loss(image: Tensor, target: Tensor) -> Tensor:
    """The L1 distance of the differences between neighbours, of two batches [B, 3, H, W]: blur costs."""
    across = F.l1_loss(image.diff(dim=3), target.diff(dim=3))
    return across + F.l1_loss(image.diff(dim=2), target.diff(dim=2))


def adversary_losses(adversary: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """The hinge loss of the adversary, for two batches of images [B, 3, H, W]."""
    return F.relu(1 - adversary(real)).mean() + F.relu(1 + adversary(fake)).mean()


def train_vqgan(
    parts: VQGANParts, pictures: Pictures, training: VQGANTraining, *, start: int = 0
) -> Iterator[TrainStep]:
    """Trains in place, one batch an event; go on later from `start` with `parts.load`.

    pictures gives the batch [B, 3, S, S] in [0, 1] of a step by its number.
    Source: VQGAN (Esser et al., 2021); codes of length one as in ViT-VQGAN (Yu et al., 2021).
    """
    for step in range(start, training.steps):
        rng = torch.Generator().manual_seed(training.seed * 1_000_003 + step)
        images = pictures(step).contiguous(memory_format=torch.channels_last)
        losses = _update(parts, images, training, step, rng)
        update_average(parts.averaged, parts.model, min(training.average, (step + 1) / (step + 10)))
        yield TrainStep(step + 1, training.steps, losses, (step + 1) * training.batch)


def _rate(step: int, training: VQGANTraining) -> float:
    warm = min(1.0, (step + 1) / training.warmup)
    return training.learning_rate * warm * (0.05 + 0.95 * (1 + math.cos(math.pi * step / training.steps)) / 2)


def _update(
    parts: VQGANParts, images: Tensor, training: VQGANTraining, step: int, rng: torch.Generator
) -> dict[str, float]:
    for group in parts.optimizer.param_groups:
        group["lr"] = _rate(step, training)
    with torch.autocast(images.device.type, torch.bfloat16):
        latent = parts.model.encode(images)
        quantized, commitment, unit, codes = quantize_unit(latent, parts.codebook)
        if step < training.quantize_from:
            quantized, commitment = F.normalize(latent.float(), dim=1), commitment.detach() * 0
        decoded = parts.model.decode(quantized).float()
        perceived = parts.distance(decoded, images)
    plain = F.l1_loss(decoded, images)
    loss = plain + training.commitment * commitment
    loss = loss + training.edges * edge_loss(decoded, images) + training.perception * perceived
    with_adversary = step >= training.adversary_from * training.steps
    if with_adversary:
        with torch.autocast(images.device.type, torch.bfloat16):
            fooled = -parts.adversary(decoded).mean()
        ramp = min(1.0, (step - training.adversary_from * training.steps) / 300)
        loss = loss + training.adversary_weight * ramp * fooled
    parts.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([p for p in parts.model.parameters() if p.requires_grad], 1.0)
    parts.optimizer.step()
    if step <= training.quantize_from:
        parts.codebook.begin(unit, rng)
    else:
        parts.codebook.update(unit, codes, rng)
    if with_adversary:
        _update_adversary(parts, images, decoded.detach())
    error = float(F.mse_loss(decoded.detach().clamp(0, 1), images))
    return {
        "l1": float(plain.detach()),
        "perception": float(perceived.detach()),
        "psnr": -10 * math.log10(max(error, 1e-9)),
        "perplexity": parts.codebook.perplexity,
    }


def _update_adversary(parts: VQGANParts, real: Tensor, fake: Tensor) -> None:
    with torch.autocast(real.device.type, torch.bfloat16):
        loss = adversary_losses(parts.adversary, real, fake)
    parts.adversary_optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parts.adversary_optimizer.step()
