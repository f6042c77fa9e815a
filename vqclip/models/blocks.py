"""The layers a VQGAN's levels are made of, under taming's own weight names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.models.norms import GroupNorm, NormMaker, group_norm
from vqclip.ops.bands import (
    LARGE_BYTES,
    PLAIN,
    Kernel,
    Norm,
    Wrap,
    add_conv1x1_back,
    norm_swish_conv,
    norm_swish_conv_back,
    padded,
)
from vqclip.ops.recompute import Slopes, added, pull

__all__ = [
    "MOST_PLAIN_TOKENS",
    "Attention",
    "Conv",
    "Downsample",
    "GroupNorm",
    "ResidualBlock",
    "ShuffleUpsample",
    "Upsample",
    "attend",
    "group_norm",
]

MOST_PLAIN_TOKENS = 4096
_FUSED_AT_ONCE = 32


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Lets every cell look at every other: softmax(q k / sqrt(C)) v.

    Shapes: query, key, value [B, N, C] or [B, heads, N, C] -> the same.
    On a CPU the plain products beat the fused kernel, up to the size where their [N, N] table costs too much.
    """
    if query.device.type == "cpu" and query.shape[-2] <= MOST_PLAIN_TOKENS:
        return torch.softmax((query * query.shape[-1] ** -0.5) @ key.mT, dim=-1) @ value
    if query.ndim == 4:
        return F.scaled_dot_product_attention(query, key, value)
    return F.scaled_dot_product_attention(query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)).squeeze(1)


class Conv(nn.Conv2d):
    """A 3x3 convolution that keeps the size: zeros lie around the picture, or its other end where it wraps."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1)
        self.wrap: Wrap = PLAIN

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C_in, h, w] -> [B, C_out, h, w]."""
        if not any(self.wrap):
            return super().forward(features)
        return F.conv2d(padded(features, self.wrap), self.weight, self.bias)


def norm_then_conv(
    features: Tensor, norm: nn.Module, conv: Conv, style: Tensor | None = None, residual: Tensor | None = None
) -> Tensor:
    """Norm, swish and convolution, and the residual added: in bands where the weights are frozen and it pays.

    It pays on a CPU (less memory, and the bands stay in its cache), and on any device where maps are large.
    Shapes: features [B, C_in, h, w], residual like the result -> [B, C_out, h, w].
    """
    banded = _banded(features, norm, conv)
    if banded:
        return norm_swish_conv(features, *banded, residual=residual, wrap=conv.wrap)
    hidden = conv(F.silu(norm(features, style)))
    return hidden if residual is None else hidden + residual


def norm_then_conv_back(features: Tensor, norm: nn.Module, conv: Conv, style: Tensor | None, slope: Tensor) -> Slopes:
    """The gradients on features and style where that on the result of `norm_then_conv` is slope [B, C_out, h, w]."""
    banded = _banded(features, norm, conv)
    if banded:
        return norm_swish_conv_back(features, slope, *banded, wrap=conv.wrap), None
    return pull(lambda inner, look: norm_then_conv(inner, norm, conv, look), features, style, slope)


def _banded(features: Tensor, norm: nn.Module, conv: Conv) -> tuple[Norm, Kernel] | None:
    """What `norm_swish_conv` needs, where it may be used and pays."""
    large = features.is_cpu or features.numel() * features.element_size() > LARGE_BYTES
    if not large or type(norm) is not GroupNorm or norm.weight.requires_grad or conv.weight.requires_grad:
        return None
    return (norm.num_groups, norm.weight, norm.bias, norm.eps), (conv.weight, conv.bias)


class Attention(nn.Module):
    """Single-head self-attention over the cells of a feature map, added to its input."""

    def __init__(self, channels: int, norm: NormMaker = group_norm) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        """Features [B, C, h, w], and the style if the norms take one -> the same shape."""
        batch, channels, height, width = features.shape
        tokens = self.norm(features, style).permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        query, key, value = (F.linear(tokens, conv.weight.flatten(1), conv.bias) for conv in (self.q, self.k, self.v))
        mixed = attend(query, key, value).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        return features + self.proj_out(mixed)


