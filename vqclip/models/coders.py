"""The two halves of a VQGAN made of convolutions, under taming's own weight names."""

from __future__ import annotations

from functools import partial
from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.configs import VQGANConfig
from vqclip.models.blocks import Attention, Downsample, ResidualBlock, ShuffleUpsample, Upsample
from vqclip.models.norms import AdaptiveNorm, NormMaker, SpatialNorm, group_norm


class _Level(nn.Module):
    """The blocks of one resolution, each followed by attention where the config says so, then a resampling."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        blocks: int,
        *,
        attention: bool,
        norm: NormMaker,
        adaptive: nn.Module | None = None,
    ) -> None:
        super().__init__()
        widths = [channels_in] + [channels_out] * (blocks - 1)
        self.adaptive = adaptive
        self.block = nn.ModuleList(ResidualBlock(width, channels_out, norm) for width in widths)
        self.attn = nn.ModuleList(Attention(channels_out, norm) for _ in range(blocks if attention else 0))
        self.downsample: nn.Module | None = None
        self.upsample: nn.Module | None = None

    def forward(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        """Features [B, C_in, h, w] -> [B, C_out, h, w], or of half or twice the sides where the level resamples."""
        if self.adaptive is not None:
            features = self.adaptive(features, style)
        for index, block in enumerate(self.block):
            features = block(features, style)
            if self.attn:
                features = self.attn[index](features, style)
        resample = self.downsample or self.upsample
        return features if resample is None else resample(features)


class _Middle(nn.Module):
    """The blocks at the lowest resolution, the first of them followed by attention where the config says so."""

    def __init__(self, channels: int, config: VQGANConfig, norm: NormMaker) -> None:
        super().__init__()
        for number in range(1, config.middle_blocks + 1):
            self.add_module(f"block_{number}", ResidualBlock(channels, channels, norm))
            if number == 1 and config.middle_attention:
                self.attn_1 = Attention(channels, norm)

    def forward(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        for layer in self.children():
            features = layer(features, style)
        return features


class Encoder(nn.Module):
    """From a picture to features of the latent's size.

    Source: taming-transformers' Encoder (Esser et al., 2021); without dropout and timestep embedding.
    """

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        stack, stem = config.encoder, config.channels * config.stem
        norm = partial(group_norm, groups=config.norm_groups)
        self.conv_in = nn.Conv2d(config.in_channels, stem, 3, padding=1)
        self.down = nn.ModuleList()
        for number, (before, width) in enumerate(zip((stem, *stack.widths), stack.widths, strict=False)):
            level = _Level(before, width, stack.blocks[number], attention=number in stack.attention, norm=norm)
            if number < len(stack.widths) - 1:
                level.downsample = Downsample(width, all_around=config.variant == "magvit")
            self.down.append(level)
        self.mid = _Middle(stack.widths[-1], config, norm)
        self.norm_out = norm(stack.widths[-1])
        self.conv_out = nn.Conv2d(stack.widths[-1], config.latent_channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, 3, H, W] in the model's own range -> features [B, latent_channels, H/stride, W/stride]."""
        features = self.conv_in(image)
        for level in self.down:
            features = level(features)
        return self.conv_out(F.silu(self.norm_out(self.mid(features))))


class Decoder(nn.Module):
    """From features of the latent's size to a picture.

    Source: taming-transformers' Decoder (Esser et al., 2021); without dropout and timestep embedding. Two kinds of
    norms look at the latent too: MoVQ's and MAGVIT-v2's.
    """

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        stack, style_channels = config.decoder, config.embedding_channels
        norm: NormMaker = partial(group_norm, groups=config.norm_groups)
        if config.variant == "movq":
            norm = partial(SpatialNorm, style_channels=style_channels)
        upsample = ShuffleUpsample if config.variant == "magvit" else Upsample
        self.conv_in = nn.Conv2d(config.latent_channels, stack.widths[-1], 3, padding=1)
        self.mid = _Middle(stack.widths[-1], config, norm)
        self.up = nn.ModuleList()
        for number, (before, width) in enumerate(zip((*stack.widths[1:], stack.widths[-1]), stack.widths, strict=True)):
            adaptive = AdaptiveNorm(before, style_channels) if config.variant == "magvit" else None
            attended = number in stack.attention
            level = _Level(before, width, stack.blocks[number], attention=attended, norm=norm, adaptive=adaptive)
            level.upsample = upsample(width) if number else None
            self.up.append(level)
        self.norm_out = norm(stack.widths[0])
        self.conv_out = nn.Conv2d(stack.widths[0], config.out_channels, 3, padding=1)

    def forward(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        """Features [B, latent_channels, h, w] and the latent [B, C, h, w] -> image [B, 3, h*stride, w*stride].

        The image is nominally in the model's own range. Only decoders whose norms look at the latent need it.
        """
        features = self.mid(self.conv_in(features), style)
        for level in reversed(self.up):
            features = level(features, style)
        return self.conv_out(F.silu(self.norm_out(features, style)))

    def fuse(self) -> Self:
        """Fuses every upsampling with its convolution; see `Upsample.fuse`."""
        for level in self.up:
            if level.upsample is not None:
                level.upsample.fuse()
        return self
