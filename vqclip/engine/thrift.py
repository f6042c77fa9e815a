"""What to do when memory runs out within a step: the same step again in less memory, twice, before giving up."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import torch

from vqclip.words import counted

T = TypeVar("T")

# torch's own words, C++'s, and those of the CPU's kernels, which do not say what they could not do it for
_SAYS_FULL = re.compile(
    r"allocate memory|out of memory|bad_alloc|could not (create a primitive|create a memory|execute a primitive)$"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is what torch or Python raise when memory runs out; torch has no one class for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(_SAYS_FULL.search(line) for line in str(error).lower().splitlines())


class Thrift:
    """How a loop spends memory: micro_batch pieces at a time (None = all), and whether the decoder works lean.

    When memory runs out it halves the pieces, the second time it makes the decoder lean, and it stays so. The gradient
    is the same up to rounding, and so are the random numbers, which are named by seed and step. `said` tells what was
    done, a sentence each.
    """

    def __init__(self, micro_batch: int | None = None, lean: bool = False) -> None:
        self.micro_batch = micro_batch
        self.lean = lean
        self.said: list[str] = []
        self._halved = False

    def spend(self, work: Callable[[int | None, bool], T], *, step: int, pieces: int) -> T:
        """Does a step's work(micro_batch, lean) on so many pieces, again in less memory if it must.

        Raises: what the work raises, once there is nothing left to save.
        """
        while True:
            try:
                return work(self.micro_batch, self.lean)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or not self._tighten(step, pieces):
                    raise
            # out of the handler, so that the frames of the failed try, and all they hold, are gone
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _tighten(self, step: int, pieces: int) -> bool:
        now = min(self.micro_batch or pieces, pieces)
        if not self._halved and now > 1:
            self._halved, self.micro_batch = True, (now + 1) // 2
            views = counted(self.micro_batch, "view")
            self.said.append(f"out of memory at step {step}: CLIP now looks at {views} at a time")
        elif not self.lean:
            self.lean = True
            self.said.append(f"out of memory at step {step}: the decoder now works lean")
        else:
            return False
        return True
