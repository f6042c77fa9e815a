"""Stopping where nothing improves any more: the loss, over windows of steps, against what was gained so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from vqclip.engine.canvas import State
from vqclip.events import Step

WINDOW = 25
PATIENCE = 2
LEAST_GAIN = 0.02


def until_plateau(
    events: Iterator[Step], finish: Callable[[State], Step], *, since: int = 0, window: int = WINDOW
) -> Iterator[Step]:
    """Passes a loop's events on and ends it early, with a last event of its own, once it has stopped improving.

    The mean loss of each `window` steps (single ones jump, as cutouts are drawn anew) is held against the best before
    it. Two windows in a row that bring less than a fiftieth of all that was gained since the first end the loop;
    finish(state) then makes the last event. Only steps from number `since` on count: before, the picture still changes
    its size, or is sketched over. The losses are read once per window: the only wait for the device.
    """
    losses: list[float] = []
    waiting: list[Tensor] = []
    poor = 0
    for event in events:
        if event.is_last:
            yield event
            return
        if event.index >= since:
            waiting.append(event.loss)
        if len(waiting) == window:
            losses.append(float(torch.stack(waiting).mean()))
            waiting = []
            poor = 0 if _improves(losses) else poor + 1
            if poor == PATIENCE:
                last = finish(event.state())
                yield replace(last, steps=last.index)
                return
        yield event


def _improves(losses: list[float]) -> bool:
    """Whether the latest window's mean is better than the best before it by enough."""
    if len(losses) < 2:
        return True
    best, latest = min(losses[:-1]), losses[-1]
    return latest < best and best - latest > LEAST_GAIN * (losses[0] - latest)
