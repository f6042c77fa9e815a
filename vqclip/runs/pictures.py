"""Reads pictures that were named on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from vqclip.errors import PictureError
from vqclip.ops.pixels import identify, open_picture


def read_picture(path: str | Path, *, background: str, note: Callable[[str], None]) -> Image.Image:
    """A picture file as plain upright opaque sRGB; what had to be changed goes to `note`.

    Raises: PictureError if it is missing, unreadable, too large, broken or no picture; UsageError for no such color.
    """
    with _opened(path) as (file, name):
        picture, notes = open_picture(file, background=background, name=name)
    for text in notes:
        note(text)
    return picture


def look_at(path: str | Path) -> None:
    """Opens a picture file without reading its pixels. Raises: PictureError, as `read_picture`."""
    with _opened(path) as (file, name):
        identify(file, name=name)


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[BinaryIO, str]]:
    name = Path(path).name or str(path)
    try:
        with Path(path).expanduser().open("rb") as file:
            yield file, name
    except OSError as error:
        raise PictureError(f"{name} cannot be read: {error.strerror or error}", hint="check the path") from error
