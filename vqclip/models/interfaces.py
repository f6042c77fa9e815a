"""The contracts between the loops and the models: what a part must offer to be painted with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class ImageDecoder(Protocol):
    """A VQGAN as the painting loop sees it."""

    @property
    def stride(self) -> int:
        """Pixels per latent cell."""
        ...

    def latent_range(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value that a latent's channels can sensibly have: ([C], [C])."""
        ...

    def quantize(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Latent [B, C, h, w] -> (the nearest code vectors [B, C, h, w], straight-through; codes [B, h, w])."""
        ...

    def decode(self, quantized: Tensor, *, lean: bool = False) -> Tensor:
        """Quantized latent [B, C, h, w] -> image [B, 3, H, W], nominally in [0, 1], not clamped.

        lean asks for less memory, in more time, for the same numbers.
        """
        ...


@runtime_checkable
class ImageEncoder(Protocol):
    """A VQGAN that can also read pictures."""

    def encode(self, image: Tensor) -> Tensor:
        """Image [B, 3, H, W] in [0, 1] -> latent [B, C, h, w] before quantizing."""
        ...

    def tokenize(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Image [B, 3, H, W] in [0, 1] -> (its code vectors [B, C, h, w], fit to paint over; codes [B, h, w])."""
        ...


@runtime_checkable
class Perceptor(Protocol):
    """A CLIP: it looks at pictures and reads words, and puts both into one space."""

    @property
    def image_size(self) -> int:
        """Side in pixels of the square pictures it looks at."""
        ...

    def embed_image(self, image: Tensor) -> Tensor:
        """Images [B, 3, S, S] in [0, 1] -> embeddings [B, D] of length one. Normalizes by its own mean and std."""
        ...

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> embeddings [len(texts), D] of length one."""
        ...


@runtime_checkable
class Objective(Protocol):
    """What a picture is pulled towards: several of these make the loss."""

    def __call__(self, image: Tensor, latent: Tensor) -> Tensor:
        """Image [B, 3, H, W] in [0, 1] and latent [B, C, h, w] -> each picture's own loss [B], or their sum, 0-d."""
        ...
