"""The guided gradient: which way a latent should move, so that its picture looks more like the prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vqclip.ops.gradients import clamp_with_gradient
from vqclip.ops.losses import prompt_loss

Quantize = Callable[[Tensor], tuple[Tensor, Tensor]]
Decode = Callable[[Tensor], Tensor]
Objective = Callable[[Tensor, Tensor], Tensor]
Extras = Sequence[tuple[str, float, Objective]]


@dataclass(frozen=True)
class Targets:
    """What the pictures should look like to one perceptor.

    embeddings [B or 1, P, D] of length one (one row for all pictures, or each picture its own); weights [P];
    stops [P] (the distance below which a prompt stops pulling; -inf = never).
    """

    embeddings: Tensor
    weights: Tensor
    stops: Tensor


@dataclass(frozen=True)
class View:
    """One way of looking: cut the pictures into pieces, embed the pieces, compare them with the targets.

    cut: image [B, 3, H, W] -> pieces [n * B, 3, S, S], cut-major (index = cut * B + picture).
    embed: pieces -> embeddings [n * B, D] of length one.
    """

    name: str
    cut: Callable[[Tensor], Tensor]
    embed: Callable[[Tensor], Tensor]
    targets: Targets
    weight: float = 1.0


@dataclass(frozen=True)
class Seen:
    """A latent's picture and what was thought of it, all detached.

    image [B, 3, H, W] in [0, 1]; each [B] the pictures' own losses; loss 0-d their sum; losses the same sum by name.
    """

    image: Tensor
    each: Tensor
    losses: dict[str, Tensor]

    @property
    def loss(self) -> Tensor:
        """The sum of the pictures' losses, 0-d."""
        return self.each.sum()


@dataclass(frozen=True)
class Guided(Seen):
    """A picture, what was thought of it, and the gradient of that, like the latent."""

    gradient: Tensor


def guide(
    latent: Tensor,
    *,
    quantize: Quantize,
    decode: Decode,
    views: Sequence[View],
    extras: Extras = (),
    micro_batch: int | None = None,
) -> Guided:
    """Decodes a latent, looks at the picture, and says which way down the loss is.

    The loss of a batch is the sum over its pictures, so that each gets the gradient it would get alone. micro_batch is
    the number of pieces the perceptor sees at once: memory for time, the same gradient. Either way the perceptor's
    graph is gone before the decoder's backward begins.
    Shapes: latent [B, C, h, w]; quantize(latent) -> (straight-through [B, C, h, w], codes); decode -> image
    [B, 3, H, W], not clamped; extras (name, weight, objective), each objective giving [B] or the 0-d sum over pictures.
    """
    with torch.enable_grad():
        latent = latent.detach().requires_grad_()
        image = clamp_with_gradient(decode(quantize(latent)[0]).float())
        pull = _Pull(image.detach().requires_grad_(), latent)
        for view in views:
            pull.by_view(view, micro_batch)
        for name, weight, objective in extras:
            pull.by_objective(name, weight, objective)
        (gradient,) = torch.autograd.grad(image, latent, pull.on_image)
    return Guided(pull.image.detach(), pull.each, pull.losses, gradient + pull.on_latent)


def look(
    latent: Tensor,
    *,
    quantize: Quantize,
    decode: Decode,
    views: Sequence[View],
    extras: Extras = (),
    micro_batch: int | None = None,
) -> Seen:
    """As `guide`, without the gradient and its cost."""
    with torch.no_grad():
        image = decode(quantize(latent)[0]).float().clamp(0, 1)
        pull = _Pull(image, latent)
        for view in views:
            pull.by_view(view, micro_batch)
        for name, weight, objective in extras:
            pull.by_objective(name, weight, objective)
    return Seen(image, pull.each, pull.losses)


class _Pull:
    """Sums up what the views and objectives say of one batch, and their gradients where gradients are on."""

    def __init__(self, image: Tensor, latent: Tensor) -> None:
        self.image, self.latent = image, latent
        self.on_image, self.on_latent = torch.zeros_like(image), torch.zeros_like(latent)
        self.each = image.new_zeros(len(image))
        self.losses: dict[str, Tensor] = {}

    def by_view(self, view: View, micro_batch: int | None) -> None:
        pieces = view.cut(self.image)
        owners = torch.arange(len(pieces), device=pieces.device) % len(self.image)
        size = micro_batch or len(pieces)
        parts = zip(pieces.detach().split(size), owners.split(size), strict=True)
        share = view.weight * len(self.image) / len(pieces)
        losses, slopes = zip(*(_judge(view, part, owner, share) for part, owner in parts), strict=True)
        if torch.is_grad_enabled():
            self.on_image += torch.autograd.grad(pieces, self.image, torch.cat(slopes))[0]
        self._add(view.name, torch.cat(losses).view(-1, len(self.image)).sum(dim=0))

    def by_objective(self, name: str, weight: float, objective: Objective) -> None:
        loss = objective(self.image, self.latent) * weight
        if torch.is_grad_enabled():
            on_image, on_latent = torch.autograd.grad(loss.sum(), (self.image, self.latent), materialize_grads=True)
            self.on_image, self.on_latent = self.on_image + on_image, self.on_latent + on_latent
        loss = loss.detach()
        self._add(name, loss if loss.ndim else loss.expand(len(self.image)) / len(self.image))

    def _add(self, name: str, each: Tensor) -> None:
        self.each = self.each + each
        self.losses[name] = self.losses[name] + each.sum() if name in self.losses else each.sum()


def _judge(view: View, pieces: Tensor, owners: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """The losses of some pieces [R], and their gradient [R, 3, S, S] where gradients are on (else the losses again)."""
    pieces.requires_grad_(torch.is_grad_enabled())
    embeddings = view.targets.embeddings
    embeddings = embeddings if len(embeddings) == 1 else embeddings[owners]
    losses = prompt_loss(view.embed(pieces), embeddings, view.targets.weights, view.targets.stops) * share
    slope = torch.autograd.grad(losses.sum(), pieces)[0] if pieces.requires_grad else losses
    return losses.detach(), slope
