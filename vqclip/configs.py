"""Shapes of models, as plain data: what a model is, without its weights."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class VQGANConfig:
    """The shape of a taming-style VQGAN.

    attention_levels lists the levels (0 = full resolution) whose blocks are followed by attention; the taming files
    give picture resolutions instead, which the reader translates. quantizer "l2" takes the nearest row, "gumbel" the
    nearest row of a Gumbel-VQ's embedding (its codes of an encoded picture come from a projection), "unit" the nearest
    row after both sides are normalized to length one.
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
    quantizer: Literal["l2", "gumbel", "unit"] = "l2"
    in_channels: int = 3
    out_channels: int = 3

    @property
    def stride(self) -> int:
        """Pixels per latent cell, along one side."""
        return 2 ** (len(self.multipliers) - 1)


@dataclass(frozen=True)
class PriorConfig:
    """The shape of the text-conditional prior: a flow U-Net over the VQGAN's latent grid.

    latent_channels and grid (cells per side) are those of the latent it was trained on; text_channels the width of the
    text embedding; mean and std (per channel) bring latents to zero mean and unit variance.
    """

    latent_channels: int = 16
    grid: int = 16
    text_channels: int = 128
    channels: tuple[int, ...] = (96, 160, 224)
    blocks: int = 1
    attention_levels: tuple[int, ...] = (1, 2)
    heads: int = 4
