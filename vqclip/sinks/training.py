"""How far a training is, a plain line now and then: trainings are long, and their logs are read later."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from vqclip.events import TrainStep
from vqclip.sinks.progress import duration


class TrainingLines:
    """Writes a line with the losses every `every` seconds of wall time, and at the end."""

    def __init__(
        self,
        title: str,
        *,
        stream: TextIO | None = None,
        every: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._stream = stream or sys.stderr
        self._every = every
        self._clock = clock
        self._started: tuple[int, float] | None = None
        self._shown = -every

    def __call__(self, event: TrainStep) -> None:
        """Takes one event, and writes a line if it is time."""
        now = self._clock()
        self._started = self._started or (event.index, now)
        if now - self._shown < self._every and not event.is_last:
            return
        self._shown = now
        first, began = self._started
        parts = [f"{self._title}: step {event.index}/{event.steps}"]
        parts += [f"{name} {value:.4g}" for name, value in event.losses.items()]
        if event.index > first:
            each = (now - began) / (event.index - first)
            parts += [f"{each:.2f} s/step", f"{duration(each * (event.steps - event.index))} left"]
        print(", ".join(parts), file=self._stream, flush=True)
