"""The norms of a VQGAN's features: by themselves, by the latent cell by cell, or by the latent's statistics."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.ops.norms import group_norm_inner

NormMaker = Callable[[int], nn.Module]


class GroupNorm(nn.GroupNorm):
    """A group norm that stays fast on a CPU where the channels lie innermost; see `group_norm_inner`."""

    def forward(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        """Features [B, C, h, w] -> the same shape. A style changes nothing here."""
        if features.device.type != "cpu" or not features.is_contiguous(memory_format=torch.channels_last):
            return super().forward(features.to(self.weight.dtype)).to(features.dtype)
        batch, channels, height, width = features.shape
        cells = features.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        normed = group_norm_inner(cells, self.num_groups, self.weight, self.bias, self.eps)
        return normed.view(batch, height, width, channels).permute(0, 3, 1, 2)


def group_norm(channels: int, groups: int = 32) -> GroupNorm:
    """A group norm of 32 groups, or of the largest number below that divides both them and the channels."""
    return GroupNorm(math.gcd(groups, channels), channels, eps=1e-6)


class SpatialNorm(nn.Module):
    """A group norm whose scale and shift come from the latent, cell by cell.

    Source: MoVQ (Zheng et al., 2022). Differs: scale and shift are made at the latent's size and enlarged after, which
    is the same for 1x1 convolutions and much cheaper.
    """

    def __init__(self, channels: int, style_channels: int) -> None:
        super().__init__()
        self.norm_layer = group_norm(channels)
        self.conv_y = nn.Conv2d(style_channels, channels, 1)
        self.conv_b = nn.Conv2d(style_channels, channels, 1)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """Features [B, C, H, W] and style [B, S, h, w], H a multiple of h -> [B, C, H, W]."""
        size, style = features.shape[2:], style.to(self.conv_y.weight.dtype)
        scale, shift = (F.interpolate(conv(style), size=size, mode="nearest") for conv in (self.conv_y, self.conv_b))
        return self.norm_layer(features) * scale + shift


class AdaptiveNorm(nn.Module):
    """A group norm whose scale and shift come from the spread and the mean of the latent's channels.

    Source: the decoder of MAGVIT-v2 (Yu et al., 2023), as Open-MAGVIT2 has it.
    """

    def __init__(self, channels: int, style_channels: int) -> None:
        super().__init__()
        self.gamma = nn.Linear(style_channels, channels)
        self.beta = nn.Linear(style_channels, channels)
        self.groups, self.eps = math.gcd(32, channels), 1e-6

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        """Features [B, C, H, W] and style [B, S, h, w] of two cells or more -> [B, C, H, W]."""
        cells = style.to(self.gamma.weight.dtype).flatten(2)
        spread = (cells.var(dim=-1) + self.eps).sqrt()
        scale, shift = (side[:, :, None, None] for side in (self.gamma(spread), self.beta(cells.mean(dim=-1))))
        return F.group_norm(features, self.groups, eps=self.eps) * scale + shift
