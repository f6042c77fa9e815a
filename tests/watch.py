"""A watch over calls that may meet damaged files: too slow, or too much memory, is a failure."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

SECONDS, MEGABYTES = 10, 1024


@contextlib.contextmanager
def watched(seconds: float = SECONDS) -> Iterator[None]:
    """Fails what takes longer. An exception in the middle of a call, so that a hang ends too.

    Time spent waiting for a core that other programs hold does not count, where the system tells it.
    """
    began = own_seconds()

    def late(number: int, frame: FrameType | None) -> None:
        left = began + seconds - own_seconds()
        if left <= 0:
            raise AssertionError(f"took longer than {seconds} s")
        signal.setitimer(signal.ITIMER_REAL, max(left, 0.1))

    old = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def own_seconds() -> float:
    """A clock that stands still while this thread could run, but others have its core."""
    try:
        waited = int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        waited = 0.0
    return time.monotonic() - waited


@contextlib.contextmanager
def small(megabytes: int = MEGABYTES) -> Iterator[None]:
    """Fails what takes more memory at any moment than was taken before. Only Linux tells."""
    if not Path("/proc/self/clear_refs").exists():
        yield
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: other tests may have taken more
    before = _kilobytes("VmRSS")
    yield
    assert _kilobytes("VmHWM") - before < megabytes * 1024


def _kilobytes(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])
