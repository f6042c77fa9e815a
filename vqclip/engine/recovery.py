"""What to do when the loss stops being a number: back to the last good state at half the rate, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from vqclip.engine.canvas import State
from vqclip.errors import DivergedError
from vqclip.events import Step


def with_recovery(
    start: Callable[[State, float], Iterator[Step]], state: State, *, every: int = 25, tolerance: int = 5
) -> Iterator[Step]:
    """Passes a loop's events on, and looks now and then whether too many of its steps had to be skipped.

    start(state, factor) begins the loop from a state with its learning rate times factor. At every `every`-th event
    and at the last one the count of skipped steps is read (the only wait for the device): if it grew by more than
    `tolerance` (or by all of them) since the last look, the loop begins again from the state of that look at half the
    rate, so event numbers step back; the second time it gives up. A state remembers that the rate was halved.
    Raises: DivergedError, whose `last_good` is the event of the last look at which all was well.
    """
    factor = state.get("factor", 1.0)
    good: Step | None = None
    while True:
        events = start(state, factor)
        looked, seen = int(state["skipped"].sum()) if "skipped" in state else 0, 0
        for event in events:
            if seen and (event.is_last or seen >= every):
                skipped = int(event.skipped)
                if skipped - looked > min(tolerance, seen - 1):
                    break
                good, looked, seen, state = event, skipped, 0, event.state()
            good = good or event
            yield event if factor == 1 else _slowed(event, factor)
            seen += 1
        else:
            return
        if factor < 1:
            raise DivergedError(
                "the loss stopped being a number, also at half the learning rate",
                hint="try a smaller --lr or --dtype float32",
                last_good=good,
            )
        factor = 0.5


def _slowed(event: Step, factor: float) -> Step:
    return replace(event, state=lambda: {**event.state(), "factor": factor})
