"""Group norm for pictures whose channels lie innermost in memory, with a backward of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def group_norm_inner(cells: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Normalizes groups of channels: the same numbers as torch's group norm, for another layout.

    On a CPU torch's own backward for this layout costs more than all convolutions of a small decoder together. Here
    forward and backward are one multiply and add for each channel, with moments taken in float32.
    Shapes: cells [B, N, C] (N cells, channels innermost); weight, bias [C] -> [B, N, C].
    Source: group norm (Wu and He, 2018).
    """
    return _GroupNorm.apply(cells, groups, weight, bias, eps)


@dataclass(frozen=True)
class Moments:
    """A map's mean and one over its spread, for each picture and group: both [B, G, 1], float32."""

    mean: Tensor
    rate: Tensor

    def affine(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The norm as one multiply and add: weight, bias [C] -> scale, shift [B, 1, C], float32."""
        batch, groups, _ = self.mean.shape
        scale = (self.rate * weight.float().view(groups, -1)).view(batch, 1, -1)
        shift = bias.float() - self.mean.expand(-1, -1, len(weight) // groups).reshape(batch, 1, -1) * scale
        return scale, shift


def moments_of(parts: Sequence[Tensor], groups: int, eps: float) -> Moments:
    """The moments of a map that comes in parts [B, n, C], channels innermost."""
    batch, count = len(parts[0]), sum(part.shape[1] for part in parts)
    total = sum(part.sum(1, dtype=torch.float32) for part in parts)
    power = sum(_dot(part, part) for part in parts)
    mean, square = ((one / count).view(batch, groups, -1).mean(2, keepdim=True) for one in (total, power))
    return Moments(mean, torch.rsqrt((square - mean.square()).clamp_min(0) + eps))


def slopes_of(moments: Moments, total: Tensor, dots: Tensor, weight: Tensor, count: int) -> tuple[Tensor, ...]:
    """What a norm makes of the gradient that comes to it: direct * slope + bent * cells + flat.

    Shapes: total [B, C] the slopes' sums over the count cells, dots [B, C] those of slope * cell -> direct, bent, flat
    [B, 1, C], float32.
    """
    mean, rate = moments.mean, moments.rate
    batch, groups, _ = mean.shape
    total = total.view(batch, groups, -1)
    along, gain = rate * (dots.view_as(total) - mean * total), weight.float().view(groups, -1)
    size = count * total.shape[2]
    level, tilt = (total * gain).sum(2, keepdim=True) / size, (along * gain).sum(2, keepdim=True) / size
    slopes = rate * gain, -rate.square() * tilt, rate.square() * tilt * mean - rate * level
    return tuple(slope.expand_as(total).reshape(batch, 1, -1) for slope in slopes)


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cells: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        moments = moments_of([cells], groups, eps)
        scale, shift = moments.affine(weight, bias)
        ctx.save_for_backward(cells, moments.mean, moments.rate, weight)
        return torch.addcmul(shift.to(cells.dtype), cells, scale.to(cells.dtype))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        cells, mean, rate, weight = ctx.saved_tensors
        total, dots = slope.sum(1, dtype=torch.float32), _dot(slope, cells)
        slopes = slopes_of(Moments(mean, rate), total, dots, weight, cells.shape[1])
        direct, bent, flat = (one.to(cells.dtype) for one in slopes)
        back = torch.addcmul(torch.addcmul(flat, cells, bent), slope, direct)
        if not ctx.needs_input_grad[2]:
            return back, None, None, None, None
        total = total.view(len(cells), mean.shape[1], -1)
        along = rate * (dots.view_as(total) - mean * total)
        return back, None, along.sum(0).flatten().to(weight.dtype), total.sum(0).flatten().to(weight.dtype), None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The sums over cells of a * b for each channel, in float32: [B, N, C] twice -> [B, C]."""
    return (a * b).sum(1, dtype=torch.float32)
