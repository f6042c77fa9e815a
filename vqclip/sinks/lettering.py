"""Text on pictures: words wrapped to a width, in a font that has their letters or with what comes nearest."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from PIL import ImageFont

from vqclip.words import clean

Font = ImageFont.FreeTypeFont

# Looked for by name where the system keeps its fonts, for letters that Pillow's own font lacks.
_OTHERS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc")
_NO_LETTER = "\uffff"


def wrap(text: str, *, width: int, lines: int, size: int) -> tuple[list[str], Font]:
    """Breaks a text into at most so many lines of `width` pixels, and finds the font to write them in.

    A word that is too long is broken, a text that is too long ends in three dots. Letters that no font here has lose
    their accents; what is still missing becomes one empty box for each run of it.
    """
    text = text.strip()
    room = lines * width  # few letters are narrower than a pixel, and a text may be a megabyte
    shown = unicodedata.normalize("NFC", clean(text[:room]))
    font = _font_for(shown, size)
    broken = (line for part in _drawable(shown, font).split("\n") for line in _broken(part, width, font))
    wrapped = list(islice(broken, lines + 1))
    if wrapped and (len(wrapped) > lines or len(text) > room):
        wrapped = wrapped[:lines]
        while wrapped[-1] and font.getlength(wrapped[-1] + "...") > width:
            wrapped[-1] = wrapped[-1][:-1]
        wrapped[-1] = wrapped[-1].rstrip() + "..."
    return wrapped, font


def _broken(text: str, width: int, font: Font) -> Iterator[str]:
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        while (end := _fitting(word, width, font)) < len(word):
            yield word[:end]
            word = word[end:]
        line = word
    if line:
        yield line


def _fitting(word: str, width: int, font: Font) -> int:
    """How many letters of a word fit into a line: at least one."""
    fit, most = 1, len(word)
    while fit < most:
        half = (fit + most + 1) // 2
        fit, most = (half, most) if font.getlength(word[:half]) <= width else (fit, half - 1)
    return fit


def _font_for(text: str, size: int) -> Font:
    """The first font that has all letters of a text, else the one that has most of them."""
    letters = set(text) - {"\n", " "}
    fonts = _fonts(size)
    return min(fonts, key=lambda font: sum(not _has(font, letter) for letter in letters))


@lru_cache(maxsize=16)
def _fonts(size: int) -> tuple[Font, ...]:
    found = [ImageFont.load_default(size=size)]
    for name in _OTHERS:
        with contextlib.suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return tuple(font for font in found if isinstance(font, Font))


@lru_cache(maxsize=65_536)
def _has(font: Font, letter: str) -> bool:
    """Whether the font draws this letter otherwise than one that no font has."""
    return letter.isspace() or bytes(font.getmask(letter)) != bytes(font.getmask(_NO_LETTER))


def _drawable(text: str, font: Font) -> str:
    shown = ""
    for letter in text:
        if letter != "\n" and not _has(font, letter):
            bare = unicodedata.normalize("NFKD", letter)[0]
            letter = bare if _has(font, bare) else _NO_LETTER
        if letter != _NO_LETTER or not shown.endswith(_NO_LETTER):
            shown += letter
    return shown
