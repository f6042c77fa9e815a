"""How pictures are called: safe names from prompts, templates with a few known fields, numbers for taken names."""

from __future__ import annotations

import hashlib
import os
import re
import string
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from vqclip.errors import UsageError
from vqclip.words import did_you_mean

FIELDS = ("slug", "seed", "date", "time", "model", "steps", "n", "width", "height", "hash")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
DEFAULT_FOLDER = Path("outputs")
DEFAULT_NAME = "{slug}-{seed}"

_SLUG_BYTES = 60
_NAME_BYTES = 255
# Widths for numbers ({n:04}) and lengths for words ({slug:.20}); free formats could be made to fill the memory.
_NUMBER = re.compile(r"|0[1-9]\d?")
_WORD = re.compile(r"|\.[1-9]\d{0,2}")
# Letters and marks by class, but nothing of them is seen: variation selectors, fillers, joiners.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_PORTS = [f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"]
_RESERVED = frozenset(["con", "prn", "aux", "nul", "conin$", "conout$", *_PORTS])


def slug(text: str) -> str:
    """A short lower-case file name that is safe on every system: letters, digits and marks, all else becomes `-`.

    At most 64 bytes, never empty, never a name that Windows keeps for itself. The same text gives the same name.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    kept = ""
    for char in _INVISIBLE.sub("", folded):
        kind = unicodedata.category(char)[0]
        # A mark sits on the letter before it; alone it would sit on nothing.
        kept += char if kind in "LN" or (kind == "M" and kept[-1:] not in ("", "-")) else "-"
    name = _cut(re.sub("-+", "-", kept).strip("-"), _SLUG_BYTES).strip("-")
    if name:
        return _guarded(name)
    if not text:
        return "untitled"
    return "untitled-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def name_fields(
    *,
    prompt: str,
    seed: int,
    model: str,
    steps: int,
    width: int,
    height: int,
    n: int = 1,
    digest: str = "",
    when: datetime | None = None,
) -> dict[str, str | int]:
    """The values of all template fields. `digest` is the job's hash in hex; `when` is now unless given."""
    when = when or datetime.now()
    return {
        "slug": slug(prompt),
        "seed": seed,
        "date": when.strftime("%Y-%m-%d"),
        "time": when.strftime("%H-%M-%S"),
        "model": slug(model),
        "steps": steps,
        "n": n,
        "width": width,
        "height": height,
        "hash": re.sub(r"\W", "", digest)[:16] or "none",
    }


def render(template: str, fields: Mapping[str, str | int]) -> str:
    """A name template with its fields filled in; a field never adds a folder.

    Raises: UsageError for a field that does not exist, a format that is not a width or a length, or stray braces.
    """
    return on_disk("/".join(_render_part(part, fields) for part in template.replace(os.sep, "/").split("/")))


def where_to(
    output: str | None,
    fields: Mapping[str, str | int],
    *,
    folder: Path = DEFAULT_FOLDER,
    suffixes: tuple[str, ...] = SUFFIXES,
) -> Path:
    """The path that a picture is meant for, before looking whether it is taken; or a film, by its `suffixes`.

    `output` is a file, a folder (it exists, or ends with a slash), a template, or None for the default name in
    `folder`. A name without a suffix gets the first of `suffixes`.

    Raises: UsageError for a suffix that cannot be written, and as `render`.
    """
    if output is None:
        return numbered(folder / (render(DEFAULT_NAME, fields) + suffixes[0]), 1)
    if not output or "\0" in output:
        raise UsageError("the output name is empty" if not output else "the output name holds a NUL character")
    target = Path(os.path.expanduser(render(output, fields)))
    if output.endswith(("/", os.sep)) or target.is_dir() or target.name in ("", ".", ".."):
        return numbered(target / (render(DEFAULT_NAME, fields) + suffixes[0]), 1)
    if not target.suffix:
        target = target.with_name(target.name + suffixes[0])
    if target.suffix.lower() not in suffixes:
        raise UsageError(
            f"{'pictures' if suffixes is SUFFIXES else 'this film'} cannot be written as {target.suffix!r}",
            hint=f"end the name with {'one of ' if len(suffixes) > 1 else ''}{', '.join(suffixes)}",
        )
    return numbered(target, 1)


def on_disk(name: str) -> str:
    """A name as Python has to spell it here so that on the disk it is UTF-8, whatever the locale.

    Raises: UnicodeEncodeError for surrogates that stand for no byte.
    """
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def numbered(path: Path, n: int) -> Path:
    """The n-th name for a path: itself, then `name-2.png`, `name-3.png`. A name over 255 bytes loses its end."""
    tail = (f"-{n}" if n > 1 else "") + path.suffix
    return path.with_name(_cut(path.stem, _NAME_BYTES - len(os.fsencode(tail))) + tail)


def _render_part(part: str, fields: Mapping[str, str | int]) -> str:
    try:
        pieces = list(string.Formatter().parse(part))
    except ValueError as error:
        raise UsageError(f"output name {part!r}: {error}", hint="write {{ and }} for real braces") from error
    text = "".join(literal + _field(name, spec, conversion, fields) for literal, name, spec, conversion in pieces)
    return _guarded(text) if any(name is not None for _, name, _, _ in pieces) else text


def _field(name: str | None, spec: str | None, conversion: str | None, fields: Mapping[str, str | int]) -> str:
    if name is None:
        return ""
    if name not in FIELDS:
        hint = did_you_mean(name, FIELDS)
        raise UsageError(
            f"output name: there is no field {{{name}}}", hint=f"{hint}; write {{{{ and }}}} for real braces"
        )
    try:
        value = fields[name]
        if conversion or not (_NUMBER if isinstance(value, int) else _WORD).fullmatch(spec or ""):
            raise ValueError(spec)
        return format(value, spec or "")
    except ValueError as error:
        hint = "numbers take a width such as {n:04}, words a length such as {slug:.20}"
        raise UsageError(f"output name: {{{name}}} cannot be written as {spec or conversion!r}", hint=hint) from error


def _guarded(name: str) -> str:
    """One part of a path, made harmless where Windows is particular: reserved names, dots and spaces at the end."""
    name = _cut(name, _NAME_BYTES).rstrip(" .") or name
    stem, dot, rest = name.partition(".")
    return f"{stem}_{dot}{rest}" if stem.lower() in _RESERVED else name


def _cut(text: str, limit: int) -> str:
    """The longest beginning of a text that fits into `limit` bytes of a file name."""
    text = text[:limit]
    while len(text.encode("utf-8", "surrogatepass")) > limit:
        text = text[:-1]
    return text
