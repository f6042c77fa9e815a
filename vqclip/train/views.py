"""The views a CLIP is trained on: the same kind of cuts, blurs and noise that it will see while it guides."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def random_views(
    images: Tensor, size: int, *, rng: torch.Generator, smallest: float = 0.4, whole: float = 0.4, noise: float = 0.1
) -> Tensor:
    """One random view of each picture: whole or a crop, a little turned and tilted, tinted, blurred and noisy.

    Shapes: images [B, 3, H, W] in [0, 1] -> [B, 3, size, size], about [0, 1].
    """
    count = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=rng) * (high - low) + low

    side = torch.where(uniform(0, 1) < whole, uniform(0.94, 1.04), uniform(smallest, 1.0))
    angle = uniform(-1, 1) * math.radians(8)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    room = (1 - side).clamp_min(0.04)
    offset = uniform(-1, 1, 2) * room[:, None]
    cos, sin = torch.cos(angle) * side, torch.sin(angle) * side
    theta = torch.stack(
        [torch.stack([cos * mirror, -sin, offset[:, 0]], 1), torch.stack([sin * mirror, cos, offset[:, 1]], 1)], 1
    )
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    tilt = 1 + (grid * uniform(-0.12, 0.12, 1, 1, 2)).sum(-1, keepdim=True)
    cuts = F.grid_sample(images, grid / tilt, padding_mode="reflection", align_corners=False)
    return tint(blur_some(cuts, rng), rng) + uniform(0, noise, 1, 1, 1) * torch.randn(cuts.shape, generator=rng)


def tint(images: Tensor, rng: torch.Generator) -> Tensor:
    """Slightly other brightness, contrast and channel gains for each picture [B, 3, H, W]."""
    count = len(images)
    gain = 1 + 0.12 * (torch.rand(count, 1, 1, 1, generator=rng) * 2 - 1)
    gain = gain * (1 + 0.05 * (torch.rand(count, 3, 1, 1, generator=rng) * 2 - 1))
    return (images - 0.5) * gain + 0.5 + 0.06 * (torch.rand(count, 1, 1, 1, generator=rng) * 2 - 1)


def blur_some(images: Tensor, rng: torch.Generator, share: float = 0.25) -> Tensor:
    """Blurs a share of the pictures [B, 3, H, W] by a 3x3 or 5x5 box: soft pictures are still what they show."""
    draw = torch.rand(len(images), 1, 1, 1, generator=rng)
    small = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    large = F.avg_pool2d(F.pad(small, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return torch.where(draw < share / 2, small, torch.where(draw < share, large, images))
