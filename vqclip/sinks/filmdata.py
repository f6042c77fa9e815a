"""The recipe inside a film: as tags of the container, as a comment of a GIF, as XMP of a WebP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqclip.errors import PictureError
from vqclip.sinks.codecs import KINDS, Kind
from vqclip.sinks.metadata import MADE, MAX_TEXT, parse_recipe, read_recipe, recipe_json, xmp_packet

SUFFIXES = tuple(kind.suffix for kind in KINDS.values())
_COMMENT, _TRAILER = b"\x21\xfe", b"\x3b"
_HAS_XMP = 0x04


def container_tags(recipe: Mapping[str, Any], *, private: bool = False) -> dict[str, str]:
    """Tags for a container: that a model made the film, and unless `private` the prompt and the recipe as JSON."""
    tags = {"description": f"made with vqclip; digital source type: {MADE}"}
    if private or not recipe:
        return tags
    prompt = str(recipe.get("settings", {}).get("prompt") or "")
    return {**tags, "title": prompt.replace("\0", ""), "comment": recipe_json(recipe)}


def add_recipe(path: Path, kind: Kind, recipe: Mapping[str, Any], *, private: bool = False) -> None:
    """Puts the recipe into a finished GIF or WebP, whose writer has no place for it. Raises: OSError."""
    if kind.container == "gif" and recipe and not private:
        _append_comment(path, recipe_json(recipe).encode())
    elif kind.container == "webp":
        _append_xmp(path, xmp_packet(recipe, private=private, with_recipe=True))


def read_film_recipe(path: Path) -> dict[str, Any]:
    """The recipe in a film that vqclip wrote. Untrusted, as `metadata.read_recipe`.

    Raises: PictureError if the file cannot be read or carries none.
    """
    try:
        if path.suffix.casefold() == ".webp":
            with path.open("rb") as file:
                return read_recipe(file, name=path.name)
        text = _gif_comment(path) if path.suffix.casefold() == ".gif" else _tag(path)
    except OSError as error:
        raise PictureError(f"{path.name} cannot be read: {error.strerror or error}", hint="check the path") from error
    if text is None:
        raise PictureError(f"{path.name} carries no recipe", hint="only films that vqclip has written carry one")
    return parse_recipe(text, name=path.name)


def _tag(path: Path) -> str | None:
    import av

    try:
        with av.open(str(path)) as container:
            tags = {key.casefold(): value for key, value in container.metadata.items()}
    except (av.FFmpegError, ValueError) as error:
        raise PictureError(f"{path.name} is not a film, or is damaged: {error}") from error
    return tags.get("comment")


def _append_comment(path: Path, text: bytes) -> None:
    """A comment block before the byte that ends a GIF: pieces of at most 255 bytes, each after its length."""
    pieces = [text[at : at + 255] for at in range(0, len(text), 255)]
    with path.open("rb+") as file:
        file.seek(-1, 2)
        file.write(_COMMENT + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0" + _TRAILER)


def _gif_comment(path: Path) -> str | None:
    """The last comment of a GIF, looked for from its end."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - MAX_TEXT))
        tail = file.read(MAX_TEXT)
    at = tail.rfind(_COMMENT + b"\xff{") if _COMMENT + b"\xff{" in tail else tail.rfind(_COMMENT)
    if at < 0:
        return None
    at, text = at + len(_COMMENT), b""
    while at < len(tail) and tail[at]:
        text, at = text + tail[at + 1 : at + 1 + tail[at]], at + 1 + tail[at]
    return text.decode("utf-8", "replace")


def _append_xmp(path: Path, packet: bytes) -> None:
    """An XMP chunk at the end of an animated WebP, its flag in the header, and the new length."""
    chunk = b"XMP " + len(packet).to_bytes(4, "little") + packet + b"\0" * (len(packet) % 2)
    with path.open("rb+") as file:
        head = bytearray(file.read(21))
        if head[12:16] != b"VP8X":
            return  # a single frame: a plain WebP has no room for it
        end = file.seek(0, 2)
        file.write(chunk)
        head[20] |= _HAS_XMP
        head[4:8] = (end + len(chunk) - 8).to_bytes(4, "little")
        file.seek(0)
        file.write(head)
