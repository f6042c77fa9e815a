"""Gives memory back that loading no longer needs: what a weight file was mapped into, and what was freed."""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from typing import Any

from torch import Tensor

_PAGE_OUT = 21


def give_back(tensor: Tensor) -> None:
    """Lets the system take the pages on which a tensor of a mapped file lies.

    Without this a file that has been read once counts as memory until the end, next to the copy that is kept. Nothing
    is lost: who looks again reads from the disk again. Where the system has no word for it, nothing happens.
    """
    advise = _word("madvise")
    if advise is None or not tensor.numel() or tensor.device.type != "cpu":
        return
    last = sum((side - 1) * step for side, step in zip(tensor.shape, tensor.stride(), strict=True))
    start, end = tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    length = end // mmap.PAGESIZE * mmap.PAGESIZE - first
    if length > 0:
        advise(ctypes.c_void_p(first), ctypes.c_size_t(length), _PAGE_OUT)


def give_back_freed() -> None:
    """Lets the system take the memory that this process has freed and would keep for later, where there is a word."""
    trim = _word("malloc_trim")
    if trim is not None:
        trim(ctypes.c_size_t(0))


@cache
def _word(name: str) -> Any:
    """A function of Linux's C library, or None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
