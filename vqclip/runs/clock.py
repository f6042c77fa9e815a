"""Measures how fast a picture is painted, for the estimates of the next ones."""

from __future__ import annotations

import time
from itertools import pairwise

from vqclip.engine.thrift import Thrift
from vqclip.events import Step
from vqclip.runs.estimate import key_of, work_of
from vqclip.runs.rates import Measured, remember
from vqclip.settings import Delivery, Settings

FEWEST = 5


class Clock:
    """A sink that takes the times of steps at full size, and keeps their median when the loop ends.

    Nothing is kept where the thrift made steps other than the settings say.
    """

    def __init__(self, settings: Settings, delivery: Delivery, thrift: Thrift | None = None) -> None:
        self._settings, self._delivery, self._thrift = settings, delivery, thrift
        self._times: list[float] = []

    def __call__(self, event: Step) -> None:
        """Takes the time of one event; the last one has no step behind it."""
        full = event.image.shape[2:] == (self._settings.height, self._settings.width)
        if full and not event.is_last:
            self._times.append(time.monotonic())

    @property
    def seconds(self) -> float | None:
        """The median step, or None while there are too few."""
        steps = sorted(b - a for a, b in pairwise(self._times))
        return steps[len(steps) // 2] if len(steps) >= FEWEST else None

    def close(self) -> None:
        """Keeps what was measured."""
        work, seconds = work_of(self._settings), self.seconds
        as_said = self._thrift is None or not self._thrift.said
        if as_said and work is not None and seconds:
            remember(key_of(self._settings, self._delivery), Measured(work.decode, work.look, seconds))
