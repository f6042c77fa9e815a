"""How many CPU cores nobody else is using."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

SAMPLE_SECONDS = 0.2


@cache
def idle_cores() -> int:
    """The cores this process may use that are idle now, at least one; looked at once in the life of a process.

    Where the system does not tell (outside Linux), all of them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores == 1:
        return 1
    before = _idle_and_all()
    time.sleep(SAMPLE_SECONDS)
    after = _idle_and_all()
    if before is None or after is None or after[1] <= before[1]:
        return cores
    idle = (after[0] - before[0]) / (after[1] - before[1])
    return max(1, min(cores, round(idle * (os.cpu_count() or cores))))


def _idle_and_all() -> tuple[int, int] | None:
    """(idle, all) clock ticks of all cores since the start of the machine."""
    try:
        ticks = [int(part) for part in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return ticks[3] + ticks[4], sum(ticks)
