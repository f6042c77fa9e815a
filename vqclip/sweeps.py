"""Sweeps: `lr=0.05,0.1` is two values to try, `1..8` eight numbers; several sweeps are all their combinations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from vqclip.errors import UsageError

MAX_VALUES = 100_000


@dataclass(frozen=True)
class Sweep:
    """The name of a setting, and the values to try one after the other."""

    name: str
    values: tuple[str, ...]


def parse_sweep(text: str) -> Sweep:
    r"""Reads `NAME=VALUE,VALUE,...`; `1..8` among whole numbers is all of them, and `\,` is a comma inside a value.

    Raises: UsageError if there is no name or no value, or one of them is empty.
    """
    name, equals, rest = text.partition("=")
    name = name.strip().lstrip("-").replace("_", "-")
    values = list(spread(rest)) if equals else []
    if not name or not values or not all(values):
        raise UsageError(f"--sweep {text!r} is no sweep", hint="write --sweep lr=0.05,0.1 or --sweep cutouts=16..20")
    return Sweep(name, tuple(dict.fromkeys(values)))


def spread(text: str) -> Iterator[str]:
    """The values of a list such as `1..8,12`. Raises: UsageError for a range that is too long or runs backwards."""
    for part in re.split(r"(?<!\\),", text):
        value = part.replace("\\,", ",").strip()
        ends = re.fullmatch(r"([0-9]{1,10})\s*\.\.\s*([0-9]{1,10})", value)
        if not ends:
            yield value
            continue
        first, last = int(ends[1]), int(ends[2])
        if not first <= last < first + MAX_VALUES:
            raise UsageError(f"{value} is no range of at most {MAX_VALUES} numbers that grow")
        yield from map(str, range(first, last + 1))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Reads seeds: `7`, `1..8` or `1,5,9`; each counts once. Raises: UsageError for anything else."""
    values = list(spread(text))
    if not all(re.fullmatch("[0-9]{1,10}", value) and int(value) < 2**32 for value in values):
        if text.strip().casefold() == "random":
            hint = "say which: --seed 1..8; without --seed each prompt has a number of its own that stays the same"
            raise UsageError("--seed random: a batch must be able to find its pictures again", hint=hint)
        raise UsageError(f"--seed {text!r}: no seeds", hint="write a number from 0 to 4294967295, or 1..8, or 1,5,9")
    return tuple(dict.fromkeys(map(int, values)))


def combinations(sweeps: Sequence[Sweep]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Every combination of the sweeps' values as (name, value) pairs, the last sweep turning fastest."""
    return product(*([(sweep.name, value) for value in sweep.values] for sweep in sweeps))
