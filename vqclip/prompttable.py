"""Tables of prompts: rows of CSV, JSON lines and TOML, with each cell written as the option it stands for."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vqclip.words import counted

MOST = 10**18
Spot = tuple[int, int | str]


@dataclass(frozen=True)
class Word:
    """A word of an option, and where it stands: a column counted from 1, or the name of a table's column.

    line is None on that of its row; a key of TOML has its own.
    """

    text: str
    place: int | str
    line: int | None = None


@dataclass(frozen=True)
class Row:
    """One line of a file: a prompt and the words of its options. An option of a table is one word, `--key=value`."""

    line: int
    prompt: str
    options: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file of prompts, and where."""

    line: int
    place: int | str | None
    text: str

    def __str__(self) -> str:
        spot = f", column {self.place}" if isinstance(self.place, int) else f", {self.place}" if self.place else ""
        return f"line {self.line}{spot}: {self.text}"


@dataclass(frozen=True)
class Rows:
    """All rows of a file, and all its problems."""

    rows: list[Row]
    problems: list[Problem]


def read_csv(text: str) -> Rows:
    """A table whose first line names its columns, `prompt` among them; cut at commas, semicolons or tabs."""
    found = Rows([], [])
    header_line = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                pass
            elif not names:
                names = [cell.strip() for cell in cells]
                if not _names_are_good(names, found, line):
                    break
            elif len(cells) > len(names):
                complain(
                    found, line, None, f"{len(cells)} cells, but the first line names {counted(len(names), 'column')}"
                )
            else:
                _add(found, line, dict(zip(names, map(str.strip, cells), strict=False)), {})
            line = reader.line_num + 1
    except csv.Error as error:
        complain(found, line, None, f"not a CSV table: {error}")
    return found


def read_jsonl(text: str) -> Rows:
    """A JSON object a line, `{"prompt": ..., "steps": 50}`, or only a prompt as a JSON string."""
    found = Rows([], [])
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            complain(found, number, error.colno, f"not JSON: {error.msg}")
            continue
        except (RecursionError, ValueError):
            complain(found, number, 1, "nested too deeply, or a number too long, to be JSON for pictures")
            continue
        values = {"prompt": values} if isinstance(values, str) else values
        if not isinstance(values, dict):
            complain(found, number, 1, 'neither an object {"prompt": ...} nor a string')
            continue
        _add(found, number, values, {key: (number, line.find(json.dumps(key)) + 1 or key) for key in values})
    return found


def read_toml(text: str) -> Rows:
    """A table `[[picture]]` for each picture; what stands above the first holds for all."""
    from vqclip.tomlplaces import key_places

    found = Rows([], [])
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = map(int, where.groups()) if where else _end_of(text)
        complain(found, line, column, f"not TOML: {str(error).split(' (at ')[0]}")
        return found
    except (RecursionError, ValueError):
        complain(found, 1, None, "nested too deeply, or a number too long, to be TOML for pictures")
        return found
    pictures, places = document.pop("picture", []), key_places(text)
    first = places.get(("picture",), (1, "picture"))
    if not isinstance(pictures, list) or not all(isinstance(values, dict) for values in pictures):
        complain(found, *first, "write one table [[picture]] for each picture")
        return found
    above = {key: places.get((key,)) or places.get((key, 0)) or (1, key) for key in document}
    for key in [key for key, value in document.items() if _is_tables(value)]:
        del document[key]
        complain(found, *above.pop(key), f"[[{key}]] is nothing here; write [[picture]] for each picture")
    for number, values in enumerate(pictures):
        table = "picture", number
        line, inside = (places[table][0], "") if table in places else (first[0], f"picture {number + 1}, ")
        own = {key: places.get((*table, key), (line, f"{inside}{key}")) for key in values}
        _add(found, line, {**document, **values}, {**above, **own})
    return found


def complain(rows: Rows, line: int, place: int | str | None, text: str) -> None:
    """Adds a problem."""
    rows.problems.append(Problem(line, place, text))


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict) for one in value)


def _end_of(text: str) -> tuple[int, int]:
    """The line and column behind a text."""
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def _add(found: Rows, line: int, values: Mapping[str, Any], places: Mapping[str, Spot]) -> None:
    """Adds the row of a table, or what is wrong with it. places says on which line and where a key stands, if known."""
    prompt = values.get("prompt", "")
    wrong = [] if isinstance(prompt, str) else [("prompt", "a prompt is text")]
    words = []
    for key, value in values.items():
        if key != "prompt":
            at, place = places.get(key, (line, key))
            try:
                words += [Word(text, place, None if at == line else at) for text in _options(key, value)]
            except ValueError as error:
                wrong.append((key, str(error)))
    for key, text in wrong:
        complain(found, *places.get(key, (line, key)), text)
    if not wrong:
        found.rows.append(Row(line, prompt, tuple(words)))


def _options(key: str, value: Any) -> Iterator[str]:
    """The option that a cell stands for; an empty cell says nothing. Raises: ValueError."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,40}", key):
        raise ValueError("this is no name of a setting")
    flag = key.replace("_", "-")
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, bool):
            yield f"--{flag}" if one else f"--no-{flag}"
        elif (isinstance(one, int) and abs(one) < MOST) or (isinstance(one, float) and math.isfinite(one)):
            yield f"--{flag}={one}"
        elif isinstance(one, str):
            if one:
                yield f"--{flag}={one}"
        elif one is not None:
            raise ValueError("a value is text, a number of sensible size, true or false, or a list of these")


def _names_are_good(names: list[str], found: Rows, line: int) -> bool:
    if "prompt" not in names:
        complain(found, line, None, "the first line must name the columns, `prompt` among them")
        return False
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        complain(found, line, twice[0] or None, "two columns have this name")
    return not twice
