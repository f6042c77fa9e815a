"""Trains a CLIP against pictures that were painted for it: what fools it today is what it must tell apart tomorrow.

A buffer of latents is painted all the while, each towards its own caption, with the CLIP as it is now; the decoded
pictures then stand beside the real ones, as pictures that do not show what the caption says. Gradients of a CLIP
trained so lead to shapes, because texture no longer pleases it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.events import TrainStep
from vqclip.models.vqgan import VQGAN
from vqclip.ops.guide import Targets, View, guide
from vqclip.train.averages import update_average
from vqclip.train.clip import ClipParts, contrastive, head_losses
from vqclip.train.scenes import SceneSet, batch_indices
from vqclip.train.truth import labels_of, truth_table
from vqclip.train.views import random_views

Start = Callable[[Tensor, torch.Generator], Tensor]
"""How a fresh latent begins: (text embeddings [B, D], rng) -> latents [B, C, h, w]."""


@dataclass(frozen=True)
class AdversarialTraining:
    """The numbers of the training against painted pictures.

    Each turn `painted` of the `slots` latents are painted `push` steps further, until they are `oldest` steps old;
    `decoded` real pictures of a batch pass through the VQGAN.
    """

    steps: int = 400
    batch: int = 96
    painted: int = 8
    slots: int = 32
    push: int = 3
    cuts: int = 4
    push_rate: float = 0.08
    oldest: int = 45
    decoded: int = 12
    learning_rate: float = 5e-4
    epsilon: float = 0.015
    head_weight: float = 0.4
    average: float = 0.98
    seed: int = 3


@dataclass
class PaintedBuffer:
    """Latents [S, C, h, w] that are being painted, with Adam's moments, ages [S], and the scene each is painted for."""

    latents: Tensor
    scenes: np.ndarray
    texts: np.ndarray
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)
    ages: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.first, self.second = torch.zeros_like(self.latents), torch.zeros_like(self.latents)
        self.ages = torch.zeros(len(self.latents), dtype=torch.long)

    def restart(self, slots: Tensor, latents: Tensor, scenes: np.ndarray, texts: np.ndarray) -> None:
        """Begins anew in these slots [K], for other scenes."""
        self.latents[slots], self.first[slots], self.second[slots], self.ages[slots] = latents, 0.0, 0.0, 0
        self.scenes[slots.numpy()], self.texts[slots.numpy()] = scenes, texts

    def step(self, slots: Tensor, gradient: Tensor, rate: float) -> None:
        """One Adam step of these slots [K] along their gradients [K, C, h, w]."""
        self.ages[slots] += 1
        age = self.ages[slots].view(-1, 1, 1, 1)
        self.first[slots] = first = self.first[slots].lerp(gradient, 0.1)
        self.second[slots] = second = self.second[slots].lerp(gradient.square(), 0.001)
        scaled = first / (1 - 0.9**age) / ((second / (1 - 0.999**age)).sqrt() + 1e-12)
        self.latents[slots] -= rate * scaled


@dataclass
class AdversarialParts:
    """What is trained (the image tower and the heads of `clip`), the VQGAN that paints, and how painting starts."""

    clip: ClipParts
    vqgan: VQGAN
    start: Start
    averaged: nn.Module = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.clip.model.eval().requires_grad_(False)
        self.clip.model.visual.requires_grad_(True)
        self.averaged = copy.deepcopy(self.clip.model).requires_grad_(False)
        learnt = [*self.clip.model.visual.parameters(), *self.clip.heads.parameters()]
        self.optimizer = torch.optim.AdamW(learnt, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.01)

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs, but for the buffer, which fills itself again."""
        return {
            "model": self.clip.model.state_dict(),
            "heads": self.clip.heads.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave."""
        self.clip.model.load_state_dict(state["model"])
        self.clip.heads.load_state_dict(state["heads"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])

    def texts(self, data: SceneSet, scenes: np.ndarray, texts: np.ndarray) -> tuple[list[str], Tensor]:
        """The captions of some scenes [K], and their embeddings [K, D] of length one."""
        captions = [data.captions[i][j] for i, j in zip(scenes, texts, strict=True)]
        with torch.no_grad():
            embedded = self.clip.model.encode_text(self.clip.text_rows(captions))
        return captions, F.normalize(embedded.float(), dim=-1)


def train_against_painted(
    parts: AdversarialParts, data: SceneSet, training: AdversarialTraining, *, start: int = 0
) -> Iterator[TrainStep]:
    """Trains in place, one turn an event: paint a little, then learn from it.

    Differs from adversarial training on pixels in that the adversary is the painting loop itself.
    """
    buffer = _fresh_buffer(parts, data, training, start)
    for step in range(start, training.steps):
        indices, chooser = batch_indices(len(data), training.batch, seed=training.seed, step=step)
        rng = torch.Generator().manual_seed(int(chooser.integers(2**62)))
        slots = torch.randperm(training.slots, generator=rng)[: training.painted]
        _retire(parts, data, training, buffer, slots, rng, chooser)
        painted = _paint(parts, data, training, buffer, slots, rng)
        indices[: len(slots)] = buffer.scenes[slots.numpy()]
        texts = chooser.integers(0, len(data.captions[0]), training.batch)
        texts[: len(slots)] = buffer.texts[slots.numpy()]
        losses = _learn(parts, data, training, (indices, texts), painted, step, rng)
        yield TrainStep(step + 1, training.steps, losses, (step + 1) * training.batch)


