"""Pictures as batches: read when they are needed, kept small in memory, cropped by chance; the order depends on a seed
and a step alone, so that a training that was killed goes on with the very same pictures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vqclip.errors import PictureError
from vqclip.ops.pixels import open_picture
from vqclip.train.shelf import Item, Note
from vqclip.words import counted

MOST_MEMORY = 2 * 2**30
MOST_READERS = 8


class Gallery:
    """Pictures as squares of `size` pixels. What cannot be read is left out with a note, and the next taken instead.

    smallest is the side of the smallest crop as a share of a picture's shorter side.
    """

    def __init__(
        self, items: Sequence[Item], *, size: int, note: Note, smallest: float = 0.5, memory: int = MOST_MEMORY
    ) -> None:
        self.items = items
        self.size = size
        self.smallest = smallest
        self._note = note
        self._room = memory
        self._kept: dict[int, np.ndarray] = {}
        self._broken: dict[int, str] = {}
        self._readers = ThreadPoolExecutor(min(MOST_READERS, os.cpu_count() or 1), thread_name_prefix="reader")

    def __len__(self) -> int:
        return len(self.items)

    def sift(self) -> None:
        """Reads every picture once and forgets those that cannot be read: what is left is all usable.

        Raises: PictureError if nothing is left.
        """
        list(self._readers.map(self._pixels, range(len(self.items))))
        good = [index for index in range(len(self.items)) if index not in self._broken]
        if not good:
            raise self._nothing()
        self._kept = {new: self._kept[old] for new, old in enumerate(good) if old in self._kept}
        self.items, self._broken = [self.items[index] for index in good], {}

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator], *, flip: bool) -> np.ndarray:
        """A random square of each picture, mirrored half the time if `flip`: uint8 [B, size, size, 3]."""
        pictures = self._readers.map(self._readable, indices)
        return np.stack([self._crop(it, rng, flip) for it, rng in zip(pictures, rngs, strict=True)])

    def centers(self, indices: Sequence[int], smallest: float = 1.0) -> np.ndarray:
        """The middle square of each picture, `smallest` of its shorter side: uint8 [B, size, size, 3]."""
        return np.stack([self._square(self._readable(index), smallest, 0.5, 0.5) for index in indices])

    def _crop(self, pixels: np.ndarray, rng: np.random.Generator, flip: bool) -> np.ndarray:
        share = self.smallest + (1 - self.smallest) * rng.random()
        square = self._square(pixels, share, rng.random(), rng.random())
        return square[:, ::-1] if flip and rng.random() < 0.5 else square

    def _square(self, pixels: np.ndarray, share: float, down: float, across: float) -> np.ndarray:
        """A square whose side is a share of the shorter one; down and across say where in the room that is left."""
        height, width = pixels.shape[:2]
        side = min(height, width) * share
        top, left = (height - side) * down, (width - side) * across
        box = (left, top, min(width, left + side), min(height, top + side))
        picture = Image.fromarray(pixels)
        return np.asarray(picture.resize((self.size, self.size), Image.Resampling.BICUBIC, box=box))

    def _readable(self, index: int) -> np.ndarray:
        """The pixels of a picture, or of the next one that can be read. Raises: PictureError if there is none."""
        for further in range(len(self.items)):
            pixels = self._pixels((index + further) % len(self.items))
            if pixels is not None:
                return pixels
        raise self._nothing()

    def _nothing(self) -> PictureError:
        return PictureError(f"of {counted(len(self.items), 'picture')} none can be read; the first: {self._broken[0]}")

    def _pixels(self, index: int) -> np.ndarray | None:
        if index in self._kept:
            return self._kept[index]
        if index in self._broken:
            return None
        item = self.items[index]
        try:
            picture, _ = open_picture(item.read(), name=item.name)
        except (PictureError, OSError) as error:
            self._broken[index] = str(error)
            self._note(f"{error}; it is left out")
            return None
        pixels = np.asarray(self._smaller(picture))
        if pixels.nbytes <= self._room:
            self._room -= pixels.nbytes
            self._kept[index] = pixels
        return pixels

    def _smaller(self, picture: Image.Image) -> Image.Image:
        """The picture no larger than its smallest crop needs it."""
        factor = self.size / self.smallest / min(picture.size)
        if factor >= 1:
            return picture
        sides = tuple(max(1, round(side * factor)) for side in picture.size)
        return picture.resize(sides, Image.Resampling.LANCZOS, reducing_gap=3.0)


def batch_of(
    gallery: Gallery, step: int, *, batch: int, seed: int, flip: bool = True, rank: int = 0, size: int = 1
) -> Tensor:
    """The pictures [batch, 3, S, S] in [0, 1] that process `rank` of `size` gets at a step.

    Each picture comes once before any comes again.
    """
    first = (step * size + rank) * batch
    places = range(first, first + batch)
    indices = [shuffled(len(gallery), seed, place // len(gallery))[place % len(gallery)] for place in places]
    pixels = gallery.crops(indices, [np.random.default_rng([seed, place]) for place in places], flip=flip)
    return to_images(pixels)


def to_images(pixels: np.ndarray) -> Tensor:
    """Pixels uint8 [B, S, S, 3] -> images [B, 3, S, S] in [0, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)


@lru_cache(maxsize=4)
def shuffled(count: int, seed: int, round_: int) -> tuple[int, ...]:
    """The numbers below `count` in the order of one round through them."""
    return tuple(np.random.default_rng([seed, round_, 1]).permutation(count).tolist())


class Ahead:
    """Makes the batch of the next step while this one is learnt from."""

    def __init__(self, make: Callable[[int], Tensor]) -> None:
        self._make = make
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._next: tuple[int, Future[Tensor]] | None = None

    def __call__(self, step: int) -> Tensor:
        """The batch of a step, whatever came before. Raises: PictureError if no picture can be read."""
        ready = self._next[1] if self._next and self._next[0] == step else self._worker.submit(self._make, step)
        batch = ready.result()
        self._next = step + 1, self._worker.submit(self._make, step + 1)
        return batch

    def close(self) -> None:
        """Gives up what was being made."""
        self._worker.shutdown(wait=True, cancel_futures=True)
