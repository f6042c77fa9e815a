"""Trains a CLIP against pictures that were painted for it: what fools it today is what it must tell apart tomorrow.

A buffer of latents is painted all the while, each towards its own caption, with the CLIP as it is now; the decoded
pictures then stand beside the real ones, as pictures that do not show what the caption says. Gradients of a CLIP
trained so lead to shapes, because texture no longer pleases it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.events import TrainStep
from vqclip.models.vqgan import VQGAN
from vqclip.ops.guide import Targets, View, guide
from vqclip.ops.pixels import to_signed
from vqclip.train.averages import update_average
from vqclip.train.clip import ClipParts, contrastive, head_losses
from vqclip.train.painted import Painted, PaintedBuffer
from vqclip.train.scenes import SceneSet, batch_indices
from vqclip.train.starts import Start
from vqclip.train.truth import false_caption, labels_of, truth_table
from vqclip.train.views import random_views

AT_ONCE = 4
"""Pictures that are decoded together: more of them no longer fit a core's cache."""


@dataclass(frozen=True)
class AdversarialTraining:
    """The numbers of the training against painted pictures.

    Each turn `painted` of the `slots` latents are painted `push` steps further, until they are `oldest` steps old, at
    a rate of their own between the two `push_rates`. All slots stand before the CLIP at every turn, and `recalled` of
    the last `kept` finished ones. They are painted for the first `decoded` scenes, which are there twice, as they are
    and passed through the VQGAN, lest its texture mean "painted". The tower's rate rises for `warmup` turns; the heads,
    which may be fresh, learn at the full rate meanwhile.
    """

    steps: int = 1700
    batch: int = 96
    painted: int = 8
    slots: int = 32
    kept: int = 96
    recalled: int = 16
    push: int = 3
    cuts: int = 4
    push_rates: tuple[float, float] = (0.005, 0.1)
    oldest: int = 45
    decoded: int = 1000
    learning_rate: float = 5e-4
    warmup: int = 100
    epsilon: float = 0.015
    head_weight: float = 0.5
    average: float = 0.98
    seed: int = 3


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
        tower, heads = self.clip.model.visual.parameters(), self.clip.heads.parameters()
        groups = [{"params": list(tower)}, {"params": list(heads)}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.01)

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
        return captions, self.embedded(captions)

    @torch.no_grad()
    def embedded(self, captions: list[str]) -> Tensor:
        """The embeddings [K, D] of captions, of length one."""
        return F.normalize(self.clip.model.encode_text(self.clip.text_rows(captions)).float(), dim=-1)


def train_against_painted(
    parts: AdversarialParts, data: SceneSet, training: AdversarialTraining, *, start: int = 0
) -> Iterator[TrainStep]:
    """Trains in place, one turn an event: paint a little, then learn from it.

    Differs from adversarial training on pixels in that the adversary is the painting loop itself.
    """
    count = min(training.decoded, len(data))
    turn = _Turn(parts, data, training, decoded_again(parts.vqgan, data, count))
    buffer = turn.fresh_buffer(start)
    for step in range(start, training.steps):
        indices, chooser = batch_indices(len(data), training.batch, seed=training.seed, step=step)
        rng = torch.Generator().manual_seed(int(chooser.integers(2**62)))
        slots = torch.randperm(training.slots, generator=rng)[: training.painted]
        turn.retire(buffer, slots, rng, chooser)
        turn.paint(buffer, slots, rng)
        shown = buffer.shown(training.recalled, rng)
        count = len(shown.scenes)
        texts = chooser.integers(0, len(data.captions[0]), training.batch)
        indices[:count], texts[:count] = shown.scenes, shown.texts
        losses = turn.learn(indices, texts, shown.images, step, rng, chooser)
        yield TrainStep(step + 1, training.steps, losses, (step + 1) * training.batch)


