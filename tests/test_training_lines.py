"""The plain lines of a training: now and then, and at the end."""

from __future__ import annotations

import io

from vqclip.events import TrainStep
from vqclip.sinks.training import TrainingLines


def lines_of(indices: list[int], *, first_now: float = 100.0, each: float = 10.0, of: int = 50) -> list[str]:
    stream, now = io.StringIO(), [first_now]
    show = TrainingLines("clip", stream=stream, every=30.0, clock=lambda: now[0])
    for index in indices:
        show(TrainStep(index, of, {"loss": 1.23456, "heads": 0.5}, index * 8))
        now[0] += each
    return stream.getvalue().splitlines()


def test_a_line_comes_at_once_and_then_every_thirty_seconds() -> None:
    shown = lines_of(list(range(1, 8)))
    assert [line.split(",")[0] for line in shown] == [f"clip: step {index}/50" for index in (1, 4, 7)]
    assert "loss 1.235, heads 0.5" in shown[0]


def test_the_last_step_is_always_shown() -> None:
    assert lines_of([1, 2, 3], of=3)[-1].startswith("clip: step 3/3")


def test_the_pace_counts_from_where_this_run_began_and_the_first_line_has_none() -> None:
    shown = lines_of([41, 42, 43, 44])
    assert "s/step" not in shown[0]
    assert "10.00 s/step" in shown[1] and shown[1].endswith("1 min 0 s left")
