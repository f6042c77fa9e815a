"""Drains a loop: every event goes to every sink, and a signal ends it between two events."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Protocol, TypeVar, runtime_checkable

E = TypeVar("E")

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@runtime_checkable
class Sink(Protocol):
    """Anything that takes events. If it also has a `close()`, that is called once at the end, whatever happened."""

    def __call__(self, event: Any, /) -> None:
        """Takes one event. Raises: what it must, usually OutputError; that ends the loop."""
        ...


class StopFlag:
    """Whether a signal has asked to stop, and which one; true as soon as one has.

    It also knows how far the run is, for who watches that it goes on: the place that was reached last, and when that
    was (by the monotonic clock).
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.place = ""
        self.heard = time.monotonic()

    def set(self, number: int) -> None:
        """Remembers the signal that asked first."""
        if self.signal is None:
            self.signal = number

    def reach(self, place: str) -> None:
        """Remembers how far the run is."""
        self.place, self.heard = place, time.monotonic()

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What the program ends with: 0 if nobody asked to stop, else 128 + the signal's number."""
        return 0 if self.signal is None else 128 + self.signal


class Interrupted(KeyboardInterrupt):
    """A second signal: stop at once, without waiting for the step. `exit_code` is 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextmanager
def signals() -> Iterator[StopFlag]:
    """While it is open, the first Ctrl-C, SIGTERM or SIGHUP sets the flag and the second raises Interrupted.

    A signal that was ignored before stays ignored (nohup, background jobs); the handlers of before come back after.
    Outside the main thread Python allows no handlers, and the flag stays down.
    """
    flag = StopFlag()

    def handle(number: int, frame: FrameType | None) -> None:
        if flag:
            raise Interrupted(number)
        flag.set(number)

    with ExitStack() as restore:
        if threading.current_thread() is threading.main_thread():
            for number in [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    restore.callback(signal.signal, number, before)
                    signal.signal(number, handle)
        yield flag


def play(events: Iterable[E], *sinks: Sink, stop: StopFlag | None = None) -> E | None:
    """Hands each event to each sink in order and returns the last one: the result, or where `stop` ended it.

    None means that there was no event at all, also because `stop` was set before the first. The loop and the sinks
    are closed whatever happens; an error of a sink ends the loop and is raised.
    """
    last: E | None = None
    with ExitStack() as at_end:
        for part in (*reversed(sinks), events):
            close = getattr(part, "close", None)
            if callable(close):
                at_end.callback(close)
        if not stop:
            for event in events:
                last = event
                if stop is not None:
                    stop.reach(_place(event))
                for sink in sinks:
                    sink(event)
                if stop:
                    break
    return last


def first_of(event: Any) -> int:
    """What a loop's first event is called: step 0 is before any painting, but frame 1 is a frame that is there."""
    return int(getattr(event, "unit", "step") == "frame")


def _place(event: Any) -> str:
    """An event in words, such as step 3 of 300, or frame 1 of 24."""
    index, last = getattr(event, "index", None), getattr(event, "steps", 0)
    first = first_of(event)
    place = f"{getattr(event, 'unit', 'step')} {event if index is None else index + first}"
    return f"{place} of {last + first}" if last + first else place
