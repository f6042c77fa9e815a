"""Small help with words: near misses, and text made safe to show."""

from __future__ import annotations

import difflib
import os
import shlex
import unicodedata
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The hint for a misspelled word: its nearest known neighbor, or the list when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word.casefold(), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names)}" if names and len(names) <= 40 else None


def counted(number: float, one: str, many: str | None = None, *, form: str = "") -> str:
    """A number with its noun: 1 picture, 2 pictures. `many` is said where an s at its end is not all."""
    return f"{number:{form}} {one if number == 1 else many or one + 's'}"


def before_download(name: str, size: str, license: str, *, noncommercial: bool) -> str:
    """What is said before a model is fetched: its size in words, and its license."""
    only = "; not for commercial use" if noncommercial else ""
    return f"{name}: {size}; license: {license or 'not stated'}{only}"


def clean(text: str) -> str:
    """Text that cannot steer a terminal: control, escape and direction characters become visible escapes."""
    return "".join(c if c == "\n" or unicodedata.category(c) not in _UNSAFE else _visible(c) for c in text)


def shell_word(name: str) -> str:
    """A file name as one word for a shell, safe to paste: what could steer the terminal is written in octal.

    For bash, zsh, ksh and every shell that knows $'...'; a name that begins with a dash cannot be taken for a flag.
    """
    name = f"./{name}" if name.startswith("-") else name
    if clean(name) == name and "\n" not in name:
        return shlex.quote(name)
    plain = set(range(0x20, 0x7F)) - set(b"'\\")
    return "$'" + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in os.fsencode(name)) + "'"


_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def _visible(char: str) -> str:
    return char if char == "‍" else f"\\u{ord(char):04x}"
