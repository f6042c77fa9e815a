"""Pictures that are there already: finds them in folders and reads what each says of itself, as untrusted data."""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vqclip.errors import PictureError
from vqclip.ops.pixels import MAX_BYTES, identify, open_picture
from vqclip.sinks.metadata import read_recipe
from vqclip.sinks.names import SUFFIXES

# In the metadata of pictures that are made of other pictures, so that no collection shows them among those.
SHEET_MARK = "vqclip-sheet"
THUMBNAILS = "gallery-thumbnails"


@dataclass(frozen=True)
class Found:
    """One picture file: its size and recipe, or why it has none.

    problem says why the picture cannot be read, and remark why a good one carries no recipe. modified is in
    nanoseconds since 1970.
    """

    path: Path
    size: tuple[int, int] | None = None
    recipe: Mapping[str, Any] | None = None
    problem: str | None = None
    remark: str | None = None
    modified: int = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings in the recipe; empty where there is none."""
        return self.recipe["settings"] if self.recipe else {}

    @property
    def prompt(self) -> str:
        """The prompt in the recipe; empty where there is none."""
        prompt = self.settings.get("prompt")
        return prompt if isinstance(prompt, str) else ""


def find_pictures(folder: Path) -> list[Path]:
    """All picture files in a folder and below, by name, numbers by value; hidden folders and thumbnails are left out.

    Raises: PictureError if the folder cannot be read or holds no pictures.
    """
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise PictureError(f"{folder}: cannot be read as a folder: {error.strerror}") from error
    paths = []
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".") and name != THUMBNAILS]
        paths += [Path(place, name) for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    if not paths:
        raise PictureError(f"{folder} holds no pictures", hint=f"looked for {', '.join(SUFFIXES)}")
    return sorted(paths, key=_natural)


def read_pictures(paths: Iterable[Path]) -> list[Found]:
    """Reads each picture without decoding it; contact sheets are left out."""
    found = map(read_picture, paths)
    return [one for one in found if one is not None]


def read_picture(path: Path) -> Found | None:
    """What one file says of itself; None if it is a contact sheet. A picture that cannot be read says why."""
    try:
        facts = path.stat()
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(facts.st_mode):
            return Found(path, problem="not a file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        picture = identify(data, name="the file")
        if SHEET_MARK in picture.info:
            return None
        _check_whole(picture, data)
    except OSError as error:
        return Found(path, problem=f"cannot be read: {error.strerror or error}")
    except PictureError as error:
        return Found(path, problem=error.message)
    try:
        recipe, remark = read_recipe(data, name="the picture"), None
    except PictureError as error:
        recipe, remark = None, error.message
    return Found(path, picture.size, recipe, remark=remark, modified=facts.st_mtime_ns)


def small_copy(path: Path, side: int) -> Image.Image:
    """The picture at most `side` pixels wide and high, as plain RGB. Raises: PictureError."""
    try:
        with path.open("rb") as file:
            picture, _ = open_picture(file, name=path.name)
    except OSError as error:
        raise PictureError(f"{path}: cannot be read: {error.strerror or error}") from error
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def _check_whole(picture: Image.Image, data: bytes) -> None:
    """Finds files that end too early, and damaged PNGs by their checksums, without decoding. Raises: PictureError."""
    whole = True
    if picture.format == "PNG":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                picture.verify()
        # As with all decoders: damaged bytes are answered with nearly every kind of exception.
        except Exception:
            whole = False
    elif picture.format == "JPEG":
        whole = b"\xff\xd9" in data[-65536:]
    elif picture.format == "WEBP":
        whole = int.from_bytes(data[4:8], "little") + 8 <= len(data)
    if not whole:
        raise PictureError("the file is cut short or damaged")


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Orders castle-9 before castle-10; what is equal but for its case stays in a fixed order."""
    parts = re.split(r"([0-9]{1,18})", str(path))
    return [(1, int(part), part) if n % 2 else (0, 0, part.casefold() + part) for n, part in enumerate(parts)]
