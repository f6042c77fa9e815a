"""What kind of weight file this is, told by its first bytes and not by its name; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vqclip.errors import ModelError

Container = Literal["safetensors", "zip", "pickle", "msgpack"]

START_BYTES = 512
_AGAIN = "get the file again"
_MOST_SAFETENSORS_HEADER = 100_000_000  # safetensors' own limit
_MOST_HEADER_READ = 8 * 2**20


def sniff(path: Path) -> Container:
    """Which container a weight file is. Raises: ModelError as `recognize` does, or if the file cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
        size = path.stat().st_size
    except IsADirectoryError as error:
        raise ModelError(f"{path.name} is a folder, not a weight file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ModelError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return recognize(start, size, path.name)


def recognize(start: bytes, size: int, label: str) -> Container:
    """Which container these first bytes of a file of `size` bytes begin.

    Raises: ModelError if they are nothing, a web page, a git-lfs pointer, or nothing known.
    """
    if not start:
        raise ModelError(f"{label} is empty (0 bytes)", hint=_AGAIN)
    if start.startswith(b"version https://git-lfs"):
        raise ModelError(f"{label} is only a git-lfs pointer, not the weights", hint="run `git lfs pull` there")
    if is_web_page(start):
        raise ModelError(f"{label} is a web page, saved instead of the weights", hint=_AGAIN)
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and length <= _MOST_SAFETENSORS_HEADER:
        if length + 8 > size:
            raise ModelError(f"{label} is incomplete ({size:,} bytes here)", hint=_AGAIN)
        if length > _MOST_HEADER_READ:
            raise ModelError(f"{label} is refused: its header alone is {length:,} bytes, more than weights ever need")
        return "safetensors"
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if start[0] == 0x80:
        return "pickle"
    if 0x81 <= start[0] <= 0x8F or start[0] in (0xDE, 0xDF):
        return "msgpack"
    raise ModelError(f"{label} is not a weight file ({size:,} bytes of something else)")


def is_web_page(start: bytes) -> bool:
    """Whether these first bytes of a file begin a web page."""
    return start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head"))