class ResidualBlock(nn.Module):
    """Twice norm, swish and a 3x3 convolution, added to the input."""

    def __init__(self, channels_in: int, channels_out: int, norm: NormMaker = group_norm) -> None:
        super().__init__()
        self.norm1 = norm(channels_in)
        self.conv1 = Conv(channels_in, channels_out)
        self.norm2 = norm(channels_out)
        self.conv2 = Conv(channels_out, channels_out)
        self.nin_shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else None

    def forward(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        """Features [B, C_in, h, w], and the style if the norms take one -> [B, C_out, h, w]."""
        hidden = norm_then_conv(features, self.norm1, self.conv1, style)
        residual = features if self.nin_shortcut is None else self.nin_shortcut(features)
        return norm_then_conv(hidden, self.norm2, self.conv2, style, residual)

    def pulled(self, features: Tensor, style: Tensor | None, slope: Tensor) -> Slopes:
        """See `Pulled`: the second convolution is not worked out for it, and of the maps within only the one before it.

        Shapes: features [B, C_in, h, w], slope [B, C_out, h, w] -> [B, C_in, h, w], the style's.
        """
        hidden = norm_then_conv(features, self.norm1, self.conv1, style)
        inner, on_style = norm_then_conv_back(hidden, self.norm2, self.conv2, style, slope)
        del hidden
        back, more = norm_then_conv_back(features, self.norm1, self.conv1, style, inner)
        del inner
        if self.nin_shortcut is None:
            back += slope
        else:
            add_conv1x1_back(back, slope, self.nin_shortcut.weight)
        return back, added(on_style, more)


class Downsample(nn.Module):
    """Halves both sides by a strided convolution, padded right and below only, as taming's is, or all around."""

    def __init__(self, channels: int, *, all_around: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)
        self.padding = (1, 1) if all_around else (0, 1)
        self.wrap: Wrap = PLAIN

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, h, w] -> [B, C, h/2, w/2]."""
        for wraps, sides in zip(self.wrap, ((*self.padding, 0, 0), (0, 0, *self.padding)), strict=True):
            features = F.pad(features, sides, mode="circular" if wraps else "constant")
        return self.conv(features)


class Upsample(nn.Module):
    """Doubles both sides: every cell becomes 2x2 equal cells, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv(channels, channels)
        self.register_buffer("fused", None, persistent=False)

    def forward(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        """Features [B, C, h, w] -> [B, C, 2h, 2w]. A style changes nothing here."""
        if self.fused is not None and any(self.conv.wrap):
            around = padded(features, self.conv.wrap)
            return F.conv_transpose2d(around, self.fused, self.conv.bias, stride=2, padding=3)
        if self.fused is not None:
            return F.conv_transpose2d(features, self.fused, self.conv.bias, stride=2, padding=1)
        return self.conv(F.interpolate(features, scale_factor=2.0, mode="nearest"))

    @torch.no_grad()
    def fuse(self, dtype: torch.dtype | None = None) -> None:
        """Sums up the kernel so that one transposed 4x4 convolution of stride 2 does both steps, with 4/9 of the work.

        The same numbers up to rounding, in `dtype` or the weight's own; the convolution's own weight stays, but no
        longer acts.
        """
        weight = self.conv.weight
        taps = weight.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.float64)
        shape = (weight.shape[1], weight.shape[0], 4, 4)
        fused = torch.empty(shape, dtype=dtype or weight.dtype, device=weight.device, memory_format=torch.channels_last)
        for index, part in enumerate(weight.split(_FUSED_AT_ONCE)):  # sums in float64 need room: piece by piece
            summed = torch.einsum("ya,xb,oiab->ioyx", taps, taps, part.double())
            fused[:, index * _FUSED_AT_ONCE :][:, : len(part)] = summed
        self.fused = fused


class ShuffleUpsample(nn.Module):
    """Doubles both sides: a 3x3 convolution makes the four cells of each cell, which are then laid out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv(channels, 4 * channels)

    def forward(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        """Features [B, C, h, w] -> [B, C, 2h, 2w]. A style changes nothing here."""
        return F.pixel_shuffle(self.conv(features), 2)

    def fuse(self, dtype: torch.dtype | None = None) -> None:
        """Nothing is left to fuse here."""
