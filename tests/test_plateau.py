"""Stopping where nothing improves: by windows of the loss, of the last stage only, with a last event of its own."""

import torch

from vqclip.engine.plateau import until_plateau
from vqclip.events import Step


def event(index: int, loss: float, *, steps: int = 1000) -> Step:
    image = torch.zeros(1, 3, 8, 8)
    none = torch.tensor(0)
    return Step(index, steps, image, image, torch.tensor(loss), {}, none, lambda: {"step": index})


def finish(state) -> Step:
    return event(state["step"], -1.0, steps=state["step"])


def drained(losses, since=0):
    steps = len(losses) - 1
    events = (event(n, loss, steps=steps) for n, loss in enumerate(losses))
    return list(until_plateau(events, finish, since=since, window=5))


def test_a_loss_that_keeps_falling_runs_to_the_end():
    assert len(drained([1 / (1 + n / 10) for n in range(60)])) == 60


def test_two_windows_without_a_gain_end_it_with_an_event_of_its_own():
    events = drained([1.0 - min(n, 20) / 40 for n in range(200)])
    last = events[-1]
    assert last.is_last and last.loss == -1.0
    # windows end at 4, 9, ...: the one that ends at 24 still gains, those at 29 and 34 do not
    assert last.index == last.steps == 34 and len(events) == 35


def test_a_loss_that_only_jumps_about_ends_too():
    assert len(drained([0.8, 0.9, 0.7, 0.85, 0.75] * 40)) < 30


def test_what_is_still_sketched_over_does_not_count():
    assert len(drained([0.5] * 100, since=100)) == 100
    # the first window that counts is 60 .. 64; the two after it bring nothing
    assert drained([0.5] * 100, since=60)[-1].index == 74
