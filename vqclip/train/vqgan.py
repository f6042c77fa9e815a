"""Trains a VQGAN: reconstruction, perception, a codebook that stays alive, and late an adversary for sharp edges."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.errors import DivergedError
from vqclip.events import TrainStep
from vqclip.models.discriminator import PatchDiscriminator
from vqclip.models.vqgan import VQGAN
from vqclip.train.averages import update_average
from vqclip.train.codebook import LiveCodebook
from vqclip.train.quantizing import Quantized, quantize, quantize_fixed, quantize_gumbel
from vqclip.train.team import Team

Distance = Callable[[Tensor, Tensor], Tensor]
Pictures = Callable[[int], Tensor]

FIRST_BATCHES = 8
"""How many batches the k-means that begins a codebook is given."""
MOST_WEIGHT = 1e4
ADVERSARY_RATE, ADVERSARY_WARMUP = 3e-4, 100
"""Its learning rate, and over how many steps it rises: of fresh weights the first steps make much of a rounding."""


@dataclass(frozen=True)
class VQGANTraining:
    """The numbers of a VQGAN training.

    Until quantize_from it is a plain autoencoder; then the codebook starts from that step's own vectors, or with
    `kmeans` rounds from those of the next batches; below 0 it goes on from the rows it has. Weights multiply the L1
    loss's companions; adversary_from is a share of the steps, and with `adaptive` the adversary's weight is also
    measured against the other losses. batch is of each process, and passes in `accumulate` parts.
    """

    steps: int = 12000
    batch: int = 16
    learning_rate: float = 1e-3
    warmup: int = 50
    quantize_from: int = 250
    kmeans: int = 0
    commitment: float = 0.25
    squares: float = 0.0
    edges: float = 0.5
    perception: float = 0.3
    adversary_from: float = 0.75
    adversary_weight: float = 0.05
    adversary_ramp: int = 300
    adaptive: bool = False
    average: float = 0.998
    accumulate: int = 1
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    seed: int = 2


@dataclass
class VQGANParts:
    """What is trained: the VQGAN, its adversary, its codebook's statistics and the running average of its weights.

    unit: latents and codes are brought to length one. Rows that are the nearest ones learn by running means, a Gumbel
    codebook by gradients; any other kind stays as it is while the networks around it learn.
    """

    model: VQGAN
    distance: Distance
    adversary: PatchDiscriminator = field(default_factory=PatchDiscriminator)
    unit: bool = True
    team: Team = field(default_factory=Team)
    averaged: VQGAN = field(init=False)
    codebook: LiveCodebook = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    adversary_optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        kept = self.model.quantize
        rows = kept.weight if self.learning == "means" else kept.rows.detach().clone()
        self.codebook = LiveCodebook(rows, unit=self.unit, team=self.team)
        kept.requires_grad_(self.learning == "gradients")
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.learnt, lr=1e-3, betas=(0.9, 0.99))
        self.adversary_optimizer = torch.optim.Adam(self.adversary.parameters(), lr=ADVERSARY_RATE, betas=(0.5, 0.99))

    @property
    def learning(self) -> Literal["means", "gradients", "not"]:
        """How the codebook learns."""
        ways: dict[str, Literal["means", "gradients"]] = {"l2": "means", "unit": "means", "gumbel": "gradients"}
        return ways.get(self.model.config.quantizer, "not")

    @property
    def last_layer(self) -> nn.Parameter:
        """The weights that make the pixels."""
        return [p for p in self.model.decoder.parameters() if p.ndim > 1][-1]

    @property
    def learnt(self) -> list[nn.Parameter]:
        """The weights that gradients move."""
        return [p for p in self.model.parameters() if p.requires_grad]

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

    pictures gives the batch [B, 3, S, S] in [0, 1] of a step by its number; of a team, this process's share of it.
    Raises: DivergedError, before the step that would have spoiled the weights.
    Source: VQGAN (Esser et al., 2021); codes of length one as in ViT-VQGAN (Yu et al., 2021).
    """
    for step in range(start, training.steps):
        rng = torch.Generator().manual_seed(training.seed * 1_000_003 + step)
        if step == training.quantize_from and training.kmeans:
            _begin_codebook(parts, pictures, training, step, rng)
        images = pictures(step).contiguous(memory_format=torch.channels_last)
        losses = _update(parts, images, training, step, rng)
        update_average(parts.averaged, parts.model, min(training.average, (step + 1) / (step + 10)))
        yield TrainStep(step + 1, training.steps, losses, (step + 1) * training.batch * parts.team.size)


def _rate(step: int, training: VQGANTraining) -> float:
    warm = min(1.0, (step + 1) / training.warmup)
    return training.learning_rate * warm * (0.05 + 0.95 * (1 + math.cos(math.pi * step / training.steps)) / 2)


def _autocast(images: Tensor, training: VQGANTraining) -> torch.autocast:
    return torch.autocast(images.device.type, torch.bfloat16, enabled=training.dtype == "bfloat16")


@torch.no_grad()
def _begin_codebook(
    parts: VQGANParts, pictures: Pictures, training: VQGANTraining, step: int, rng: torch.Generator
) -> None:
    """Gives the codebook the centers of what the encoder makes of the next batches: by number, so nothing is kept."""
    found = []
    for ahead in range(FIRST_BATCHES):
        images = pictures(step + ahead).contiguous(memory_format=torch.channels_last)
        with _autocast(images, training):
            vectors = quantize(parts.model.encode(images), parts.codebook, plain=True).vectors
        found.append(parts.team.gather(vectors))
    parts.codebook.begin(torch.cat(found), rng, rounds=training.kmeans)


