"""Small files from strangers (yaml and json configs), read with limits, and the checks of the values in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from vqclip.errors import ModelError
from vqclip.smallfiles import read_small
from vqclip.words import clean

MOST_YAML_BYTES = 64 * 1024
MOST_LEVELS = 8
LARGEST_MULTIPLIER = 64


class _PlainLoader(yaml.SafeLoader):
    """Plain data only: no tags that build objects, no aliases that could multiply a small file into a huge one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a yaml config of at most 64 KB as plain data.

    Raises: ModelError if it is missing, too large, not yaml, not a mapping, or asks for anything but plain data.
    """
    path = Path(path)
    data = read_small(path, MOST_YAML_BYTES, ModelError)
    try:
        document = yaml.load(data.decode("utf-8-sig"), Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        reason = clean(str(getattr(error, "problem", None) or error).splitlines()[0])[:120]
        raise ModelError(f"{path.name} is not a plain yaml config: {reason}") from error
    return _by_name(document, path)


def read_document(path: str | Path) -> dict[str, Any]:
    """Reads a config of at most 64 KB as plain data: json if its name ends so, else yaml. Raises: as `read_yaml`."""
    path = Path(path)
    if path.suffix.lower() != ".json":
        return read_yaml(path)
    try:
        document = json.loads(read_small(path, MOST_YAML_BYTES, ModelError))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path.name} is not a json config") from error
    return _by_name(document, path)


def _by_name(document: Any, path: Path) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ModelError(f"{path.name} is not a config: it holds no settings by name")
    return document


def whole(value: Any, name: str, largest: int, label: str) -> int:
    """Checks that a value is a whole number from 1 to `largest`. Raises: ModelError naming it."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise ModelError(f"{label}: {name} is {shown(value)}, not a whole number from 1 to {largest:,}")
    return value


def wholes(value: Any, name: str, largest: int, label: str, *, most: int = MOST_LEVELS) -> tuple[int, ...]:
    """Checks a list of at most `most` whole numbers from 0 to `largest`. Raises: ModelError naming it."""
    if not isinstance(value, list | tuple) or len(value) > most:
        raise ModelError(f"{label}: {name} is {shown(value)}, not a list of at most {most} numbers")
    return tuple(0 if number == 0 else whole(number, name, largest, label) for number in value)


def shown(value: Any) -> str:
    """A value that nobody has checked, short and fit for a sentence."""
    return clean(repr(value)[:80])
