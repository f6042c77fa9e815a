"""Going on with a stopped run: where its state is kept, and whether a state belongs to what is to be painted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqclip.errors import UsageError
from vqclip.runs.recipe import make_recipe
from vqclip.settings import Delivery
from vqclip.sinks.names import numbered
from vqclip.sinks.state import load_state, remove_state

if TYPE_CHECKING:
    from vqclip.engine.canvas import State
    from vqclip.runs.parts import Parts

SUFFIX = ".state"


def with_state(delivery: Delivery, path: Path) -> Delivery:
    """A delivery that knows where its state is kept, if it is to be kept: beside the picture, under a free name."""
    if delivery.state or not delivery.state_every:
        return delivery
    n = 1
    while not delivery.overwrite and any(file.exists() for file in (numbered(path, n), beside(numbered(path, n)))):
        n += 1
    return delivery.model_copy(update={"state": str(beside(numbered(path, n)))})


def beside(path: Path) -> Path:
    """The state that belongs to a picture."""
    return path.with_name(path.name + SUFFIX)


def earlier_state(parts: Parts, delivery: Delivery, note: Callable[[str], None]) -> State | None:
    """The state that `delivery` names, if it is there: the run goes on from it.

    For a batch's job a state that is damaged, or of another kind of device, is dropped and the job begins anew.
    Raises: UsageError if the state of a single picture is damaged, or of another picture.
    """
    path = Path(delivery.state) if delivery.state else None
    if path is None or not any(file.exists() for file in (path, path.with_name(path.name + ".old"))):
        return None
    try:
        state, recipe = load_state(path)
        _require_fit(parts, recipe or {}, path)
    except UsageError as error:
        if not delivery.job:
            raise
        note(f"{error.message}; painted from its start")
        remove_state(path)
        return None
    note(f"goes on from step {state['step']}")
    return state


def _require_fit(parts: Parts, recipe: dict[str, Any], path: Path) -> None:
    """Raises: UsageError if a state was not made with these settings and these models."""
    now = make_recipe(parts.settings, parts.models)
    settings = recipe.get("settings") if isinstance(recipe.get("settings"), dict) else {}
    changed = sorted(
        key for key in now["settings"].keys() | settings.keys() if now["settings"].get(key) != settings.get(key)
    )
    if changed:
        raise UsageError(f"{path.name} was saved with another {changed[0]}", hint="a state goes on only as it began")
    if now["models"] != recipe.get("models") or now.get("files") != recipe.get("files"):
        raise UsageError(
            f"{path.name} was saved with other models or pictures", hint="name the files it was painted with"
        )
