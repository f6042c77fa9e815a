"""The prompt grammar: `"a castle:1.2 | fog:0.5 | text:-0.3"` becomes weighted prompts, and back."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

from vqclip.errors import UsageError

NO_STOP = -math.inf


@dataclass(frozen=True)
class Prompt:
    """One thing to paint, or to stay away from.

    weight is its pull (negative: a push); stop is the distance below which it no longer pulls (-inf = never). For an
    image prompt, text is the path.
    """

    text: str
    weight: float = 1.0
    stop: float = NO_STOP


@dataclass(frozen=True)
class ClipChoice:
    """One CLIP that looks: how much it counts, and which share of the cutouts it sees, in (0, 1]."""

    name: str
    weight: float = 1.0
    share: float = 1.0


def parse_prompts(text: str, negative: str = "") -> tuple[Prompt, ...]:
    r"""Reads prompts separated by `|`, each `text[:weight[:stop]]`; those of `negative` get a negative weight.

    Numbers are read from the right and reading stops at the first non-number, so colons inside a text survive. `\|` is
    a pipe and `\:` a colon that belong to the text; any other backslash is itself.
    Raises: UsageError for an empty part, or a number too large to be one.
    """
    wanted = [_parse_part(part) for part in _parts(text)]
    unwanted = [_parse_part(part) for part in _parts(negative)]
    return (*wanted, *(replace(prompt, weight=-abs(prompt.weight)) for prompt in unwanted))


def parse_image_prompt(text: str) -> Prompt:
    """Reads one `PATH[:weight[:stop]]`. The path is kept to the byte; a drive letter (`C:\\a.png:0.5`) survives.

    For a path that itself ends in a colon and a number, give both numbers: `odd:2:1:-inf` is the file `odd:2`.
    Raises: UsageError if no path is left.
    """
    path, numbers = _numbers_from_the_right(text.split(":"))
    if not path.strip():
        raise UsageError(
            f"image prompt {text!r} names no file", hint="write it as PATH, PATH:WEIGHT or PATH:WEIGHT:STOP"
        )
    return Prompt(path, *numbers)


def parse_clip(text: str) -> ClipChoice:
    """Reads one `NAME[:weight[:share]]`; the name may be a path, as in `parse_image_prompt`.

    Raises: UsageError if no name is left, or the share is none.
    """
    name, numbers = _numbers_from_the_right(text.split(":"))
    if not name.strip():
        raise UsageError(f"{text!r} names no CLIP", hint="write it as NAME, NAME:WEIGHT or NAME:WEIGHT:SHARE")
    choice = ClipChoice(name, *numbers)
    if not 0 < choice.share <= 1:
        said = f"{text!r} gives a CLIP {choice.share:g} of the cutouts, not a share above 0 and up to 1"
        raise UsageError(said, hint="NAME:WEIGHT:0.25 shows it every fourth cutout")
    return choice


def share_of(cutouts: int, share: float) -> int:
    """How many of the cutouts a CLIP sees: its share of them, and one at least."""
    return max(1, round(cutouts * share))


def render(prompts: Iterable[Prompt]) -> str:
    """Writes prompts as text that `parse_prompts` reads back as the same prompts."""
    return " | ".join(_render_one(prompt) for prompt in prompts)


def repair(text: str) -> str:
    """Text as it was meant: undecoded bytes of the command line restored, NFC, no control characters.

    Bytes that are no UTF-8 become U+FFFD; line breaks and tabs become spaces, other control characters vanish.
    """
    whole = "".join("\ufffd" if "\ud800" <= c <= "\udc7f" or "\udd00" <= c <= "\udfff" else c for c in text)
    whole = whole.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    spaced = "".join(" " if c in "\t\n\v\f\r\x85" else c for c in whole)
    return unicodedata.normalize("NFC", "".join(c for c in spaced if unicodedata.category(c) != "Cc"))


_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# A run of backslashes counts only before `|` or `:`, where each pair stands for one and an odd one escapes.
_SPECIAL = re.compile(r"(\\*)([|:])")
_ESCAPED = {"|": "\ue000", ":": "\ue001"}  # private characters keep escaped ones apart while splitting
_PLAIN = str.maketrans({mark: char for char, mark in _ESCAPED.items()})


def _parts(text: str) -> list[str]:
    """The parts between unescaped pipes, with escaped pipes and colons marked. Nothing at all has no parts."""
    text = repair(text).translate({ord(mark): "\ufffd" for mark in _ESCAPED.values()})
    if not text.strip():
        return []

    def unescape(found: re.Match[str]) -> str:
        slashes, char = found.groups()
        return "\\" * (len(slashes) // 2) + (_ESCAPED[char] if len(slashes) % 2 else char)

    parts = _SPECIAL.sub(unescape, text).split("|")
    if not all(part.strip() for part in parts):
        raise UsageError(
            f"the prompt {text.strip()!r} has an empty part", hint=r"take the extra | out, or write \| to paint a pipe"
        )
    return parts


def _parse_part(part: str) -> Prompt:
    text, numbers = _numbers_from_the_right(part.split(":"))
    text = text.strip().translate(_PLAIN)
    if not text:
        raise UsageError(f"the prompt part {part.strip()!r} has a weight but no text", hint="write TEXT:WEIGHT")
    return Prompt(text, *numbers)


def _numbers_from_the_right(pieces: list[str]) -> tuple[str, list[float]]:
    """Takes up to two numbers (weight, stop) off the right end. `-inf` is a number only as a stop."""
    taken: list[float] = []
    while len(pieces) > 1 and len(taken) < 2:
        piece = pieces[-1].strip()
        if not _NUMBER.fullmatch(piece) and (piece != "-inf" or taken):
            break
        if piece == "-inf" and not _NUMBER.fullmatch(pieces[-2].strip()):
            break
        taken.insert(0, _finite(piece))
        pieces = pieces[:-1]
    return ":".join(pieces), taken


def _finite(piece: str) -> float:
    number = float(piece)
    if math.isinf(number) and piece != "-inf":
        raise UsageError(f"the number {piece} in a prompt is too large")
    return number


def _render_one(prompt: Prompt) -> str:
    numbers = [prompt.weight, prompt.stop] if prompt.stop != NO_STOP else [prompt.weight]
    suffix = "" if numbers == [1.0] else "".join(f":{_short(number)}" for number in numbers)
    return _escape(prompt.text, bool(suffix)) + suffix


def _escape(text: str, before_colon: bool) -> str:
    """Escapes every pipe, and every colon that a number or a backslash would make special."""

    def escape(found: re.Match[str]) -> str:
        slashes, char = found.groups()
        following = text[found.end() :].split(":")[0].split("|")[0].strip()
        special = char == "|" or slashes or _NUMBER.fullmatch(following) or following == "-inf"
        return slashes * 2 + ("\\" if special else "") + char

    escaped = _SPECIAL.sub(escape, text)
    tail = len(escaped) - len(escaped.rstrip("\\"))
    return escaped + "\\" * tail if before_colon else escaped


def _short(number: float) -> str:
    return repr(float(number)).removesuffix(".0")
