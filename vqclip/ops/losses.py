"""What pulls at a picture: the distance to the prompts, and the objectives beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.ops.bands import PLAIN, Wrap
from vqclip.ops.gradients import spherical_distance


def prompt_loss(embeddings: Tensor, targets: Tensor, weights: Tensor, stops: Tensor) -> Tensor:
    """How far each view is from what the prompts ask for.

    A prompt of negative weight pushes away. Where sign(weight) * distance is below the prompt's stop, the value stays
    but nothing pulls any more.
    Shapes: embeddings [R, D] and targets [R or 1, P, D] of length one; weights, stops [P] (stop -inf = none) -> [R].
    Source: `Prompt` in the VQGAN+CLIP notebook (Crowson, 2021).
    """
    distance = spherical_distance(embeddings.float()[:, None], targets) * weights.sign()
    held = torch.where(distance < stops, distance.detach(), distance)
    return (held * weights.abs()).sum(dim=1)


def total_variation(image: Tensor, wrap: Wrap = PLAIN) -> Tensor:
    """How rough a picture is: the mean squared step between neighboring pixels, across plus down.

    Along an axis that wraps (x, y) the two ends are neighbors too.
    Shapes: image [B, 3, H, W] in [0, 1] -> [B].
    """
    across, down = (
        image.diff(dim=dim, append=image.narrow(dim, 0, 1) if wraps else None)
        for dim, wraps in zip((3, 2), wrap, strict=True)
    )
    return _mean(across.square()) + _mean(down.square())


def latent_distance(latent: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of two latents, for each picture.

    Shapes: latent [B, C, h, w], target [B or 1, C, h', w'] (resized to the latent's grid if it has another) -> [B].
    """
    if target.shape[2:] != latent.shape[2:]:
        target = F.interpolate(target, latent.shape[2:], mode="bilinear", antialias=True)
    return _mean((latent - target).square())


@dataclass(frozen=True)
class TotalVariation:
    """The objective of a smooth picture; wrap says along which axis (x, y) its ends meet."""

    wrap: Wrap = PLAIN

    def __call__(self, image: Tensor, latent: Tensor) -> Tensor:
        """Image [B, 3, H, W], latent (unused) -> each picture's roughness [B]."""
        return total_variation(image, self.wrap)


@dataclass(frozen=True)
class LatentAnchor:
    """The objective of staying near a latent, usually the one the painting began with. target [B or 1, C, h, w]."""

    target: Tensor

    def __call__(self, image: Tensor, latent: Tensor) -> Tensor:
        """Image (unused), latent [B, C, h, w] -> each picture's distance from the target [B]."""
        return latent_distance(latent, self.target)


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).sum(dim=1) / max(x[0].numel(), 1)
