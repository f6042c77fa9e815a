"""Everything the command line says: results to stdout, all else to stderr, and nothing as markup or escape codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqclip.words import clean

JSON_FLAG = "--json"


def result(path: Path | str) -> None:
    """Prints the path of a finished file, alone on a line of stdout, byte for byte."""
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    sys.stdout.buffer.flush()


def data(text: str) -> None:
    """Prints what was asked for (a table, a preset, a recipe) to stdout; what could steer a terminal is escaped."""
    sys.stdout.write(clean(text) + "\n")
    sys.stdout.flush()


def json_line(values: Mapping[str, Any]) -> None:
    """Prints one JSON object as one line of stdout, in plain ASCII."""
    sys.stdout.write(json.dumps(values, ensure_ascii=True, allow_nan=False, default=str) + "\n")
    sys.stdout.flush()


def table(values: Mapping[str, Any]) -> None:
    """Prints keys and values to stderr, one pair a line; what holds nothing is left out."""
    shown = {key: value for key, value in values.items() if value not in (None, "", [], ())}
    width = max(map(len, shown), default=0) + 2
    for key, value in shown.items():
        _line(f"{key:{width}}", "bold", ", ".join(map(str, value)) if isinstance(value, list) else str(value))


def note(text: str) -> None:
    """Prints a remark to stderr: something was rounded, drawn, left out."""
    _line("note: ", "cyan", text)


def trace(text: str) -> None:
    """Prints a bug's traceback to stderr; what could steer a terminal is escaped."""
    sys.stderr.write(clean(text))
    sys.stderr.flush()


def failure(message: str, hint: str | None, code: int, *, as_json: bool = False) -> None:
    """Prints an error, and its hint on a line of its own, to stderr; as one JSON object where that was asked for."""
    if as_json:
        sys.stderr.write(json.dumps({"error": message, "hint": hint, "code": code}) + "\n")
        return
    _line("error: ", "bold red", message)
    if hint:
        _line("hint: ", "yellow", hint)


def _line(label: str, style: str, text: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    try:
        console.print(Text.assemble((label, style), clean(text)), soft_wrap=True)
    except (OSError, SystemExit):  # a terminal or pipe that went away is no reason to lose a picture
        return
