"""How many CPU threads a picture is painted with: a fixed number for a machine, whatever else runs on it."""

from __future__ import annotations

import math
import os
from pathlib import Path

MOST_THREADS = 8


def share_cores() -> None:
    """Makes threads that wait for one another sleep instead of spin; call it before torch is loaded.

    A spinning thread keeps a core from the very thread it waits for as soon as other work shares the cores: two threads
    beside a busy core then took up to twelve times as long as one, and with this no longer than one. What the caller's
    environment says about it stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def usual_threads() -> int:
    """The threads to paint with where nobody says: the physical cores this process may use, at most MOST_THREADS.

    Never by what is idle now: another number of threads adds in another order, which changes a picture's last bits.
    """
    return max(1, min(_physical_cores(allowed_cores()), _quota(), MOST_THREADS))


def allowed_cores() -> set[int]:
    """The numbers of the logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical_cores(logical: set[int], root: Path = Path("/sys/devices/system/cpu")) -> int:
    """Of these logical cores, those that are cores of their own; all of them where the system does not tell."""
    siblings = set()
    for number in logical:
        try:
            siblings.add((root / f"cpu{number}" / "topology" / "thread_siblings_list").read_text(encoding="ascii"))
        except OSError:
            return len(logical)
    return len(siblings)


def _quota(path: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """How many cores' time a container grants, rounded up; a large number where there is no limit."""
    try:
        granted, period = path.read_text(encoding="ascii").split()
        return math.ceil(int(granted) / int(period))
    except (OSError, ValueError):
        return 1 << 20
