"""Reads pictures that were named on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from vqclip.errors import PictureError
from vqclip.ops.pixels import open_picture


def read_picture(path: str | Path, *, background: str, note: Callable[[str], None]) -> Image.Image:
    """A picture file as plain upright opaque sRGB; what had to be changed goes to `note`.

    Raises: PictureError if it is missing, unreadable, too large, broken or no picture; UsageError for no such color.
    """
    name = Path(path).name or str(path)
    try:
        with Path(path).expanduser().open("rb") as file:
            picture, notes = open_picture(file, background=background, name=name)
    except OSError as error:
        raise PictureError(f"{name} cannot be read: {error.strerror or error}", hint="check the path") from error
    for text in notes:
        note(text)
    return picture