def _fresh_buffer(parts: AdversarialParts, data: SceneSet, training: AdversarialTraining, start: int) -> PaintedBuffer:
    scenes, chooser = batch_indices(len(data), training.slots, seed=training.seed + 1, step=start)
    rng = torch.Generator().manual_seed(training.seed + start)
    texts = chooser.integers(0, len(data.captions[0]), training.slots)
    buffer = PaintedBuffer(parts.start(parts.texts(data, scenes, texts)[1], rng), scenes, texts)
    buffer.ages += torch.randint(0, training.oldest, buffer.ages.shape, generator=rng)
    return buffer


def _retire(
    parts: AdversarialParts,
    data: SceneSet,
    training: AdversarialTraining,
    buffer: PaintedBuffer,
    slots: Tensor,
    rng: torch.Generator,
    chooser: np.random.Generator,
) -> None:
    old = slots[buffer.ages[slots] >= training.oldest]
    if len(old) == 0:
        return
    scenes = chooser.integers(0, len(data), len(old))
    texts = chooser.integers(0, len(data.captions[0]), len(old))
    buffer.restart(old, parts.start(parts.texts(data, scenes, texts)[1], rng), scenes, texts)


def _paint(
    parts: AdversarialParts,
    data: SceneSet,
    training: AdversarialTraining,
    buffer: PaintedBuffer,
    slots: Tensor,
    rng: torch.Generator,
) -> Tensor:
    """Paints these slots a little further with the CLIP as it is now -> images [K, 3, H, W] in [0, 1]."""
    model = parts.clip.model
    side = model.visual.image_size
    _, wanted = parts.texts(data, buffer.scenes[slots.numpy()], buffer.texts[slots.numpy()])

    def cut(image: Tensor) -> Tensor:
        return torch.cat([random_views(image, side, rng=rng, smallest=0.5, noise=0.05) for _ in range(training.cuts)])

    def embed(pieces: Tensor) -> Tensor:
        return F.normalize(model.encode_image(pieces * 2 - 1).float(), dim=-1)

    view = View("clip", cut, embed, Targets(wanted[:, None], torch.ones(1), torch.full((1,), -torch.inf)))
    for _ in range(training.push):
        with torch.autocast("cpu", torch.bfloat16):
            guided = guide(
                buffer.latents[slots], quantize=parts.vqgan.quantize, decode=parts.vqgan.decode, views=[view]
            )
        buffer.step(slots, guided.gradient, training.push_rate)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return parts.vqgan.decode(parts.vqgan.quantize(buffer.latents[slots])[0]).float().clamp(0, 1)


def _learn(
    parts: AdversarialParts,
    data: SceneSet,
    training: AdversarialTraining,
    chosen: tuple[np.ndarray, np.ndarray],
    painted: Tensor,
    step: int,
    rng: torch.Generator,
) -> dict[str, float]:
    """One update of the image tower; some real pictures pass through the VQGAN, lest its texture mean fake."""
    indices, texts = chosen
    scenes = [data.scenes[i] for i in indices]
    captions, wanted = parts.texts(data, indices, texts)
    truth, labels = truth_table(scenes, captions), labels_of(scenes)
    real = data.pictures(indices)
    again = slice(training.painted // 2, training.painted // 2 + training.decoded)
    real[again] = decoded_again(parts.vqgan, real[again])
    side = parts.clip.model.visual.image_size
    views = torch.cat([random_views(real, side, rng=rng), random_views(painted, side, rng=rng)])
    views = views.contiguous(memory_format=torch.channels_last)
    delta = training.epsilon * (torch.rand(views.shape, generator=rng) * 2 - 1)
    warm = min(1.0, (step + 1) / 20) * (1.0 if step < 0.7 * training.steps else 0.3)
    for group in parts.optimizer.param_groups:
        group["lr"] = training.learning_rate * warm
    for _ in range(2):
        seen = (views + delta).requires_grad_(True)
        loss, losses = _judge(parts, seen, len(real), wanted, truth, labels, training.head_weight)
        parts.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parts.clip.model.visual.parameters(), 1.0)
        parts.optimizer.step()
        delta = (delta + training.epsilon * seen.grad.sign()).clamp_(-training.epsilon, training.epsilon)
    update_average(parts.averaged, parts.clip.model, training.average)
    return {name: float(value) for name, value in losses.items()}


def decoded_again(vqgan: VQGAN, images: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [0, 1] as the VQGAN gives them back."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return vqgan.decode(vqgan.quantize(vqgan.encode(images))[0]).float().clamp(0, 1)


def _judge(
    parts: AdversarialParts,
    views: Tensor,
    real: int,
    wanted: Tensor,
    truth: Tensor,
    labels: Mapping[str, Tensor],
    head_weight: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    with torch.autocast("cpu", torch.bfloat16):
        features = parts.clip.model.encode_image(views * 2 - 1)
    features = features.float()
    unit = F.normalize(features, dim=-1)
    scale = parts.clip.model.logit_scale.exp().clamp(max=60)
    match = contrastive(unit[:real], wanted, scale, truth, unit[real:])
    heads = head_losses(features[:real], parts.clip.heads, labels)
    count = len(views) - real
    fits, faked = (unit[:count] * wanted[:count]).sum(1), (unit[real:] * wanted[:count]).sum(1)
    duel = F.softplus(scale.detach() * (faked - fits)).mean()
    loss = match + head_weight * heads + duel
    shown = {"contrastive": match, "heads": heads, "duel": duel, "real": fits.mean(), "gap": (faked - fits).mean()}
    return loss, {name: value.detach() for name, value in shown.items()}