@dataclass(frozen=True)
class _Turn:
    """What every turn needs, and the things that are done in one."""

    parts: AdversarialParts
    data: SceneSet
    training: AdversarialTraining
    decoded: Tensor

    def fresh_buffer(self, start: int) -> PaintedBuffer:
        slots = self.training.slots
        scenes, chooser = batch_indices(len(self.decoded), slots, seed=self.training.seed + 1, step=start)
        rng = torch.Generator().manual_seed(self.training.seed + start)
        texts = chooser.integers(0, len(self.data.captions[0]), slots)
        latents = self.parts.start(scenes, rng)
        buffer = PaintedBuffer(latents, Painted(self.decode(latents), scenes, texts), self.rates(slots, rng))
        buffer.ages += torch.randint(0, self.training.oldest, buffer.ages.shape, generator=rng)
        return buffer

    def rates(self, count: int, rng: torch.Generator) -> Tensor:
        low, high = self.training.push_rates
        return low * (high / low) ** torch.rand(count, generator=rng)

    def retire(self, buffer: PaintedBuffer, slots: Tensor, rng: torch.Generator, chooser: np.random.Generator) -> None:
        old = slots[buffer.ages[slots] >= self.training.oldest]
        if len(old) == 0:
            return
        buffer.keep(old, self.training.kept)
        scenes = chooser.integers(0, len(self.decoded), len(old))
        texts = chooser.integers(0, len(self.data.captions[0]), len(old))
        latents = self.parts.start(scenes, rng)
        buffer.restart(old, latents, self.rates(len(old), rng), scenes, texts)

    def decode(self, latents: Tensor) -> Tensor:
        vqgan = self.parts.vqgan
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return torch.cat([vqgan.decode(vqgan.quantize(some)[0]).float().clamp(0, 1) for some in latents.split(4)])

    def paint(self, buffer: PaintedBuffer, slots: Tensor, rng: torch.Generator) -> None:
        """Paints these slots a little further with the CLIP as it is now."""
        model, training = self.parts.clip.model, self.training
        side = model.visual.image_size
        vqgan = self.parts.vqgan

        def cut(image: Tensor) -> Tensor:
            cuts = [random_views(image, side, rng=rng, smallest=0.5, noise=0.05) for _ in range(training.cuts)]
            return torch.cat(cuts)

        def embed(pieces: Tensor) -> Tensor:
            return F.normalize(model.encode_image(to_signed(pieces)).float(), dim=-1)

        for some in slots.split(AT_ONCE):
            asked = buffer.current.take(some)
            _, wanted = self.parts.texts(self.data, asked.scenes, asked.texts)
            view = View("clip", cut, embed, Targets(wanted[:, None], torch.ones(1), torch.full((1,), -torch.inf)))
            for _ in range(training.push):
                with torch.autocast("cpu", torch.bfloat16):
                    guided = guide(buffer.latents[some], quantize=vqgan.quantize, decode=vqgan.decode, views=[view])
                buffer.current.images[some] = guided.image.float().clamp(0, 1)
                buffer.step(some, guided.gradient)

    def learn(
        self,
        indices: np.ndarray,
        texts: np.ndarray,
        painted: Tensor,
        step: int,
        rng: torch.Generator,
        chooser: np.random.Generator,
    ) -> dict[str, float]:
        """One update of the image tower; some real pictures pass through the VQGAN, lest its texture mean fake."""
        parts, training = self.parts, self.training
        scenes = [self.data.scenes[i] for i in indices]
        captions, wanted = parts.texts(self.data, indices, texts)
        truth, labels = truth_table(scenes, captions), labels_of(scenes)
        false = parts.embedded([false_caption(scene, chooser) for scene in scenes])
        real = self.data.pictures(indices)
        again = (torch.from_numpy(indices) < len(self.decoded)) & (torch.rand(len(real), generator=rng) < 0.5)
        real[again] = self.decoded[indices[again.numpy()]].float() / 255
        side = parts.clip.model.visual.image_size
        views = torch.cat([random_views(real, side, rng=rng), random_views(painted, side, rng=rng)])
        views = views.contiguous(memory_format=torch.channels_last)
        delta = training.epsilon * (torch.rand(views.shape, generator=rng) * 2 - 1)
        tower, heads = parts.optimizer.param_groups
        heads["lr"] = training.learning_rate * (1.0 if step < 0.7 * training.steps else 0.3)
        tower["lr"] = heads["lr"] * min(1.0, (step + 1) / training.warmup)
        for _ in range(2):
            seen = (views + delta).requires_grad_(True)
            loss, losses = _judge(parts, seen, wanted, false, truth, labels, training.head_weight)
            parts.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parts.clip.model.visual.parameters(), 1.0)
            parts.optimizer.step()
            delta = (delta + training.epsilon * seen.grad.sign()).clamp_(-training.epsilon, training.epsilon)
        update_average(parts.averaged, parts.clip.model, training.average)
        return {name: float(value) for name, value in losses.items()}


def decoded_again(vqgan: VQGAN, data: SceneSet, count: int) -> Tensor:
    """The first `count` scenes as the VQGAN gives them back: uint8 [count, 3, H, W]."""
    given = []
    for some in np.array_split(np.arange(count), -(-count // AT_ONCE)):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            image = vqgan.decode(vqgan.quantize(vqgan.encode(data.pictures(some)))[0])
        given.append((image.float().clamp(0, 1) * 255).round().byte())
    return torch.cat(given)


def _judge(
    parts: AdversarialParts,
    views: Tensor,
    wanted: Tensor,
    false: Tensor,
    truth: Tensor,
    labels: Mapping[str, Tensor],
    head_weight: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    with torch.autocast("cpu", torch.bfloat16):
        features = parts.clip.model.encode_image(to_signed(views))
    features, real = features.float(), len(wanted)
    unit = F.normalize(features, dim=-1)
    scale = parts.clip.model.logit_scale.exp().clamp(max=60)
    match = contrastive(unit[:real], wanted, scale, truth, unit[real:], false)
    heads = head_losses(features[:real], parts.clip.heads, labels)
    count = len(views) - real
    fits, faked = (unit[:count] * wanted[:count]).sum(1), (unit[real:] * wanted[:count]).sum(1)
    duel = F.softplus(scale.detach() * (faked - fits)).mean()
    loss = match + head_weight * heads + duel
    shown = {"contrastive": match, "heads": heads, "duel": duel, "real": fits.mean(), "gap": (faked - fits).mean()}
    return loss, {name: value.detach() for name, value in shown.items()}
