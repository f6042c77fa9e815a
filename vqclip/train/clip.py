"""Trains a small CLIP that is good to be guided by: contrastive, with attribute heads, against perturbed pixels."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.events import TrainStep
from vqclip.ops.pixels import to_signed
from vqclip.train.averages import settle_norms, update_average
from vqclip.train.scenes import batch_indices
from vqclip.train.truth import ATTRIBUTES
from vqclip.train.views import random_views
from vqclip.train.vocabulary import Vocabulary


class Captioned(Protocol):
    """Captioned pictures that a CLIP can learn from, by index."""

    captions: Sequence[Sequence[str]]

    def __len__(self) -> int:
        """How many there are."""
        ...

    def pictures(self, indices: np.ndarray, rng: np.random.Generator | None = None) -> Tensor:
        """Indices [B] -> square images [B, 3, S, S] in [0, 1]; where there is a choice of squares, rng makes it."""
        ...

    def truth(self, indices: np.ndarray, captions: Sequence[str]) -> Tensor:
        """Pictures [B] and one caption of each -> bool [B, B]: is caption (column) true of picture (row)?"""
        ...

    def false_captions(self, indices: np.ndarray, rng: np.random.Generator) -> list[str]:
        """One caption for each of these pictures [B] that is nearly true of it, but not quite; [] if none is known."""
        ...

    def labels(self, indices: np.ndarray) -> dict[str, Tensor]:
        """The class [B] of each attribute that is known of these pictures; {} if none is."""
        ...


@dataclass(frozen=True)
class ClipTraining:
    """The numbers of a CLIP training. epsilon is the largest change of a pixel (of 1) that the adversary may make.

    Of each picture of a batch, `views` random views are told apart from the other pictures.
    """

    steps: int = 8000
    batch: int = 128
    learning_rate: float = 1.5e-3
    warmup: int = 300
    replays: int = 2
    epsilon: float = 0.02
    head_weight: float = 0.25
    forget: float = 0.02
    average: float = 0.998
    views: int = 1
    seed: int = 1


@dataclass
class ClipParts:
    """What is trained: an open_clip CLIP over the small vocabulary, its attribute heads, and the running average.

    attributes: what the heads tell of a picture, and among which values; {} for pictures of which no more is known.
    """

    model: nn.Module
    vocabulary: Vocabulary
    tokenize: Any
    attributes: Mapping[str, Sequence[str]] = field(default_factory=lambda: ATTRIBUTES)
    heads: nn.ModuleDict = field(init=False)
    averaged: nn.Module = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        width = self.model.visual.output_dim
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(values)) for name, values in self.attributes.items()})
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False)
        decayed = [p for p in self.model.parameters() if p.ndim > 1] + [
            p for p in self.heads.parameters() if p.ndim > 1
        ]
        plain = [p for p in (*self.model.parameters(), *self.heads.parameters()) if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98))

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs."""
        return {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])

    @property
    def side(self) -> int:
        """Side in pixels of the squares the model looks at."""
        size = self.model.visual.image_size
        return size[0] if isinstance(size, tuple) else size

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.logit_scale.device

    def text_rows(self, captions: Sequence[str]) -> Tensor:
        """Captions -> rows [B, L] of the small token table."""
        return self.vocabulary.rows(self.tokenize(list(captions)))


def cosine_rate(step: int, training: ClipTraining) -> float:
    """The learning rate of a step: a linear warm-up, then half a cosine down to 2 %."""
    if step < training.warmup:
        return training.learning_rate * (step + 1) / training.warmup
    done = min(1.0, (step - training.warmup) / max(1, training.steps - training.warmup))
    return training.learning_rate * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def contrastive(
    image: Tensor,
    text: Tensor,
    scale: Tensor,
    truth: Tensor,
    extra: Tensor | None = None,
    false: Tensor | None = None,
) -> Tensor:
    """The symmetric contrastive loss where one picture may have several true captions.

    Shapes: image, text [B, D] of length one; scale 0-d; truth bool [B, B] (row picture, column caption);
    extra [E, D] of length one: pictures that show none of it, added to what each caption must tell apart;
    false [B, D] of length one: a caption for each picture that is nearly true, added to what the picture must.
    Source: CLIP (Radford et al., 2021) with the soft targets of supervised contrastive learning (Khosla et al., 2020).
    """
    logits = scale * image @ text.T
    target = truth.float()
    by_image = logits if false is None else torch.cat([logits, scale * (image * false).sum(1, keepdim=True)], 1)
    asked = F.pad(target, (0, by_image.shape[1] - len(image)))
    of_images = -(F.log_softmax(by_image, 1) * asked / asked.sum(1, keepdim=True)).sum(1).mean()
    by_text = logits.T if extra is None else torch.cat([logits.T, scale * text @ extra.T], 1)
    padded = F.pad(target.T, (0, by_text.shape[1] - len(image)))
    of_texts = -(F.log_softmax(by_text, 1) * padded / padded.sum(1, keepdim=True)).sum(1).mean()
    return (of_images + of_texts) / 2


