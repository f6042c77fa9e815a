"""Smaller copies of large pictures in a folder of their own, made once and removed when their picture is gone."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path

from vqclip.errors import PictureError
from vqclip.sinks.collection import THUMBNAILS, Found, small_copy
from vqclip.sinks.publish import publish

SIDE = 560

_NAME = re.compile(r"[0-9a-f]{24}\.webp")


def make_thumbnails(pictures: Sequence[Found], folder: Path) -> dict[Path, Path]:
    """Writes WebP copies of what is larger than SIDE pixels into a folder below `folder`: picture -> copy.

    A copy that is there already stays. Raises: OutputError.
    """
    place, made = folder / THUMBNAILS, {}
    for one in pictures:
        if one.size is None or max(one.size) <= SIDE:
            continue
        key = f"{os.path.relpath(one.path, folder)}\0{one.modified}\0{one.size}"
        copy = place / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:24]}.webp"
        if copy.exists() or _write(one.path, copy):
            made[one.path] = copy
    _remove_others(place, {copy.name for copy in made.values()})
    return made


def _write(picture: Path, copy: Path) -> bool:
    """Whether the copy was made; a picture whose pixels are damaged has none."""
    data = io.BytesIO()
    try:
        small_copy(picture, SIDE).save(data, "WEBP", quality=80, method=4)
    except PictureError:
        return False
    publish(copy, data.getvalue(), overwrite=True, durable=False)
    return True


def _remove_others(place: Path, kept: set[str]) -> None:
    with contextlib.suppress(OSError):
        for name in os.listdir(place):
            if _NAME.fullmatch(name) and name not in kept:
                (place / name).unlink(missing_ok=True)
