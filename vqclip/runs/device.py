"""What a run computes on: its device, its threads, and what is said when memory runs out."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vqclip.engine.thrift import is_out_of_memory
from vqclip.errors import MemoryFullError, UsageError
from vqclip.runs.cores import usual_threads
from vqclip.runs.free import is_limited
from vqclip.runs.inputs import read_devices
from vqclip.runs.parts import choose_device

REMEDIES = "try --micro-batch 4 --lean, fewer --cutouts, or a smaller --size"
MMAP_THRESHOLD = -3  # glibc's name for it in mallopt
LARGE_BLOCK = 2**20


def usable_device(name: str) -> torch.device:
    """The device of a name, tried out. Raises: UsageError if there is none here."""
    try:
        device = choose_device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"there is no device {name!r} here", hint="known: auto, cpu, cuda, cuda:1, mps") from error
    return device


def usable_devices(text: str) -> list[torch.device]:
    """The devices of a list such as "cuda:0,cuda:1", tried out; the first one paints. Raises: UsageError."""
    return [usable_device(name) for name in read_devices(text)]


@contextmanager
def memory_errors(work: str = "picture", remedies: str = REMEDIES) -> Iterator[None]:
    """Turns what torch and Python raise when memory runs out into MemoryFullError with remedies.

    Where the process has a limit, large blocks go back to the system as soon as they are free from here on.
    """
    if is_limited():
        give_back_at_once()
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryFullError(f"not enough memory for this {work}", hint=remedies) from error


def give_back_at_once() -> None:
    """Lets C's allocator give back large blocks when they are freed, where it can be told so (glibc).

    By itself it keeps them in pieces that no other shape fits into, so that under a limit a step that ran out of memory
    would do so again in half the memory.
    """
    try:
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, LARGE_BLOCK)
    except (AttributeError, OSError, TypeError):  # another C library; Windows has no name for it
        return


def set_threads(wanted: int | None) -> int:
    """Sets the number of CPU threads and gives it: what was asked for, else what is usual on this machine.

    Their number can change the last bits of a picture; the recipe keeps it.
    """
    threads = wanted or usual_threads()
    torch.set_num_threads(threads)
    return threads
