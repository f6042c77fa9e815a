"""The film of a picture's becoming: what changes fast is shown slowly, and the last frame is held."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from vqclip.errors import OutputError
from vqclip.ops.pixels import side_by_side, to_picture
from vqclip.sinks.film import FilmFile
from vqclip.sinks.images import Show, as_it_is

if TYPE_CHECKING:
    from torch import Tensor

    from vqclip.events import Step

HELD_SECONDS = 1.0
EASE = 2.0
EASE_OF_PICTURES = 1.25
"""For a painting that begins as a picture, a sketch of the prior or an image: its first steps change little."""


def eased(count: int, steps: int, *, first: int = 0, power: float = EASE) -> Iterator[float]:
    """The step, with its fraction, that each of `count` frames shows: from `first` to `steps`, slowly at first.

    A painting changes most in its first steps, so the film's time runs as their root (of this power).
    """
    return (first + (steps - first) * (n / max(count - 1, 1)) ** power for n in range(count))


class MakingOf:
    """Films a painting while it is painted, into a file made beforehand by `open_film(size) -> FilmFile`.

    The size is that of the finished picture (width, height); pictures of a smaller stage are enlarged. ease is the
    power of `eased`, show how pictures are shown. Between two steps the film fades from one to the other; a painting
    that was gone on with is filmed from there, one that is stopped up to there. A film that cannot be written is given
    up with a note: it is no reason to lose the picture. `path` is the film's, once it is there.
    """

    def __init__(
        self,
        film: FilmFile,
        size: tuple[int, int],
        *,
        frames: int,
        fps: float,
        on_note: Callable[[str], None],
        ease: float = EASE,
        show: Show = as_it_is,
    ):
        self.path: Path | None = None
        self._film: FilmFile | None = film
        self._size = size
        self._frames, self._hold = frames, round(HELD_SECONDS * fps)
        self._ease = ease
        self._show = show
        self._times: Iterator[float] | None = None
        self._next = 0.0
        self._before: tuple[int, Tensor] | None = None
        self._note = on_note

    def __call__(self, event: Step) -> None:
        """Adds all frames up to this step."""
        image = self._sized(side_by_side(self._show(event.image)))
        if self._film is None or (self._before is not None and event.index <= self._before[0]):
            self._before = None if self._before is None else (self._before[0], image)  # painting went back a little
            return
        if self._times is None:
            self._times = eased(self._frames, event.steps, first=event.index, power=self._ease)
            self._next = next(self._times, math.inf)
        index, picture = self._before or (event.index - 1, image)
        while self._next <= event.index and self._film is not None:
            self._add(picture.lerp(image, (self._next - index) / (event.index - index)))
            self._next = next(self._times, math.inf)
        self._before = event.index, image

    def close(self) -> None:
        """Holds the last frame, ends the film and publishes it."""
        for _ in range(self._hold):
            if self._film is not None and self._before is not None:
                self._add(self._before[1])
        film, self._film = self._film, None
        if film is None:
            return
        if self._before is None:
            film.discard()
            return
        try:
            self.path = film.finish()
        except OutputError as error:
            self._note(f"there is no film: {error.message}")

    def _add(self, image: Tensor) -> None:
        try:
            if self._film is not None:
                self._film.add(to_picture(image))
        except OutputError as error:
            self._film = None
            self._note(f"no more film: {error.message}")

    def _sized(self, image: Tensor) -> Tensor:
        image = image.detach().float().cpu()
        width, height = self._size
        if image.shape[1:] == (height, width):
            return image
        with torch.no_grad():
            return F.interpolate(image[None], (height, width), mode="bicubic", antialias=True)[0].clamp(0, 1)
