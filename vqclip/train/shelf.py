"""Where pictures to learn from lie: in folders, in CSV lists, in tar shards; with their captions, if they have some."""

from __future__ import annotations

import csv
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vqclip.errors import PictureError, UsageError
from vqclip.words import counted

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".tif", ".tiff", ".bmp")
OWN_FOLDER = ".training"
"""Folders that end so hold a training's own sheets, which are nothing to learn from."""
LONGEST_CAPTION = 64 * 1024
_PICTURE_COLUMNS = ("filepath", "path", "file_name", "file", "image")
_CAPTION_COLUMNS = ("title", "caption", "text")

Note = Callable[[str], None]


@dataclass(frozen=True)
class Item:
    """One picture: its name for people, the file with its bytes, from where and how many (None: all), its captions."""

    name: str
    path: Path
    offset: int = 0
    size: int | None = None
    captions: tuple[str, ...] = ()

    def read(self) -> bytes:
        """The picture's bytes. Raises: OSError."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read() if self.size is None else file.read(self.size)


def find_pictures(source: Path) -> list[Item]:
    """All pictures of a folder and the folders in it, of a CSV list, or of tar shards, in a fixed order.

    Raises: PictureError if there is nothing, or no picture; UsageError if a list or a shard cannot be read.
    """
    if source.is_dir():
        found = list(_in_folder(source))
    elif source.suffix.casefold() in (".csv", ".tsv"):
        found = list(_in_list(source))
    elif source.suffix.casefold() == ".tar":
        found = list(_in_shard(source))
    elif source.exists():
        raise PictureError(f"{source} is no folder of pictures", hint="give a folder, a .csv list or a .tar shard")
    else:
        raise PictureError(f"there is no folder {source}", hint="check the path")
    if not found:
        raise PictureError(f"there are no pictures in {source}", hint=f"these are looked for: {', '.join(SUFFIXES)}")
    return found


def find_captioned(source: Path, note: Note) -> list[Item]:
    """The pictures of `find_pictures` that have captions; says how many have none.

    Raises: as `find_pictures`, and UsageError if no picture has a caption.
    """
    found = find_pictures(source)
    captioned = [item for item in found if item.captions]
    if not captioned:
        raise UsageError(
            f"of {counted(len(found), 'picture')} in {source} none has a caption",
            hint="put a text of the same name beside each (cat.jpg, cat.txt), or give a .csv list or a .tar shard",
        )
    if without := [item.name for item in found if not item.captions]:
        note(f"{len(without)} of {len(found)} pictures left out for want of a caption: {_some(without)}")
    return captioned


def _in_folder(folder: Path) -> Iterator[Item]:
    for place, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith(".") and not name.endswith(OWN_FOLDER))
        for name in sorted(name for name in names if not name.startswith(".")):
            path, kind = Path(place) / name, Path(name).suffix.casefold()
            if kind in SUFFIXES:
                yield Item(str(path.relative_to(folder)), path, captions=_beside(path))
            elif kind == ".tar":
                yield from _in_shard(path)


def _beside(picture: Path) -> tuple[str, ...]:
    try:
        with picture.with_suffix(".txt").open("rb") as file:
            return _lines(file.read(LONGEST_CAPTION))
    except OSError:
        return ()


def _in_list(path: Path) -> Iterator[Item]:
    """The rows of a CSV list with a header; open_clip's own users part the columns by tabs."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is not a text in UTF-8 (byte {error.start})") from error
    lines = text.splitlines()
    between = "\t" if lines and "\t" in lines[0] else ","
    rows = csv.DictReader(lines, delimiter=between)
    header = rows.fieldnames or ()
    picture = next((name for name in _PICTURE_COLUMNS if name in header), None)
    caption = next((name for name in _CAPTION_COLUMNS if name in header), None)
    if picture is None:
        raise UsageError(
            f"{path.name} names no pictures: its columns are {', '.join(header) or 'none'}",
            hint="its first line must name the columns, such as filepath and title",
        )
    for row in rows:
        if row[picture]:
            place = path.parent / row[picture]
            said = _lines((row[caption] or "").encode()) if caption else ()
            yield Item(row[picture], place, captions=said)


def _in_shard(path: Path) -> Iterator[Item]:
    """The pictures of a tar as webdataset writes them: what belongs together shares its name up to the first dot."""
    pictures: dict[str, Item] = {}
    captions: dict[str, tuple[str, ...]] = {}
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                folder, name = os.path.split(member.name)
                stem, _, kind = name.partition(".")
                key, kind = f"{folder}/{stem}", kind.casefold()
                if not member.isfile() or name.startswith("."):
                    continue
                if f".{kind}" in SUFFIXES:
                    pictures[key] = Item(f"{path.name}:{member.name}", path, member.offset_data, member.size)
                elif kind in ("txt", "json") and (file := shard.extractfile(member)) is not None:
                    said = _lines(file.read(LONGEST_CAPTION), kind == "json")
                    captions[key] = captions.get(key) or said
    except (OSError, tarfile.TarError) as error:
        raise UsageError(
            f"{path.name} is no tar shard, or is cut short: {error}", hint="compressed tars must be unpacked first"
        ) from error
    yield from (replace(item, captions=captions.get(key, ())) for key, item in pictures.items())


def _lines(data: bytes, as_json: bool = False) -> tuple[str, ...]:
    """The captions in a text, one a line, or in the `caption` entry of a JSON object."""
    text = data.decode("utf-8-sig", errors="replace")
    if as_json:
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            return ()
        said = entry.get("caption") if isinstance(entry, dict) else None
        text = said if isinstance(said, str) else ""
    return tuple(dict.fromkeys(line for part in text.splitlines() if (line := " ".join(part.split()))))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
