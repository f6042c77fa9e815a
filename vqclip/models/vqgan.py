"""The VQGAN: pictures into a grid of code vectors and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from vqclip.configs import AnyVQGANConfig, ViTVQGANConfig, VQGANConfig
from vqclip.errors import ModelError
from vqclip.models.blocks import Conv, Downsample, GroupNorm
from vqclip.models.coders import Decoder, Encoder
from vqclip.models.quantizer import codebook_of
from vqclip.models.vit import ViTDecoder, ViTEncoder
from vqclip.ops.pixels import from_signed, to_signed


class VQGAN(nn.Module):
    """A VQGAN of any family, under taming's weight names where it is made of convolutions.

    Its latents and pictures are float32, whatever it computes in. Without an encoder it decodes and quantizes, but
    cannot read pictures.
    Source: taming-transformers' VQModel and GumbelVQ (Esser et al., 2021).
    """

    def __init__(self, config: AnyVQGANConfig, *, encoder: bool = True) -> None:
        super().__init__()
        self.config = config
        made_of_tokens = isinstance(config, ViTVQGANConfig)
        if encoder:
            self.encoder = ViTEncoder(config) if made_of_tokens else Encoder(config)
            self.quant_conv = _around(config.encoded_channels, config.embedding_channels, config.quant_kernel)
        self.quantize = codebook_of(config)
        self.post_quant_conv = _around(config.embedding_channels, config.decoded_channels, config.quant_kernel)
        self.decoder = ViTDecoder(config) if made_of_tokens else Decoder(config)

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
        """The number format that pictures come out of the decoder in, and most of it computes in."""
        *_, last = self.decoder.parameters()
        return last.dtype

    @property
    def can_encode(self) -> bool:
        """Whether the encoder is there."""
        return hasattr(self, "encoder")

    def latent_range(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value that a latent's channels can sensibly have: ([C], [C])."""
        return self.quantize.reach()

    def encode(self, image: Tensor) -> Tensor:
        """Image [B, 3, H, W] in [0, 1], sides multiples of the stride -> latent [B, C, h, w] before quantizing.

        Raises: ModelError without an encoder; ValueError if a side is no multiple of the stride.
        """
        if not self.can_encode:
            raise ModelError("this VQGAN was loaded without its encoder, so it cannot read pictures")
        if image.shape[-2] % self.stride or image.shape[-1] % self.stride:
            raise ValueError(f"the sides of {tuple(image.shape)} are no multiples of the stride {self.stride}")
        ranged = to_signed(image) if self.config.picture_range == "signed" else image
        encoded = self.encoder(ranged.to(_first_dtype(self.encoder)))
        return self.quant_conv(encoded).float()

    def tokenize(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Image [B, 3, H, W] in [0, 1] -> (its code vectors [B, C, h, w], codes [B, h, w], or [B, L] of many scales).

        The right start for painting over a picture with any codebook: a Gumbel one chooses by its projection, whose
        space is not the codebook's. Raises: as `encode`.
        """
        return self.quantize.read(self.encode(image))

    def decode(self, quantized: Tensor, *, lean: bool = False) -> Tensor:
        """Quantized latent [B, C, h, w] -> image [B, 3, h*stride, w*stride], nominally in [0, 1], not clamped.

        lean trades time for memory where there will be a gradient: the same numbers, most maps worked out again.
        """
        latent = quantized.to(_first_dtype(self.decoder))
        image = self.decoder(self.post_quant_conv(latent), latent, lean=lean).float()
        return from_signed(image) if self.config.picture_range == "signed" else image

    def wrap_around(self, x: bool, y: bool) -> Self:
        """Lets pictures go on at their other end along an axis, so that copies side by side show no seam.

        Raises: ModelError if the model is made of tokens, which know their places.
        """
        if (x or y) and isinstance(self.config, ViTVQGANConfig):
            raise ModelError("this VQGAN cannot paint tiles: it is made of tokens that know their places")
        for layer in self.modules():
            if isinstance(layer, Conv | Downsample):
                layer.wrap = (x, y)
        return self

    def fuse(self, dtype: torch.dtype | None = None) -> Self:
        """Readies the model for painting: no weight learns, the upsampling is fused, the codebook's norms are stored.

        With a dtype the upsampling is cast to it at once; `cast` does the rest. Call again after changing weights.
        """
        self.requires_grad_(False)
        self.decoder.fuse(dtype)
        self.quantize.fuse()
        return self

    def cast(self, dtype: torch.dtype) -> Self:
        """Lets encoder and decoder compute in another number format, but for the little that gradients depend on.

        The codebook and the factors of group norms stay as they are, and so does what a deep decoder does before its
        levels: each of them magnifies what was rounded there.
        """
        kept: list[nn.Module] = [self.quantize]
        if isinstance(self.config, VQGANConfig) and self.config.is_deep:
            kept += [self.post_quant_conv, self.decoder.conv_in, self.decoder.mid]
        _cast(self, dtype, kept)
        return self


def _cast(part: nn.Module, dtype: torch.dtype, kept: Sequence[nn.Module]) -> None:
    """Casts the weights of a part and of all within it, but not those of group norms or of what is kept."""
    if isinstance(part, GroupNorm) or any(part is one for one in kept):
        return
    for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
        tensor.data = tensor.data.to(dtype)
    for child in part.children():
        _cast(child, dtype, kept)


def _first_dtype(part: nn.Module) -> torch.dtype:
    return next(part.parameters()).dtype


def _around(channels_in: int, channels_out: int, kernel: int) -> nn.Module:
    """The convolution before or after the codebook; a kernel of 0 means that there is none."""
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2) if kernel else nn.Identity()
