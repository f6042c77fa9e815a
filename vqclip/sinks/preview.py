"""A picture file that always shows how far the painting is, for any viewer that reloads."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vqclip.errors import OutputError
from vqclip.ops.pixels import side_by_side, to_picture
from vqclip.sinks.images import Show, as_it_is, encode
from vqclip.sinks.publish import publish

if TYPE_CHECKING:
    from vqclip.events import Step

# Writing may take at most this share of the time, however large the picture or slow the disk.
_SHARE = 0.05


class Preview:
    """Replaces one file with the picture so far, every few seconds and at the end; a viewer never sees half of it.

    show is how pictures are shown. A preview that cannot be written is given up with one note: it is no reason to lose
    the painting.
    """

    def __init__(
        self,
        path: Path,
        *,
        every: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        on_note: Callable[[str], None] | None = None,
        show: Show = as_it_is,
    ) -> None:
        self._path = path
        self._every = every
        self._clock = clock
        self._on_note = on_note
        self._show = show
        self._next: float | None = None
        self._given_up = False

    def __call__(self, event: Step) -> None:
        """Writes the picture of this event if it is time."""
        start = self._clock()
        if self._given_up or not (event.is_last or self._next is None or start >= self._next):
            return
        try:
            picture = to_picture(side_by_side(self._show(event.image)))
            data = encode(picture, self._path.suffix, recipe={}, private=True, fast=True)
            publish(self._path, data, overwrite=True, durable=False)
        except OutputError as error:
            self._given_up = True
            if self._on_note:
                self._on_note(f"no more previews: {error.message}")
        end = self._clock()
        self._next = end + max(self._every, (end - start) / _SHARE)
