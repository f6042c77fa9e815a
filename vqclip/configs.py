"""Shapes of models, as plain data: what a model is, without its weights."""

from dataclasses import dataclass
from typing import Literal

CodebookKind = Literal["l2", "gumbel", "unit", "inner", "sign", "residual"]
PictureRange = Literal["signed", "unit"]


@dataclass(frozen=True)
class Stack:
    """One half of a VQGAN, level by level; level 0 is at full resolution."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    attention: tuple[int, ...]


@dataclass(frozen=True)
class VQGANConfig:
    """The shape of a VQGAN made of convolutions.

    attention_levels lists the levels (0 = full resolution) whose blocks are followed by attention; the taming files
    give picture resolutions instead, which the reader translates. The fields from `stem` on are for families that
    depart from taming's symmetry: left alone, the decoder has one block more on each level and mirrors the encoder.

    quantizer: "l2" takes the nearest row, "gumbel" the nearest row of a Gumbel-VQ's embedding (its codes of an encoded
    picture come from a projection), "unit" the nearest row after both sides are normalized to length one, "inner" the
    row of the largest inner product, "sign" each channel's sign (there is no table), "residual" a sum of rows found on
    grids of growing `scales` (cells along a side of the square latent it was trained on).
    variant: "movq" norms the decoder by the latent, cell by cell; "magvit" norms each of its levels by the latent's
    statistics, pads strided convolutions on all sides and upsamples by rearranging channels.
    quant_kernel is the side of the convolutions around the codebook, 0 for none. picture_range "signed" is [-1, 1].
    Source: taming-transformers' ddconfig (Esser et al., 2021).
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    attention_levels: tuple[int, ...] = (4,)
    middle_attention: bool = True
    latent_channels: int = 256
    embedding_channels: int = 256
    codes: int = 16384
    quantizer: CodebookKind = "l2"
    in_channels: int = 3
    out_channels: int = 3
    stem: int = 1
    encoder_multipliers: tuple[int, ...] | None = None
    encoder_blocks: tuple[int, ...] | None = None
    encoder_attention_levels: tuple[int, ...] | None = None
    decoder_blocks: tuple[int, ...] | None = None
    middle_blocks: int = 2
    norm_groups: int = 32
    quant_kernel: int = 1
    variant: Literal["plain", "movq", "magvit"] = "plain"
    picture_range: PictureRange = "signed"
    scales: tuple[int, ...] = ()

    @property
    def stride(self) -> int:
        """Pixels per latent cell, along one side."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def is_deep(self) -> bool:
        """Whether a decoder has so many levels that what is rounded before them shows in its gradients."""
        return len(self.multipliers) >= 5

    @property
    def encoder(self) -> Stack:
        """The encoder's levels."""
        multipliers = self.multipliers if self.encoder_multipliers is None else self.encoder_multipliers
        attention = self.attention_levels if self.encoder_attention_levels is None else self.encoder_attention_levels
        blocks = self.encoder_blocks or (self.blocks,) * len(multipliers)
        return Stack(tuple(self.channels * factor for factor in multipliers), blocks, attention)

    @property
    def decoder(self) -> Stack:
        """The decoder's levels."""
        widths = tuple(self.channels * factor for factor in self.multipliers)
        return Stack(widths, self.decoder_blocks or (self.blocks + 1,) * len(widths), self.attention_levels)

    @property
    def encoded_channels(self) -> int:
        """The channels that leave the encoder."""
        return self.latent_channels

    @property
    def decoded_channels(self) -> int:
        """The channels that enter the decoder."""
        return self.latent_channels


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a plain transformer: `width` numbers for each cell, `hidden` within its blocks."""

    width: int
    depth: int
    heads: int
    hidden: int


@dataclass(frozen=True)
class ViTVQGANConfig:
    """The shape of a VQGAN made of transformers: one token for each square of `patch` pixels.

    grid (rows, columns) is the latent it was trained on. Its codes are of length one, its pictures in [0, 1].
    Source: ViT-VQGAN (Yu et al., 2021).
    """

    encoder: TransformerConfig
    decoder: TransformerConfig
    patch: int = 8
    grid: tuple[int, int] = (32, 32)
    embedding_channels: int = 32
    codes: int = 8192
    quantizer: CodebookKind = "unit"
    quant_kernel: int = 1
    picture_range: PictureRange = "unit"
    scales: tuple[int, ...] = ()
    in_channels: int = 3
    out_channels: int = 3

    @property
    def stride(self) -> int:
        """Pixels per latent cell, along one side."""
        return self.patch

    @property
    def encoded_channels(self) -> int:
        """The channels that leave the encoder."""
        return self.encoder.width

    @property
    def decoded_channels(self) -> int:
        """The channels that enter the decoder."""
        return self.decoder.width


AnyVQGANConfig = VQGANConfig | ViTVQGANConfig


@dataclass(frozen=True)
class PriorConfig:
    """The shape of the text-conditional prior: a flow U-Net over the VQGAN's latent grid.

    latent_channels and grid (cells per side) are those of the latent it was trained on; fine_grid the cells per side of
    a finer one on which it has learnt to refine what is there (0 = none); text_channels the width of the text
    embedding; mean and std (per channel) bring latents to zero mean and unit variance.
    """

    latent_channels: int = 16
    grid: int = 16
    fine_grid: int = 0
    text_channels: int = 128
    channels: tuple[int, ...] = (96, 160, 224)
    blocks: int = 1
    attention_levels: tuple[int, ...] = (1, 2)
    heads: int = 4
