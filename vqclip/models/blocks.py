"""The layers a taming-style VQGAN is made of, under taming's own weight names."""

from __future__ import annotations

import math
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.configs import VQGANConfig
from vqclip.ops.norms import group_norm_inner

MOST_PLAIN_TOKENS = 4096


class GroupNorm(nn.GroupNorm):
    """A group norm that stays fast on a CPU where the channels lie innermost; see `group_norm_inner`."""

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, h, w] -> the same shape."""
        if features.device.type != "cpu" or not features.is_contiguous(memory_format=torch.channels_last):
            return super().forward(features)
        batch, channels, height, width = features.shape
        cells = features.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        normed = group_norm_inner(cells, self.num_groups, self.weight, self.bias, self.eps)
        return normed.view(batch, height, width, channels).permute(0, 3, 1, 2)


def group_norm(channels: int) -> GroupNorm:
    """A group norm of 32 groups, or of the largest power of two below that divides the channels."""
    return GroupNorm(math.gcd(32, channels), channels, eps=1e-6)


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


class Attention(nn.Module):
    """Single-head self-attention over the cells of a feature map, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, h, w] -> the same shape."""
        batch, channels, height, width = features.shape
        tokens = self.norm(features).permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        query, key, value = (F.linear(tokens, conv.weight.flatten(1), conv.bias) for conv in (self.q, self.k, self.v))
        mixed = attend(query, key, value).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        return features + self.proj_out(mixed)


class ResidualBlock(nn.Module):
    """Twice norm, swish and a 3x3 convolution, added to the input."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = group_norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = group_norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else None

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C_in, h, w] -> [B, C_out, h, w]."""
        hidden = self.conv1(F.silu(self.norm1(features)))
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        return hidden + (features if self.nin_shortcut is None else self.nin_shortcut(features))


class Downsample(nn.Module):
    """Halves both sides by a strided convolution that is padded on the right and bottom only, as taming's is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, h, w] -> [B, C, h/2, w/2]."""
        return self.conv(F.pad(features, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles both sides: every cell becomes 2x2 equal cells, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.register_buffer("fused", None, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, h, w] -> [B, C, 2h, 2w]."""
        if self.fused is not None:
            return F.conv_transpose2d(features, self.fused, self.conv.bias, stride=2, padding=1)
        return self.conv(F.interpolate(features, scale_factor=2.0, mode="nearest"))

    @torch.no_grad()
    def fuse(self) -> None:
        """Sums up the kernel so that one transposed 4x4 convolution of stride 2 does both steps, with 4/9 of the work.

        The same numbers up to rounding; the convolution's own weight stays, but no longer acts.
        """
        weight = self.conv.weight.double()
        taps = weight.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
        summed = torch.einsum("ya,xb,oiab->ioyx", taps, taps, weight)
        self.fused = summed.to(self.conv.weight.dtype).contiguous(memory_format=torch.channels_last)


class _Level(nn.Module):
    """The blocks of one resolution, each followed by attention where the config says so."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int, attention: bool) -> None:
        super().__init__()
        widths = [channels_in] + [channels_out] * (blocks - 1)
        self.block = nn.ModuleList(ResidualBlock(width, channels_out) for width in widths)
        self.attn = nn.ModuleList(Attention(channels_out) for _ in range(blocks if attention else 0))

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C_in, h, w] -> [B, C_out, h, w], or resampled where a subclass adds that."""
        for index, block in enumerate(self.block):
            features = block(features)
            if self.attn:
                features = self.attn[index](features)
        return features


class _DownLevel(_Level):
    def __init__(self, channels_in: int, channels_out: int, blocks: int, attention: bool, last: bool) -> None:
        super().__init__(channels_in, channels_out, blocks, attention)
        self.downsample = None if last else Downsample(channels_out)

    def forward(self, features: Tensor) -> Tensor:
        features = super().forward(features)
        return features if self.downsample is None else self.downsample(features)


class _UpLevel(_Level):
    def __init__(self, channels_in: int, channels_out: int, blocks: int, attention: bool, last: bool) -> None:
        super().__init__(channels_in, channels_out, blocks, attention)
        self.upsample = None if last else Upsample(channels_out)

    def forward(self, features: Tensor) -> Tensor:
        features = super().forward(features)
        return features if self.upsample is None else self.upsample(features)


class _Middle(nn.Module):
    def __init__(self, channels: int, attention: bool) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels)
        self.attn_1 = Attention(channels) if attention else None
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        features = self.block_1(features)
        return self.block_2(features if self.attn_1 is None else self.attn_1(features))


class Encoder(nn.Module):
    """From a picture to features of the latent's size.

    Source: taming-transformers' Encoder (Esser et al., 2021); without dropout and timestep embedding.
    """

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        widths = [config.channels * factor for factor in config.multipliers]
        self.conv_in = nn.Conv2d(config.in_channels, config.channels, 3, padding=1)
        self.down = nn.ModuleList(
            _DownLevel(before, width, config.blocks, level in config.attention_levels, level == len(widths) - 1)
            for level, (before, width) in enumerate(zip([config.channels, *widths], widths, strict=False))
        )
        self.mid = _Middle(widths[-1], config.middle_attention)
        self.norm_out = group_norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.latent_channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, 3, H, W] in [-1, 1] -> features [B, latent_channels, H/stride, W/stride]."""
        features = self.conv_in(image)
        for level in self.down:
            features = level(features)
        return self.conv_out(F.silu(self.norm_out(self.mid(features))))


class Decoder(nn.Module):
    """From features of the latent's size to a picture.

    Source: taming-transformers' Decoder (Esser et al., 2021); without dropout and timestep embedding.
    """

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        widths = [config.channels * factor for factor in config.multipliers]
        self.conv_in = nn.Conv2d(config.latent_channels, widths[-1], 3, padding=1)
        self.mid = _Middle(widths[-1], config.middle_attention)
        self.up = nn.ModuleList(
            _UpLevel(before, width, config.blocks + 1, level in config.attention_levels, level == 0)
            for level, (before, width) in enumerate(zip([*widths[1:], widths[-1]], widths, strict=True))
        )
        self.norm_out = group_norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, latent_channels, h, w] -> image [B, 3, h*stride, w*stride], nominally in [-1, 1]."""
        features = self.mid(self.conv_in(features))
        for level in reversed(self.up):
            features = level(features)
        return self.conv_out(F.silu(self.norm_out(features)))

    def fuse(self) -> Self:
        """Fuses every upsampling with its convolution; see `Upsample.fuse`."""
        for level in self.up:
            if level.upsample is not None:
                level.upsample.fuse()
        return self
