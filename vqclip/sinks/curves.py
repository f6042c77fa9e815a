"""The losses of a training on disk: a CSV with a row for each step, and a plot that is drawn anew now and then."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path

from vqclip.errors import OutputError
from vqclip.events import TrainStep
from vqclip.sinks.plot import Points, draw_curves
from vqclip.sinks.publish import publish

MOST_POINTS = 2000


class LossCurves:
    """Keeps `path`.csv and draws `path`.png every so many steps and at the end.

    A training that goes on keeps the rows of the steps before its first. What cannot be written is given up with one
    note: curves are no reason to lose a training.
    """

    def __init__(
        self, path: Path, *, every: int, title: str = "", on_note: Callable[[str], None] | None = None
    ) -> None:
        self._path = path
        self._every = every
        self._title = title
        self._on_note = on_note
        self._given_up = False
        self._unsaved = False
        self._rows = read_losses(path.with_suffix(".csv"))

    def __call__(self, event: TrainStep) -> None:
        """Takes one event, and writes both files if it is time."""
        while self._rows and self._rows[-1][0] >= event.index:
            self._rows.pop()
        self._rows.append((event.index, dict(event.losses)))
        self._unsaved = True
        if event.index % self._every == 0 or event.is_last:
            self.close()

    def close(self) -> None:
        """Writes what is not written yet."""
        if self._given_up or not self._unsaved:
            return
        try:
            publish(self._path.with_suffix(".csv"), self._table().encode(), overwrite=True, durable=False)
            data = io.BytesIO()
            draw_curves(self._curves(), title=self._title).save(data, format="PNG")
            publish(self._path.with_suffix(".png"), data.getvalue(), overwrite=True, durable=False)
        except OutputError as error:
            self._given_up = True
            if self._on_note:
                self._on_note(f"no more curves: {error.message}")
        self._unsaved = False

    def _names(self) -> list[str]:
        return list(dict.fromkeys(name for _, losses in self._rows for name in losses))

    def _table(self) -> str:
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        names = self._names()
        out.writerow(["step", *names])
        out.writerows([step, *(repr(losses[n]) if n in losses else "" for n in names)] for step, losses in self._rows)
        return text.getvalue()

    def _curves(self) -> dict[str, Points]:
        each = math.ceil(len(self._rows) / MOST_POINTS)
        rows = [*self._rows[::each], self._rows[-1]]
        return {name: [(step, losses[name]) for step, losses in rows if name in losses] for name in self._names()}


def read_losses(path: Path) -> list[tuple[int, dict[str, float]]]:
    """(step, losses) of every row that an earlier run wrote; what cannot be read is as if it were not there."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        return [(int(row.pop("step")), {name: float(v) for name, v in row.items() if v}) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []
