"""From the rows of a file of prompts to what they ask for, in the words of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import typer

from vqclip.cli.aliases import old_spellings, rewrite
from vqclip.cli.generate import find_look, laid_over
from vqclip.cli.options import FLAGS, read_flags
from vqclip.errors import UsageError, VqclipError
from vqclip.presets import Preset, inside, merge
from vqclip.prompts import repair
from vqclip.prompttable import Problem, Row, Word
from vqclip.runs.jobs import Ask
from vqclip.settings import Settings
from vqclip.sweeps import Sweep, combinations, parse_seeds

# What a line may say: how its picture is painted. What becomes of the pictures concerns all of them alike.
_OF_A_LINE = frozenset({*Settings.model_fields, "size", "init_noise", "count", "preset"}) - {"prompt"}
_SPELLINGS = {flag.name.replace("_", "-"): flag for flag in FLAGS}
_SWITCHES = {"true": "--{}", "yes": "--{}", "1": "--{}", "false": "--no-{}", "no": "--no-{}", "0": "--no-{}"}


@dataclass(frozen=True)
class Said:
    """What some words said: settings without a seed, and what a batch handles itself."""

    settings: Mapping[str, Any]
    seeds: tuple[int, ...] = ()
    count: int | None = None
    preset: str | None = None


def short_options() -> set[str]:
    """Every option of one dash, ours and the old ones: where one stands in a line, its prompt has ended."""
    words = {word for flag in FLAGS for word in flag.spellings} | set(old_spellings())
    return {word for word in words if not word.startswith("--")}


def make_asks(
    rows: Sequence[Row], *, command: Any, file: Path, flags: Said, sweeps: Sequence[Sweep]
) -> tuple[list[Ask], list[Problem]]:
    """What rows ask for, and all that is wrong with them.

    Presets lie lowest, then the row, then the flags, then the sweeps. command is the one whose options a row may hold;
    beside file lies what a row names. Raises: UsageError for a sweep or preset of the flags that is wrong.
    """
    asks: list[Ask] = []
    problems: list[Problem] = []
    look_of = cache(_look)
    look = look_of(flags.preset)
    tries = [_swept(command, chosen) for chosen in combinations(sweeps)]
    for row in rows:
        try:
            said = read_words(command, row.options)
            own = {key: inside(key, value, file) for key, value in said.settings.items()}
            looks = look, look_of(_near(said.preset, file))
        except VqclipError as error:
            at = getattr(error, "word", Word("", ""))
            problems.append(Problem(at.line or row.line, at.place, error.message.removeprefix(f"{file}: ")))
            continue
        for swept in tries:
            settings = merge(own, {"prompt": repair(row.prompt)}, flags.settings, swept.settings)
            for one in (look_of(swept.preset), *reversed(looks)):
                settings = laid_over(one, settings)
            seeds = swept.seeds or flags.seeds or said.seeds
            asks.append(Ask(row.line, settings, seeds, swept.count or flags.count or said.count or 1))
    return asks, problems


def read_words(command: Any, words: Sequence[Word]) -> Said:
    """What the options of a row say.

    Raises: UsageError with an attribute `word`: that of the first option that is wrong.
    """
    try:
        return _read(command, tuple(word.text for word in words))
    except UsageError as error:
        for word, beginning in _beginnings(words):
            try:
                _read(command, beginning)
            except UsageError as first:
                first.word = word  # type: ignore[attr-defined]
                raise first from error
        raise


def read_said(values: Mapping[str, Any]) -> Said:
    """What flags said that belong to a batch's pictures, with `--seed 1..8` as several. Raises: UsageError."""
    seeds = parse_seeds(values["seed"]) if values.get("seed") is not None else ()
    asked = read_flags({key: value for key, value in values.items() if key != "seed"})
    return Said(asked.settings, seeds, asked.count if values.get("count") is not None else None, asked.preset)


@lru_cache(maxsize=4096)
def _read(command: Any, words: tuple[str, ...]) -> Said:
    options = [param for param in command.params if not getattr(param, "is_flag", True)]
    take_values = frozenset(name for param in options for name in param.opts)
    args = rewrite([_spelled(word) for word in words], take_values=take_values).args
    try:
        with command.make_context("batch", args) as context:
            values, rest = dict(context.params), context.args
    except typer.Exit:
        raise UsageError("this option is for the command line") from None
    except typer.TyperException as error:
        raise UsageError(error.format_message()) from error
    if values.pop("prompt", None) is not None or rest:
        raise UsageError("a word that belongs to no option", hint="the prompt comes first; put it in double quotes")
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    said = {key: value for key, value in plain.items() if value is not None and value != []}
    for key in said.keys() - _OF_A_LINE:
        raise UsageError(f"{_SPELLINGS[key.replace('_', '-')].spellings[0]} is not for one line of a batch")
    return read_said(said)


def _beginnings(words: Sequence[Word]) -> Iterator[tuple[Word, tuple[str, ...]]]:
    """The options up to each one, and the first word of that one."""
    starts = [n for n, word in enumerate(words) if n == 0 or word.text.startswith("-")]
    for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
        yield words[start], tuple(word.text for word in words[:end])


def _spelled(word: str) -> str:
    """An option by the name of its setting, as tables write it, in the spelling of the command line."""
    found = re.fullmatch(r"--(?:no-)?([a-z0-9-]+)(?:=(.*))?", word, re.DOTALL)
    flag = _SPELLINGS.get(found[1]) if found else None
    if found is None or flag is None:
        return word
    longest = next(spelling for spelling in flag.spellings if spelling.startswith("--")).split("/")[0]
    if flag.kind is bool:
        switch = _SWITCHES.get((found[2] or "yes").casefold()) if not word.startswith("--no-") else "--no-{}"
        return word if switch is None else switch.format(longest[2:])
    return longest if found[2] is None else f"{longest}={found[2]}"


def _swept(command: Any, chosen: Sequence[tuple[str, str]]) -> Said:
    words = [Word(f"--{name}={value}", f"{name}={value}") for name, value in chosen]
    try:
        return read_words(command, words)
    except UsageError as error:
        place = getattr(error, "word", Word("", "")).place
        raise UsageError(f"--sweep {place}: {error.message}", hint=error.hint) from error


def _look(name: str | None) -> Preset:
    return find_look(name) if name else Preset("none", {})


def _near(preset: str | None, file: Path) -> str | None:
    """A preset's name as it is; one that is a file must lie beside the file of prompts. Raises: UsageError."""
    is_file = preset is not None and (re.search(r"[/\\]|\.(toml|json|png|jpe?g|webp)$", preset) is not None)
    return inside("preset", preset, file) if is_file else preset
