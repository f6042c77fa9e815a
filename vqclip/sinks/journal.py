"""The losses of every step as a small table, for those who want to plot them."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqclip.errors import UsageError
from vqclip.sinks.publish import output_error, publish

if TYPE_CHECKING:
    from torch import Tensor

    from vqclip.events import Step

# Reading a loss waits for the device, so they are read in bunches; a crash loses at most one bunch.
_BUNCH = 50


class Journal:
    """Writes step, loss and each objective's loss to a CSV or JSON-lines file, chosen by the suffix.

    `path` is the file it writes: the one asked for, or from the first event on a numbered one if that was taken.
    A loss that is not a number is left empty in CSV and is null in JSON.

    Raises: UsageError for another suffix.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in (".csv", ".jsonl"):
            raise UsageError(f"a journal cannot be written as {path.suffix!r}", hint="known: .csv, .jsonl")
        self.path = path
        self._rows: list[tuple[int, dict[str, Tensor]]] = []
        self._columns: list[str] | None = None

    def __call__(self, event: Step) -> None:
        """Keeps the losses of this event, and writes them when there are enough. Raises: OutputError."""
        self._rows.append((event.index, {"loss": event.loss, **event.losses}))
        if len(self._rows) >= _BUNCH or event.is_last:
            self._write()

    def close(self) -> None:
        """Writes what is still kept. Raises: OutputError."""
        self._write()

    def _write(self) -> None:
        rows = [{"step": index, **{k: _number(v) for k, v in losses.items()}} for index, losses in self._rows]
        self._rows = []
        if not rows:
            return
        table = self.path.suffix.lower() == ".csv"
        if self._columns is None:
            self._columns = list(rows[0])
            self.path = publish(self.path, _csv([self._columns]) if table else b"")
        if table:
            text = _csv([[row.get(column) for column in self._columns] for row in rows])
        else:
            text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        try:
            with self.path.open("ab") as file:
                file.write(text)
        except OSError as error:
            raise output_error(error, self.path) from error


def _number(loss: Tensor) -> float | None:
    value = float(loss)
    return value if math.isfinite(value) else None


def _csv(rows: list[list[Any]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()