@dataclass(frozen=True)
class _Part:
    """One part of a batch after its backward: the pictures, what became of them, and the losses to show."""

    images: Tensor
    decoded: Tensor
    found: Quantized
    losses: Mapping[str, Tensor]


def _update(
    parts: VQGANParts, images: Tensor, training: VQGANTraining, step: int, rng: torch.Generator
) -> dict[str, float]:
    for group in parts.optimizer.param_groups:
        group["lr"] = _rate(step, training)
    parts.optimizer.zero_grad(set_to_none=True)
    done = [_pass(parts, part, training, step, rng) for part in images.chunk(training.accumulate)]
    parts.team.average_gradients(parts.learnt)
    norm = nn.utils.clip_grad_norm_(parts.learnt, 1.0)
    if not torch.isfinite(norm):
        raise DivergedError(
            f"the losses stopped being numbers at step {step + 1}", hint="go on with a smaller --lr; nothing is lost"
        )
    parts.optimizer.step()
    _update_codebook(parts, done, training, step, rng)
    shown = {name: torch.stack([part.losses[name] for part in done]).mean() for name in done[0].losses}
    if step >= training.adversary_from * training.steps:
        risen = (step + 1 - training.adversary_from * training.steps) / ADVERSARY_WARMUP
        for group in parts.adversary_optimizer.param_groups:
            group["lr"] = ADVERSARY_RATE * min(1.0, risen)
        shown["adversary"] = _update_adversary(parts, done, training)
    losses = {name: float(parts.team.mean(value)) for name, value in shown.items()}
    losses["psnr"] = -10 * math.log10(max(losses.pop("error"), 1e-9))
    return losses | {"perplexity": parts.codebook.perplexity, "usage": parts.codebook.usage}


def _pass(parts: VQGANParts, images: Tensor, training: VQGANTraining, step: int, rng: torch.Generator) -> _Part:
    """Forward and backward of one part of a batch; its gradients are added to what is there."""
    with _autocast(images, training):
        latent = parts.model.encode(images)
        found = _quantize(parts, latent, step < training.quantize_from, rng)
        decoded = parts.model.decode(found.latent).float()
        perceived = parts.distance(decoded, images)
    plain = F.l1_loss(decoded, images)
    loss = plain + training.commitment * found.commitment
    if training.squares:
        loss = loss + training.squares * F.mse_loss(decoded, images)
    if training.edges:
        loss = loss + training.edges * edge_loss(decoded, images)
    loss = loss + training.perception * perceived
    losses = {"l1": plain, "perception": perceived, "commitment": found.commitment}
    if step >= training.adversary_from * training.steps:
        with _autocast(images, training):
            fooled = -parts.adversary(decoded).mean()
        ramp = min(1.0, (step - training.adversary_from * training.steps) / training.adversary_ramp)
        weight = training.adversary_weight * ramp
        if training.adaptive:
            weight = weight * _adaptive_weight(parts, loss, fooled, decoded)
            losses["weight"] = weight
        loss = loss + weight * fooled
    (loss / training.accumulate).backward()
    losses["error"] = F.mse_loss(decoded.detach().clamp(0, 1), images)
    return _Part(images, decoded.detach(), found, {name: value.detach() for name, value in losses.items()})


def _quantize(parts: VQGANParts, latent: Tensor, plain: bool, rng: torch.Generator) -> Quantized:
    if parts.learning == "gradients":
        return quantize_gumbel(latent, parts.model.quantize, rng)
    if parts.learning == "not":
        return quantize_fixed(latent, parts.model.quantize)
    return quantize(latent, parts.codebook, plain=plain)


def _adaptive_weight(parts: VQGANParts, loss: Tensor, fooled: Tensor, decoded: Tensor) -> Tensor:
    """How many times stronger the other losses pull at the decoder's last layer than the adversary does."""
    last = parts.last_layer

    def pull(of: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(of, decoded, retain_graph=True)
        (gradient,) = torch.autograd.grad(decoded, last, gradient, retain_graph=True)
        return parts.team.mean(gradient).norm()

    return (pull(loss) / (pull(fooled) + 1e-4)).clamp(0, MOST_WEIGHT)


def _update_codebook(
    parts: VQGANParts, done: list[_Part], training: VQGANTraining, step: int, rng: torch.Generator
) -> None:
    vectors, codes = (torch.cat([getattr(part.found, name) for part in done]) for name in ("vectors", "codes"))
    if parts.learning != "means":
        parts.codebook.count(codes)
    elif step > training.quantize_from or (training.kmeans and step == training.quantize_from):
        parts.codebook.update(vectors, codes, rng)
    else:
        parts.codebook.begin(parts.team.gather(vectors), rng)


def _update_adversary(parts: VQGANParts, done: list[_Part], training: VQGANTraining) -> Tensor:
    """One step of the adversary on the pictures of a batch and what was made of them: its mean loss, 0-d."""
    parts.adversary_optimizer.zero_grad(set_to_none=True)
    losses = []
    for part in done:
        with _autocast(part.images, training):
            loss = adversary_losses(parts.adversary, part.images, part.decoded)
        (loss / len(done)).backward()
        losses.append(loss.detach())
    parts.team.average_gradients(parts.adversary.parameters())
    parts.adversary_optimizer.step()
    return torch.stack(losses).mean()
