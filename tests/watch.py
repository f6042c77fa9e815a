"""A watch over calls that may meet damaged files: too slow, or too much memory, is a failure."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

SECONDS, MEGABYTES = 10, 1024


@contextlib.contextmanager
def watched(seconds: int = SECONDS) -> Iterator[None]:
    """Fails what takes longer. An exception in the middle of a call, so that a hang ends too."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"took longer than {seconds} s")

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


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
