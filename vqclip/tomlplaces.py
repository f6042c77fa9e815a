"""Where the keys of a TOML file stand: its own reader does not tell."""

from __future__ import annotations

import re

Place = tuple[str | int, ...]


def key_places(text: str) -> dict[Place, tuple[int, int]]:
    """The line and column at which each key and table of a TOML file stands, both counted from 1.

    Tables of an array have a number, counted from 0. This knows plain and dotted keys and `[tables]`; a line within a
    text of several lines may mislead it, and then only the place in a message is wrong.
    """
    table: Place = ()
    found: dict[Place, tuple[int, int]] = {}
    counts: dict[Place, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        spot = number, len(line) - len(line.lstrip()) + 1
        if header := _HEADER.match(line):
            table = _whole(_names(header[2]), counts, opens=header[1] == "[[")
            found.setdefault(table, spot)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_names(key[1])), spot)
    return found


_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")


def _names(dotted: str) -> Place:
    return tuple(name.strip("\"'") for name in re.findall(_NAME, dotted))


def _whole(names: Place, counts: dict[Place, int], *, opens: bool) -> Place:
    """The whole path of a table: tables of an array get the number of the last one, or the next if it opens one."""
    place: Place = ()
    for at, name in enumerate(names):
        place = (*place, name)
        if opens and at == len(names) - 1:
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place = (*place, counts[place])
    return place
