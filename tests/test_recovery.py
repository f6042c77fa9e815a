from dataclasses import replace

import pytest
import torch
from tiny import TinyDecoder, shaken, tiny_look

from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.paint import paint
from vqclip.engine.recovery import with_recovery
from vqclip.engine.starts import from_codes
from vqclip.engine.streams import stream
from vqclip.errors import DivergedError

DECODER, LOOK = TinyDecoder(), tiny_look()
COURSE = Course(steps=30, learning_rate=0.1)
CUTOUTS = shaken(count=2)


def _begin():
    return begin(from_codes(DECODER.codebook, (4, 4), [stream(1, "init")]), [1])


def _recovering(bad=lambda factor, step: False, factors=None, state=None, **options):
    """A painting whose loss is no number where bad(factor, step) says so."""

    def start(state, factor):
        if factors is not None:
            factors.append((factor, state["step"]))
        steps = iter(range(state["step"], 1000))

        def poison(image, latent):
            return (latent * (torch.nan if bad(factor, next(steps)) else 0.0)).flatten(1).sum(1)

        course = replace(COURSE, learning_rate=COURSE.learning_rate * factor)
        return paint(DECODER, [LOOK], state, course=course, cutouts=CUTOUTS, extras=[("bad", 1.0, poison)])

    return with_recovery(start, state or _begin(), **{"every": 10, "tolerance": 3, **options})


def test_a_healthy_painting_passes_unchanged():
    plain = list(paint(DECODER, [LOOK], _begin(), course=COURSE, cutouts=CUTOUTS))
    passed = list(_recovering())
    assert [event.index for event in passed] == list(range(31))
    assert torch.equal(passed[-1].image, plain[-1].image)


def test_a_few_bad_steps_are_nothing_to_worry_about():
    factors = []
    events = list(_recovering(lambda factor, step: step in (3, 7, 15), factors))
    assert factors == [(1.0, 0)] and int(events[-1].skipped) == 3


def test_many_bad_steps_go_back_to_the_last_good_state_at_half_the_rate():
    factors = []
    events = list(_recovering(lambda factor, step: factor == 1 and step >= 12, factors))
    assert factors == [(1.0, 0), (0.5, 10)]
    assert [event.index for event in events] == [*range(20), *range(10, 31)]
    assert events[-1].is_last and int(events[-1].skipped) == 0


def test_a_bad_end_is_noticed_too():
    factors = []
    list(_recovering(lambda factor, step: factor == 1 and step >= 24, factors))
    assert factors == [(1.0, 0), (0.5, 20)]


def test_a_second_time_is_given_up_with_the_last_good_picture():
    seen = []
    with pytest.raises(DivergedError) as caught:
        seen.extend(_recovering(lambda factor, step: step >= 12))
    assert caught.value.exit_code == 8
    assert caught.value.last_good.index == 10 and caught.value.last_good.image.isfinite().all()


def test_a_painting_bad_from_the_first_step_gives_up_too():
    factors = []
    with pytest.raises(DivergedError) as caught:
        list(_recovering(lambda factor, step: True, factors))
    assert factors == [(1.0, 0), (0.5, 0)] and caught.value.last_good.index == 0


def test_a_very_short_painting_of_bad_steps_is_noticed():
    state = list(paint(DECODER, [LOOK], _begin(), course=replace(COURSE, steps=28), cutouts=CUTOUTS))[-1].state()
    with pytest.raises(DivergedError):
        list(_recovering(lambda factor, step: True, state=state))
