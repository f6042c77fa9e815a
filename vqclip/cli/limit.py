"""`--timeout`: when the time is over a run stops in good order, and if its step hangs the process is ended."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vqclip.cli import say
from vqclip.errors import UsageError

if TYPE_CHECKING:
    from vqclip.cli.options import Asked
    from vqclip.sinks.play import StopFlag

PATIENCE = 600.0  # seconds that the last step, its picture or a film's encoding may take once the time is over
LOOK_SECONDS = 0.5
SAYING = 5.0  # seconds that the last words may take, if nobody reads them
ENDED = signal.SIGTERM

_NUMBER = r"([\d.]{1,9})\s*"
_SPAN = re.compile(rf"(?:{_NUMBER}h\s*)?(?:{_NUMBER}m(?:in)?\s*)?(?:{_NUMBER}(s?))?")


def seconds_of(text: str) -> float:
    """A span of time in seconds: 90, 90 s, 90m, 2h, 2 h 30 min. Raises: UsageError, also for 1h30: 30 of what?"""
    found = _SPAN.fullmatch(text.casefold().strip())
    *parts, unit = found.groups() if found else (None,) * 4
    try:
        hours, minutes, seconds = (float(part or 0) for part in parts)
    except ValueError:
        hours = minutes = seconds = 0
    total = 3600 * hours + 60 * minutes + seconds
    if not total > 0:
        raise UsageError(f"--timeout {text!r:.80} is no span of time", hint="write seconds, or 90m, or 2h")
    if unit == "" and (parts[0] or parts[1]):
        hint = f"write {'s' if parts[1] else 'm, or s,'} behind it"
        raise UsageError(f"--timeout {text!r:.80} does not say the unit of its last number", hint=hint)
    return total


@contextmanager
def limited(asked: Asked) -> Iterator[StopFlag]:
    """Listens to signals as `signals` does; the flag goes up also when the time that was asked for is over."""
    from vqclip.sinks.play import signals

    over = threading.Event()
    with signals() as stop:
        if asked.timeout is not None:
            threading.Thread(target=_watch, args=(asked, asked.timeout, stop, over), daemon=True).start()
        try:
            yield stop
        finally:
            over.set()


def _watch(asked: Asked, timeout: float, stop: StopFlag, over: threading.Event) -> None:
    """Waits for the end of the time, then for that of the run, and ends the process if there is nothing to wait for."""
    if over.wait(timeout):
        return
    late = time.monotonic()
    stop.set(ENDED)
    if not asked.delivery.quiet:  # apart, for a terminal that takes no words must not end the watch
        words = "the time is over: stopping after this step"
        threading.Thread(target=say.note, args=(words,), daemon=True).start()
    while not over.wait(LOOK_SECONDS):
        if time.monotonic() - max(late, stop.heard) > PATIENCE:
            _end(stop, as_json=asked.delivery.json_lines)


def _end(stop: StopFlag, *, as_json: bool) -> None:
    """Ends the workers, says why, and ends this process, also where nobody listens."""
    for child in multiprocessing.active_children():
        child.kill()
    last = f"the last was {stop.place}" if stop.place else "there was none before"
    said = f"the time is over, and no step came to its end for {PATIENCE:.0f} s: {last}"
    hint = "what was saved before is whole; `vqclip doctor` checks the machine"
    how = {"as_json": as_json}
    words = threading.Thread(target=say.failure, args=(said, hint, 128 + ENDED), kwargs=how, daemon=True)
    words.start()
    words.join(SAYING)
    os._exit(128 + ENDED)
