"""The two halves of a VQGAN made of convolutions, under taming's own weight names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from vqclip.configs import VQGANConfig
from vqclip.models.blocks import Attention, Conv, Downsample, ResidualBlock, ShuffleUpsample, Upsample, norm_then_conv
from vqclip.models.norms import AdaptiveNorm, NormMaker, SpatialNorm, group_norm
from vqclip.ops.recompute import Layer, recomputed, through


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
        for chain in self.chains():
            features = through(chain, features, style)
        resample = self.downsample or self.upsample
        return features if resample is None else resample(features)

    def chains(self) -> list[list[Layer]]:
        """The layers without the resampling: as one chain, or one a block where there is attention, which would cost
        much more to work out again than the maps cost that are kept, for its levels are small."""
        ahead = [] if self.adaptive is None else [self.adaptive]
        if self.attn:
            first, *others = zip(self.block, self.attn, strict=True)
            return [[*ahead, *first], *([*pair] for pair in others)]
        return [[*ahead, *self.block]]


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
        self.conv_in = Conv(config.in_channels, stem)
        self.down = nn.ModuleList()
        for number, (before, width) in enumerate(zip((stem, *stack.widths), stack.widths, strict=False)):
            level = _Level(before, width, stack.blocks[number], attention=number in stack.attention, norm=norm)
            if number < len(stack.widths) - 1:
                level.downsample = Downsample(width, all_around=config.variant == "magvit")
            self.down.append(level)
        self.mid = _Middle(stack.widths[-1], config, norm)
        self.norm_out = norm(stack.widths[-1])
        self.conv_out = Conv(stack.widths[-1], config.latent_channels)

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, 3, H, W] in the model's own range -> features [B, latent_channels, H/stride, W/stride]."""
        features = self.conv_in(image)
        for level in self.down:
            features = level(features)
        return norm_then_conv(self.mid(features), self.norm_out, self.conv_out)


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
        self.conv_in = Conv(config.latent_channels, stack.widths[-1])
        self.mid = _Middle(stack.widths[-1], config, norm)
        self.up = nn.ModuleList()
        for number, (before, width) in enumerate(zip((*stack.widths[1:], stack.widths[-1]), stack.widths, strict=True)):
            adaptive = AdaptiveNorm(before, style_channels) if config.variant == "magvit" else None
            attended = number in stack.attention
            level = _Level(before, width, stack.blocks[number], attention=attended, norm=norm, adaptive=adaptive)
            level.upsample = upsample(width) if number else None
            self.up.append(level)
        self.norm_out = norm(stack.widths[0])
        self.conv_out = Conv(stack.widths[0], config.out_channels)

    def forward(self, features: Tensor, style: Tensor | None = None, *, lean: bool = False) -> Tensor:
        """Features [B, latent_channels, h, w] and the latent [B, C, h, w] -> image [B, 3, h*stride, w*stride].

        The image is nominally in the model's own range. Only decoders whose norms look at the latent need it. A lean
        one keeps little but the smallest map of each level for its gradient and works out the others again: the same
        numbers. While its weights learn it is not lean.
        """
        if lean and self._follows_latent_alone(features):
            return recomputed([*self._chains()], features, style)
        for chain in self._chains():
            features = through(chain, features, style)
        return features

    def _follows_latent_alone(self, features: Tensor) -> bool:
        """Whether there will be a gradient, and none on the weights: these would get none from a lean decoder."""
        needed = torch.is_grad_enabled() and features.requires_grad
        return needed and not any(weight.requires_grad for weight in self.parameters())

    def _chains(self) -> Iterator[list[Layer]]:
        """All layers level by level: an upsampling goes with the level after it, because what it makes is four times
        what it is made from."""
        yield [self._entered]
        ahead: list[Layer] = []
        for level in reversed(self.up):
            first, *others = level.chains()
            yield [*ahead, *first]
            yield from others
            ahead = [] if level.upsample is None else [level.upsample]
        yield [self._left]

    def _entered(self, features: Tensor, style: Tensor | None) -> Tensor:
        """The layers at the lowest resolution; then the number format of the levels, where it is another."""
        made, wanted = self.mid(self.conv_in(features), style), self.conv_out.weight.dtype
        return made if self.conv_in.weight.dtype is wanted else made.to(wanted)

    def _left(self, features: Tensor, style: Tensor | None) -> Tensor:
        return norm_then_conv(features, self.norm_out, self.conv_out, style)

    def fuse(self, dtype: torch.dtype | None = None) -> Self:
        """Fuses every upsampling with its convolution; see `Upsample.fuse`.

        With a dtype each of them is cast to it before the next, for they are large.
        """
        for level in self.up:
            if level.upsample is not None:
                level.upsample.fuse(dtype)
                level.upsample.to(dtype or level.upsample.conv.weight.dtype)
        return self
