"""The state of a loop on disk, so that a stopped run goes on exactly where it was: safetensors with a JSON outline."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqclip.errors import OutputError, UsageError
from vqclip.sinks.publish import output_error, publish

if TYPE_CHECKING:
    from torch import Tensor

    from vqclip.events import Step

FORMAT = "vqclip-state"
SCHEMA = 1


def save_state(path: Path, state: Mapping[str, Any], *, recipe: Mapping[str, Any] | None = None) -> None:
    """Writes a state to `path` in one piece and keeps the one before it as `path` + `.old`, in case this one is lost.

    A state is nested dicts, lists and tuples of tensors, numbers, strings, booleans and None; it comes back as it is.

    Raises: OutputError; TypeError for any other kind of value.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    outline = {"format": FORMAT, "schema": SCHEMA, "state": _outline(dict(state), tensors), "recipe": recipe}
    data = save(tensors, metadata={"vqclip": json.dumps(outline)})
    try:
        _keep(path)
    except OSError as error:
        raise output_error(error, path) from error
    publish(path, data, overwrite=True)


def load_state(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """(the state, its recipe) from `path`, or from the one before it if that is damaged or was never finished.

    Tensors come back on the CPU. The files are data only: reading them runs nothing.

    Raises: UsageError if neither can be read.
    """
    problems = []
    for candidate in (path, _older(path)):
        try:
            return _read(candidate)
        # safetensors and json answer damage with several kinds of exception, and the older file may still be good.
        except Exception as error:
            problems.append(error)
    if not path.exists():
        raise UsageError(f"there is no saved state {str(path)!r}") from problems[0]
    raise UsageError(f"{str(path)!r} is not a saved state, or is damaged: {problems[0]}") from problems[0]


def read_recipe_of_state(path: Path) -> dict[str, Any]:
    """The recipe that lies in a state, or in the one before it if that is damaged; loads no torch.

    Raises: UsageError if neither can be read or holds one.
    """
    from safetensors import safe_open

    for candidate in (path, _older(path)):
        with contextlib.suppress(Exception):  # as in `load_state`
            with safe_open(candidate, framework="numpy") as file:
                recipe = _outline_of(file)["recipe"]
            if isinstance(recipe, dict):
                return recipe
    if not path.exists():
        raise UsageError(f"there is no saved state {str(path)!r}")
    raise UsageError(f"{str(path)!r} is no saved state of a picture, or is damaged")


class SaveState:
    """Saves the loop's state every n-th step, so that even a power cut loses little."""

    def __init__(self, path: Path, *, every: int, recipe: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self._every = every
        self._recipe = recipe

    def __call__(self, event: Step) -> None:
        """Saves the state if its turn has come. Raises: OutputError."""
        if event.index and event.index % self._every == 0 and not event.is_last:
            save_state(self._path, event.state(), recipe=self._recipe)


def remove_state(path: Path) -> None:
    """Removes a state that is no longer needed, and the one before it. Raises: OutputError."""
    try:
        path.unlink(missing_ok=True)
        _older(path).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {str(path)!r}: {error.strerror}") from error


def _keep(path: Path) -> None:
    """Gives the present state its second name. It keeps the first one too, so that there is one at every moment."""
    if not path.exists():
        return
    _older(path).unlink(missing_ok=True)
    try:
        os.link(path, _older(path))
    except FileNotFoundError:
        return  # another run of the same job has finished, and taken it away
    except OSError:
        # No hard links on this disk.
        path.replace(_older(path))


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".old")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    from safetensors import safe_open

    with safe_open(path, framework="pt", device="cpu") as file:
        outline = _outline_of(file)
        # A clone, because what safe_open gives may lie in the mapped file, which the next save replaces.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    return _filled(outline["state"], tensors), outline["recipe"]


def _outline_of(file: Any) -> dict[str, Any]:
    outline = json.loads((file.metadata() or {})["vqclip"])
    if (outline["format"], outline["schema"]) != (FORMAT, SCHEMA):
        raise ValueError(f"it is of the kind {outline['format']!r}, schema {outline['schema']!r}")
    return outline


def _outline(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The JSON form of a value: a list whose first item names the kind. Tensors go aside, under running numbers."""
    import torch

    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return ["tensor", name]
    if isinstance(value, Mapping):
        return ["dict", [[_outline(key, tensors), _outline(item, tensors)] for key, item in value.items()]]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [_outline(item, tensors) for item in value]]
    raise TypeError(f"a state cannot hold a {type(value).__name__}")


def _filled(outline: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(outline, list):
        return outline
    kind, content = outline
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_filled(key, tensors): _filled(item, tensors) for key, item in content}
    items = [_filled(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items