def head_losses(features: Tensor, heads: nn.ModuleDict, labels: Mapping[str, Tensor]) -> Tensor:
    """Mean cross entropy of the attribute heads; the subject, which is learnt last, counts three times."""
    if not heads:
        return features.new_zeros(())
    losses = [
        F.cross_entropy(head(features), labels[name]) * (3 if name == "subject" else 1) for name, head in heads.items()
    ]
    return torch.stack(losses).mean()


def clip_loss(
    parts: ClipParts, images: Tensor, rows: Tensor, truth: Tensor, labels: Mapping[str, Tensor], head_weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Images [V * B, 3, S, S] in [0, 1], V views of each, and rows [B, L] -> the loss, and its parts by name.

    Another B rows may follow, of captions that are nearly true of the pictures.
    """
    with torch.autocast(images.device.type, torch.bfloat16):
        features = parts.model.encode_image(to_signed(images))
        words = parts.model.encode_text(rows)
    features = features.float()
    scale = parts.model.logit_scale.exp().clamp(max=60)
    image, (text, *rest) = F.normalize(features, dim=-1), F.normalize(words.float(), dim=-1).split(len(truth))
    false = rest[0] if rest else None
    match = torch.stack([contrastive(view, text, scale, truth, false=false) for view in image.split(len(text))]).mean()
    heads = head_losses(features, parts.heads, labels)
    return match + head_weight * heads, {"contrastive": match.detach(), "heads": heads.detach()}


def train_clip(parts: ClipParts, data: Captioned, training: ClipTraining, *, start: int = 0) -> Iterator[TrainStep]:
    """Trains in place, one batch an event; go on later from `start` with `parts.load`.

    Each batch is used `replays` times while a perturbation of its pixels grows along the loss ("free" adversarial
    training, Shafahi et al., 2019): gradients of a net trained so paint shapes instead of noise.
    """
    for step in range(start, training.steps):
        indices, chooser = batch_indices(len(data), training.batch, seed=training.seed, step=step)
        rng = torch.Generator().manual_seed(int(chooser.integers(2**62)))
        captions = [data.captions[i][chooser.integers(len(data.captions[i]))] for i in indices]
        truth = data.truth(indices, captions).to(parts.device)
        labels = {name: of.repeat(training.views).to(parts.device) for name, of in data.labels(indices).items()}
        said = parts.text_rows([*captions, *data.false_captions(indices, chooser)])
        rows = parts.vocabulary.forget_some(said, training.forget, rng).to(parts.device)
        pictures = data.pictures(indices, chooser)
        images = torch.cat([random_views(pictures, parts.side, rng=rng) for _ in range(training.views)])
        losses = _replay(parts, images, rows, truth, labels, training, step, rng)
        yield TrainStep(step + 1, training.steps, losses, (step + 1) * training.batch)


def settle_clip(model: nn.Module, data: Captioned, side: int, *, batches: int = 16, batch: int = 128) -> None:
    """Measures the batch norms of an averaged CLIP's picture tower anew, on random views of the pictures."""
    rng, chooser = torch.Generator().manual_seed(0), np.random.default_rng(0)
    device = model.logit_scale.device

    def look() -> None:
        pictures = data.pictures(chooser.integers(0, len(data), batch), chooser)
        model.encode_image(to_signed(random_views(pictures, side, rng=rng).to(device)))

    settle_norms(model, [look] * batches)


def _replay(
    parts: ClipParts,
    images: Tensor,
    rows: Tensor,
    truth: Tensor,
    labels: Mapping[str, Tensor],
    training: ClipTraining,
    step: int,
    rng: torch.Generator,
) -> dict[str, float]:
    images = images.contiguous(memory_format=torch.channels_last).to(parts.device)
    strength = training.epsilon * min(1.0, step / max(1, 2 * training.warmup))
    delta = strength * (torch.rand(images.shape, generator=rng).to(parts.device) * 2 - 1)
    parts.model.train()
    for _ in range(training.replays):
        for group in parts.optimizer.param_groups:
            group["lr"] = cosine_rate(step, training)
        seen = (images + delta).requires_grad_(True)
        loss, losses = clip_loss(parts, seen, rows, truth, labels, training.head_weight)
        parts.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parts.model.parameters(), 1.0)
        parts.optimizer.step()
        delta = (delta + strength * seen.grad.sign()).clamp_(-strength, strength)
        update_average(parts.averaged, parts.model, training.average)
    return {name: float(value) for name, value in losses.items()}
