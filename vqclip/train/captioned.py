"""Captioned pictures of one's own, as the CLIP training asks for them: by index, with what is known of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vqclip.train.gallery import Gallery, to_images
from vqclip.train.shelf import Item, Note


class CaptionedGallery:
    """Captioned pictures as squares of `size` pixels, cut by chance from the longer side.

    All are read once at the beginning, so that a broken one takes its captions along.
    Raises: PictureError if none can be read.
    """

    def __init__(self, items: Sequence[Item], *, size: int, note: Note) -> None:
        self._gallery = Gallery(items, size=size, note=note, smallest=1.0)
        self._gallery.sift()
        self.captions: Sequence[Sequence[str]] = [item.captions for item in self._gallery.items]

    def __len__(self) -> int:
        return len(self._gallery)

    def pictures(self, indices: np.ndarray, rng: np.random.Generator | None = None) -> Tensor:
        """Indices [B] -> images [B, 3, size, size] in [0, 1]: squares that rng chooses, the middle ones without it."""
        if rng is None:
            return to_images(self._gallery.centers(indices))
        return to_images(self._gallery.crops(indices, [rng] * len(indices), flip=False))

    def truth(self, indices: np.ndarray, captions: Sequence[str]) -> Tensor:
        """Pictures [B] and one caption of each -> bool [B, B]: is caption (column) one of the picture's (row)?"""
        own = [set(self.captions[i]) for i in indices]
        return torch.tensor([[caption in known for caption in captions] for known in own])

    def false_captions(self, indices: np.ndarray, rng: np.random.Generator) -> list[str]:
        """What would be nearly true of these pictures is not known."""
        return []

    def labels(self, indices: np.ndarray) -> dict[str, Tensor]:
        """Nothing more is known of these pictures."""
        return {}
