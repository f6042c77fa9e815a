"""How far the painting is, for people (a bar, or now and then a line) and for programs (JSON lines)."""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from vqclip.sinks.play import Sink, StopFlag, first_of
from vqclip.words import clean, counted

if TYPE_CHECKING:
    from vqclip.events import Step

# Reading a loss waits for the device, so it is read only as often as eyes can follow.
_SHOW_SECONDS = 0.25
_LINE_SECONDS = 30.0
_PACE_STEPS = 50
_TITLE_LENGTH = 40
_FACTS_WIDTH = 66


@dataclass(frozen=True)
class Report:
    """What is known at one step: the loss is None if not finite; times in seconds, None before the second step.

    Steps are counted from 0, the frames of a film from 1.
    """

    step: int
    steps: int
    loss: float | None
    skipped: int
    seconds_per_step: float | None
    seconds_left: float | None
    unit: str = "step"

    def __str__(self) -> str:
        parts = [f"{self.unit} {self.step}/{self.steps}", "loss " + ("-" if self.loss is None else f"{self.loss:.4f}")]
        if self.seconds_per_step is not None and self.seconds_left is not None:
            parts.append(f"{self.seconds_per_step:.2f} s/{self.unit}")
            parts.append(f"{duration(self.seconds_left)} left")
        if self.skipped:
            parts.append(f"{counted(self.skipped, 'step')} skipped, their loss was not a number")
        return ", ".join(parts)


class Pace:
    """Measures the time of a step as the median of the last few, so that one slow step does not shake the forecast."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: deque[float] = deque(maxlen=_PACE_STEPS)
        self._before: tuple[int, float] | None = None

    def tick(self, event: Step) -> float:
        """Notes that this event has come, and says when: the clock's seconds."""
        now = self._clock()
        if self._before is not None and event.index > self._before[0]:
            self._seconds.append(max(0.0, now - self._before[1]) / (event.index - self._before[0]))
        self._before = event.index, now
        return now

    def report(self, event: Step) -> Report:
        """All that can be said at this event; this is where the losses are read from the device."""
        loss = float(event.loss)
        pace = statistics.median(self._seconds) if self._seconds else None
        unit = getattr(event, "unit", "step")
        first = first_of(event)
        return Report(
            step=event.index + first,
            steps=event.steps + first,
            loss=loss if math.isfinite(loss) else None,
            skipped=int(event.skipped),
            seconds_per_step=pace,
            seconds_left=None if pace is None else pace * max(0, event.steps - event.index),
            unit=unit,
        )


def progress(
    title: str,
    *,
    stream: TextIO | None = None,
    quiet: bool = False,
    json_lines: bool = False,
    stop: StopFlag | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Sink:
    """The listener that fits where it is shown: a bar on a terminal, else a line every half minute; or JSON lines.

    `title` says what is being painted and may be any text. Everything goes to `stream`, by default the standard
    error; a stream that goes away (a closed terminal) ends the showing, never the painting.
    """
    stream = stream or sys.stderr
    if quiet:
        return _nothing
    if json_lines:
        return _Lines(_as_json, stream, Pace(clock), every=_SHOW_SECONDS, first=True)
    title = _short(title)
    console = Console(file=stream)
    if stream.isatty() and console.is_terminal and not console.is_dumb_terminal:
        return _Bar(title, console, Pace(clock), stop)
    return _Lines(lambda report: f"{title}: {report}", stream, Pace(clock), every=_LINE_SECONDS, first=False)


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class _Lines:
    """Writes a line when `every` seconds have passed, and one for the last event seen."""

    def __init__(
        self, write: Callable[[Report], str], stream: TextIO, pace: Pace, *, every: float, first: bool
    ) -> None:
        self._write = write
        self._stream = stream
        self._pace = pace
        self._every = every
        self._next = -math.inf if first else None
        self._unsaid: Step | None = None

    def __call__(self, event: Step) -> None:
        now = self._pace.tick(event)
        self._next = now + self._every if self._next is None else self._next
        self._unsaid = event
        if now >= self._next or event.is_last:
            self._say()
            self._next = now + self._every

    def close(self) -> None:
        self._say()

    def _say(self) -> None:
        if self._unsaid is not None:
            with suppress(OSError, ValueError):
                print(self._write(self._pace.report(self._unsaid)), file=self._stream, flush=True)
            self._unsaid = None


class _Bar:
    """A moving bar; the facts beside it are read anew a few times a second."""

    def __init__(self, title: str, console: Console, pace: Pace, stop: StopFlag | None) -> None:
        self._pace = pace
        self._next = -math.inf
        # The facts come first: on a narrow terminal the title is cut and the bar is short.
        room = max(10, console.width - _FACTS_WIDTH)
        column = Column(no_wrap=True, overflow="ellipsis", max_width=room)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=column),
            BarColumn(bar_width=10 if console.width < 110 else 24),
            _Facts(stop),
            console=console,
            refresh_per_second=4,
            # What is printed to the standard output is data, and must not be drawn into the bar's stream.
            redirect_stdout=False,
        )
        self._task = self._bar.add_task(title, total=None, facts="")

    def __call__(self, event: Step) -> None:
        now = self._pace.tick(event)
        if now < self._next and not event.is_last:
            return
        self._next = now + _SHOW_SECONDS
        report = self._pace.report(event)
        with suppress(OSError, ValueError):
            self._bar.start()
            done, total = (report.step, report.steps) if report.steps else (1, 1)
            self._bar.update(self._task, completed=done, total=total, facts=str(report))

    def close(self) -> None:
        with suppress(OSError, ValueError):
            self._bar.stop()


class _Facts(ProgressColumn):
    """The words right of the bar; after a signal, that it has been heard."""

    def __init__(self, stop: StopFlag | None) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._stop = stop

    def render(self, task: Task) -> Text:
        facts: Any = task.fields["facts"]
        return Text(f"{facts}, stopping after this step (again to quit at once)" if self._stop else str(facts))


def _nothing(event: object) -> None:
    pass


def _as_json(report: Report) -> str:
    values = asdict(report)
    return json.dumps({"event": values.pop("unit"), **values})


def _short(title: str) -> str:
    words = clean(title).replace("\n", " ")
    return words if len(words) <= _TITLE_LENGTH else words[: _TITLE_LENGTH - 1].rstrip() + "…"
