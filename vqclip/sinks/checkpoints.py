"""Training checkpoints: the newest state of a training on disk, so that it can be killed and gone on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vqclip.events import TrainStep
from vqclip.sinks.state import load_state, save_state


class Checkpoint:
    """Saves what `state()` gives every so many steps and at the end. See `last_checkpoint` for going on."""

    def __init__(self, path: Path, state: Callable[[], Mapping[str, Any]], *, every: int) -> None:
        self._path = path
        self._state = state
        self._every = every
        self._unsaved: TrainStep | None = None

    def last(self) -> tuple[int, dict[str, Any]] | None:
        """(steps done, the parts' state) as they were saved last; see `last_checkpoint`."""
        return last_checkpoint(self._path)

    def __call__(self, event: TrainStep) -> None:
        """Saves if its turn has come. Raises: OutputError."""
        self._unsaved = event
        if event.index % self._every == 0 or event.is_last:
            self.close()

    def close(self) -> None:
        """Saves the last step, if it is not saved yet: a training that is stopped loses nothing."""
        if self._unsaved is not None:
            save_state(self._path, {"step": self._unsaved.index, "parts": dict(self._state())})
            self._unsaved = None


def last_checkpoint(path: Path) -> tuple[int, dict[str, Any]] | None:
    """(steps done, the parts' state) of a training, or None if it has not begun. Raises: UsageError if damaged."""
    if not path.exists():
        return None
    state, _ = load_state(path)
    return state["step"], state["parts"]
