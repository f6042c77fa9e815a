"""Small files from strangers (yaml configs, config headers), read with limits and checked value by value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from vqclip.configs import VQGANConfig
from vqclip.errors import ModelError
from vqclip.words import clean

MOST_YAML_BYTES = 64 * 1024
_LARGEST = {
    "channels": 1024,
    "blocks": 16,
    "latent_channels": 4096,
    "embedding_channels": 4096,
    "codes": 2**20,
    "in_channels": 64,
    "out_channels": 64,
}
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
    try:
        with path.open("rb") as file:
            data = file.read(MOST_YAML_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > MOST_YAML_BYTES:
        raise ModelError(f"{path.name} is refused: a config of more than 64 KB")
    try:
        document = yaml.load(data.decode("utf-8-sig"), Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        reason = clean(str(getattr(error, "problem", None) or error).splitlines()[0])[:120]
        raise ModelError(f"{path.name} is not a plain yaml config: {reason}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path.name} is not a config: it holds no settings by name")
    return document


def whole(value: Any, name: str, largest: int, label: str) -> int:
    """Checks that a value is a whole number from 1 to `largest`. Raises: ModelError naming it."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise ModelError(f"{label}: {name} is {_shown(value)}, not a whole number from 1 to {largest:,}")
    return value


def wholes(value: Any, name: str, largest: int, label: str) -> tuple[int, ...]:
    """Checks a list of at most 8 whole numbers from 0 to `largest`. Raises: ModelError naming it."""
    if not isinstance(value, list | tuple) or len(value) > MOST_LEVELS:
        raise ModelError(f"{label}: {name} is {_shown(value)}, not a list of at most {MOST_LEVELS} numbers")
    return tuple(number if number == 0 else whole(number, name, largest, label) for number in value)


def checked_config(values: Mapping[str, Any], label: str) -> VQGANConfig:
    """A VQGANConfig from values that nobody has checked. Raises: ModelError naming the first one that is wrong."""
    known = {field.name for field in fields(VQGANConfig)}
    for name in values:
        if name not in known:
            raise ModelError(f"{label}: unknown entry {_shown(name)}", hint="it may need a newer version of vqclip")
    config: dict[str, Any] = {}
    for name, value in values.items():
        if name in _LARGEST:
            config[name] = whole(value, name, _LARGEST[name], label)
        elif name == "multipliers":
            config[name] = tuple(whole(n, name, LARGEST_MULTIPLIER, label) for n in wholes(value, name, 64, label))
        elif name == "attention_levels":
            config[name] = wholes(value, name, MOST_LEVELS, label)
        elif name == "middle_attention" and not isinstance(value, bool):
            raise ModelError(f"{label}: {name} is {_shown(value)}, not true or false")
        elif name == "quantizer" and value not in ("l2", "gumbel", "unit"):
            raise ModelError(f"{label}: unknown kind of codebook {_shown(value)}")
        else:
            config[name] = value
    if not config.get("multipliers", (1,)):
        raise ModelError(f"{label}: multipliers is empty")
    return VQGANConfig(**config)


def _shown(value: Any) -> str:
    return clean(repr(value)[:80])
