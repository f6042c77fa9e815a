"""The VQGAN: pictures into a grid of code vectors and back."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from vqclip.configs import VQGANConfig
from vqclip.errors import ModelError
from vqclip.models.blocks import Decoder, Encoder
from vqclip.models.quantizer import Quantizer


class VQGAN(nn.Module):
    """A taming-style VQGAN with taming's weight names. Its latents and pictures are float32, whatever it computes in.

    Without an encoder it decodes and quantizes, but cannot read pictures.
    Source: taming-transformers' VQModel and GumbelVQ (Esser et al., 2021).
    """

    def __init__(self, config: VQGANConfig, *, encoder: bool = True) -> None:
        super().__init__()
        self.config = config
        if encoder:
            self.encoder = Encoder(config)
            self.quant_conv = nn.Conv2d(config.latent_channels, config.embedding_channels, 1)
        self.quantize = Quantizer(config.quantizer, config.codes, config.embedding_channels, config.latent_channels)
        self.post_quant_conv = nn.Conv2d(config.embedding_channels, config.latent_channels, 1)
        self.decoder = Decoder(config)

    @property
    def stride(self) -> int:
        """Pixels per latent cell."""
        return self.config.stride

    @property
    def codebook(self) -> Tensor:
        """All code vectors [N, C], float32, in the space that `quantize` answers in."""
        return self.quantize.rows

    @property
    def dtype(self) -> torch.dtype:
        """The number format the decoder computes in."""
        return self.decoder.conv_in.weight.dtype

    @property
    def can_encode(self) -> bool:
        """Whether the encoder is there."""
        return hasattr(self, "encoder")

    def latent_range(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value of each channel in the codebook: ([C], [C])."""
        rows = self.codebook
        return rows.amin(0), rows.amax(0)

    def encode(self, image: Tensor) -> Tensor:
        """Image [B, 3, H, W] in [0, 1], sides multiples of the stride -> latent [B, C, h, w] before quantizing.

        Raises: ModelError without an encoder; ValueError if a side is no multiple of the stride.
        """
        if not self.can_encode:
            raise ModelError("this VQGAN was loaded without its encoder, so it cannot read pictures")
        if image.shape[-2] % self.stride or image.shape[-1] % self.stride:
            raise ValueError(f"the sides of {tuple(image.shape)} are no multiples of the stride {self.stride}")
        encoded = self.encoder((image * 2 - 1).to(self.quant_conv.weight.dtype))
        return self.quant_conv(encoded).float()

    def tokenize(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Image [B, 3, H, W] in [0, 1] -> (its code vectors [B, C, h, w], codes [B, h, w]).

        The right start for painting over a picture with any codebook: a Gumbel one chooses by its projection, whose
        space is not the codebook's. Raises: as `encode`.
        """
        codes = self.quantize.chosen(self.encode(image))
        return self.quantize.lookup(codes), codes

    def decode(self, quantized: Tensor) -> Tensor:
        """Quantized latent [B, C, h, w] -> image [B, 3, h*stride, w*stride], nominally in [0, 1], not clamped."""
        image = self.decoder(self.post_quant_conv(quantized.to(self.dtype)))
        return (image.float() + 1) / 2

    def fuse(self) -> Self:
        """Readies the model for painting: no weight learns, the upsampling is fused, the codebook's norms are stored.

        Call again after changing weights.
        """
        self.requires_grad_(False)
        self.decoder.fuse()
        self.quantize.fuse()
        return self

    def cast(self, dtype: torch.dtype) -> Self:
        """Lets encoder and decoder compute in another number format; the codebook stays float32."""
        for name, part in self.named_children():
            if name != "quantize":
                part.to(dtype)
        return self
