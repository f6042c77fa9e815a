"""Wildcards and alternatives: `a {red|blue} __animal__` becomes every prompt it may mean, or one drawn by number."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path

from vqclip.errors import UsageError
from vqclip.promptfile import decode
from vqclip.smallfiles import read_small
from vqclip.words import did_you_mean

MAX_DEPTH = 20
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Choice:
    """A place of a prompt where one of several texts stands; size is how many texts that makes in all."""

    options: tuple[Template, ...]
    size: int


Template = tuple[str | Choice, ...]


def wildcard_folders() -> tuple[Path, ...]:
    """Where lists are looked for: the user's own folder, the package, and beside the package (a checkout)."""
    from platformdirs import user_config_dir

    here = Path(__file__).resolve().parent
    beside = (here.parent / "wildcards",) if (here.parent / "pyproject.toml").is_file() else ()
    return Path(user_config_dir("vqclip", appauthor=False)) / "wildcards", here / "wildcards", *beside


class Wildcards:
    """The lists that `__name__` may mean: files `name.txt`, a text a line, `#` before remarks.

    The first of the folders that has a name keeps it.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._files: dict[str, Path] = {}
        for folder in folders:
            for path in sorted(folder.glob("*.txt")):
                self._files.setdefault(path.stem, path)
        self._read: dict[str, Choice] = {}

    def names(self) -> list[str]:
        """All lists there are."""
        return sorted(self._files)

    def parse(self, text: str) -> Template:
        r"""Cuts a prompt into texts and choices. `\{`, `\}` and `\_` are characters like others.

        Raises: UsageError for a brace without its other half, a list that is not there, or one that holds itself.
        """
        return self._whole(text, ())

    def _whole(self, text: str, inside: tuple[str, ...]) -> Template:
        template, end = self._parse(text, 0, 0, inside)
        if end < len(text):
            where = f"the wildcard list {inside[-1]!r}: " if inside else ""
            raise UsageError(f"{where}a }} without its {{ in {text[: end + 1][-40:]!r}", hint=r"a real one is \}")
        return template

    def _parse(self, text: str, position: int, depth: int, inside: tuple[str, ...]) -> tuple[Template, int]:
        """A template up to the end, or inside braces up to the `|` or `}` that ends it; and where that stands."""
        parts: list[str | Choice] = []
        while (found := _MARK.search(text, position)) is not None:
            parts.append(text[position : found.start()])
            position = found.end()
            escaped, mark, name = found.groups()
            if escaped:
                # Before | and \ a backslash belongs to the grammar of prompts, and stays for it.
                parts.append(found[0] if escaped in "|\\" else escaped)
            elif name:
                parts.append(self._list(name, inside))
            elif mark == "{":
                choice, position = self._braces(text, position, depth, inside)
                parts.append(choice)
            elif mark == "}" or depth:
                return tuple(parts), found.start()
            else:
                parts.append(mark)
        return (*parts, text[position:]), len(text)

    def _braces(self, text: str, position: int, depth: int, inside: tuple[str, ...]) -> tuple[Choice, int]:
        if depth >= MAX_DEPTH:
            raise UsageError(f"braces nested deeper than {MAX_DEPTH}")
        options, start = [], position - 1
        while True:
            option, position = self._parse(text, position, depth + 1, inside)
            options.append(option)
            if position >= len(text):
                raise UsageError(f"a {{ without its }} in {text[start : start + 40]!r}", hint=r"a real one is \{")
            position += 1
            if text[position - 1] == "}":
                return _choice(options), position

    def _list(self, name: str, inside: tuple[str, ...]) -> Choice:
        if name in inside:
            raise UsageError(f"the wildcard list {name!r} holds itself: {' > '.join((*inside, name))}")
        if name not in self._files:
            hint = did_you_mean(name, self._files) or "--wildcards FOLDER names a folder with lists of your own"
            raise UsageError(f"there is no wildcard list {name!r}", hint=hint)
        if name not in self._read:
            lines = _lines(self._files[name])
            self._read[name] = _choice([self._whole(line, (*inside, name)) for line in lines])
        return self._read[name]


def count(template: Template) -> int:
    """How many prompts `every` would give."""
    return prod(part.size for part in template if isinstance(part, Choice))


def every(template: Template) -> Iterator[str]:
    """Every prompt that a template may mean, the last choice turning fastest. Ask `count` first: these can be many."""
    pieces = [
        [part] if isinstance(part, str) else [text for option in part.options for text in every(option)]
        for part in template
    ]
    return ("".join(chosen) for chosen in product(*pieces))


def draw(template: Template, pick: Callable[[int], int]) -> str:
    """One prompt of a template; pick(n) says which of n options is taken, from left to right."""
    parts = []
    for part in template:
        parts.append(part if isinstance(part, str) else draw(part.options[pick(len(part.options))], pick))
    return "".join(parts)


def picker(seed: int) -> Callable[[int], int]:
    """Draws for `draw` that depend on the seed alone, on every machine."""
    drawn = 0

    def pick(options: int) -> int:
        nonlocal drawn
        drawn += 1
        digest = hashlib.blake2b(f"wildcard/{seed}/{drawn}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % options

    return pick


def holds_choices(text: str) -> bool:
    """Whether a prompt looks as if it was meant to be expanded."""
    return bool(re.search(r"\{[^{}]*\|[^{}]*\}|__[\w-]+?__", text))


def _choice(options: Sequence[Template]) -> Choice:
    return Choice(tuple(options), sum(map(count, options)))


_MARK = re.compile(r"\\([{}|_\\])|([{}|])|__([^\W_][\w-]*?)__")


def _lines(path: Path) -> list[str]:
    lines = [line.strip() for line in decode(read_small(path, MAX_BYTES), name=path.name).split("\n")]
    kept = [line for line in lines if line and not line.startswith("#")]
    if not kept:
        raise UsageError(f"the wildcard list {path.name} is empty")
    return kept
