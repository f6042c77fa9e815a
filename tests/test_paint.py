import contextlib
from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny import TinyDecoder, shaken, tiny_look

from vqclip.engine.canvas import begin
from vqclip.engine.course import OPTIMIZERS, Course
from vqclip.engine.paint import Look, paint
from vqclip.engine.starts import from_codes
from vqclip.engine.streams import stream
from vqclip.ops.losses import LatentAnchor

DECODER, LOOK = TinyDecoder(), tiny_look("a castle", "fog")
COURSE = Course(steps=12, learning_rate=0.1)
CUTOUTS = shaken(count=4, roll=4)


def _begin(*seeds):
    seeds = seeds or (3,)
    return begin(from_codes(DECODER.codebook, (4, 5), [stream(seed, "init") for seed in seeds]), seeds)


def _paint(course=COURSE, state=None, *, decoder=DECODER, looks=(LOOK,), **options):
    return paint(decoder, looks, state or _begin(), course=course, cutouts=CUTOUTS, **options)


def _same(one, other):
    pairs = zip(one, other, strict=True)
    return all(
        torch.equal(a.image, b.image) and torch.equal(a.latent, b.latent) and a.index == b.index for a, b in pairs
    )


class Poison:
    """An objective whose loss is not a number at some of its calls."""

    def __init__(self, *calls):
        self.calls, self.call = calls, -1

    def __call__(self, image, latent):
        self.call += 1
        bad = torch.nan if self.call in self.calls else 0.0
        return (latent * bad).flatten(1).sum(1)


def test_it_yields_one_event_more_than_steps():
    events = list(_paint())
    assert [event.index for event in events] == list(range(13))
    assert [event.is_last for event in events] == [False] * 12 + [True]
    assert all(event.steps == 12 for event in events)


def test_no_steps_give_the_beginning_as_the_result():
    (event,) = _paint(replace(COURSE, steps=0))
    assert event.is_last and torch.equal(event.latent, _begin()["latent"])


def test_image_and_latent_of_an_event_belong_together():
    for event in _paint(replace(COURSE, average=0.9)):
        decoded = DECODER.decode(DECODER.quantize(event.latent)[0]).clamp(0, 1)
        assert torch.equal(event.image, decoded)


def test_an_event_keeps_its_values_when_the_loop_goes_on():
    events = _paint()
    first = next(events)
    image, latent = first.image.clone(), first.latent.clone()
    list(events)
    assert torch.equal(first.image, image) and torch.equal(first.latent, latent)


def test_painting_lowers_the_loss():
    events = list(_paint(replace(COURSE, steps=40)))
    early, late = (sum(event.loss.item() for event in part) / 5 for part in (events[:5], events[-5:]))
    assert late < early - 0.05


def test_the_same_seed_paints_the_same_pictures_and_another_does_not():
    assert _same(_paint(), _paint())
    assert not torch.equal(list(_paint())[-1].image, list(_paint(state=_begin(4)))[-1].image)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_resuming_equals_never_having_stopped(optimizer):
    course = replace(COURSE, steps=6, optimizer=optimizer, average=0.9, schedule="cosine")
    whole, states = zip(*[(event, event.state()) for event in _paint(course)], strict=True)
    for stop in range(7):
        assert _same(_paint(course, states[stop]), whole[stop:])


def test_a_state_is_not_touched_by_the_loops_it_begins():
    state = next(_paint()).state()
    kept = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in state.items()}
    list(_paint(state=state))
    assert all(torch.equal(state[name], value) for name, value in kept.items() if isinstance(value, torch.Tensor))
    assert state["step"] == kept["step"] == 0


def test_a_state_asked_for_too_late_is_refused():
    events = _paint()
    first = next(events)
    next(events)
    with pytest.raises(RuntimeError, match="step 0 is gone"):
        first.state()


def test_a_state_holds_only_plain_things():
    def plain(value):
        if isinstance(value, dict):
            return all(plain(key) and plain(item) for key, item in value.items())
        if isinstance(value, list | tuple):
            return all(plain(item) for item in value)
        return value is None or isinstance(value, bool | int | float | str | torch.Tensor)

    assert plain(list(_paint(replace(COURSE, optimizer="nadam", average=0.5)))[-1].state())


def test_the_randomness_of_a_listener_changes_nothing():
    def noisy(events):
        for event in events:
            torch.manual_seed(event.index)
            torch.rand(7)
            event.state()
            yield event

    assert _same(noisy(_paint()), _paint())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, partial(torch.autocast, "cpu", torch.bfloat16)])
def test_the_modes_of_a_listener_change_nothing_and_none_leaks_to_it(mode):
    plain = list(_paint())
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
        events, seen = _paint(), []
        for event in events:
            seen.append(event)
            assert (
                torch.is_grad_enabled(),
                torch.is_inference_mode_enabled(),
                torch.is_autocast_enabled("cpu"),
            ) == before
    assert _same(seen, plain)


def test_a_listener_finds_gradients_as_it_left_them():
    for _ in _paint():
        assert torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


def test_the_last_event_does_no_backward():
    class Counting(torch.nn.Module):
        image_size, calls = 8, []

        def embed_image(self, image):
            self.calls.append(image.requires_grad)
            return LOOK.perceptor.embed_image(image)

    list(_paint(replace(COURSE, steps=2), looks=[Look("x", Counting(), LOOK.targets)]))
    assert Counting.calls == [True, True, False]


class Attentive(torch.nn.Module):
    """The tiny perceptor, which counts how many pieces it was shown at once."""

    image_size = 8

    def __init__(self):
        super().__init__()
        self.seen = []

    def embed_image(self, image):
        self.seen.append(len(image))
        return LOOK.perceptor.embed_image(image)


def test_each_perceptor_sees_its_share_of_the_cutouts_and_one_at_least():
    shares = {1.0: 4, 0.5: 2, 0.25: 1, 0.01: 1}
    looks = [Look(str(share), Attentive(), LOOK.targets, share=share) for share in shares]
    list(_paint(replace(COURSE, steps=1), _begin(3, 4), looks=looks))
    assert {look.share: set(look.perceptor.seen) for look in looks} == {
        share: {count * 2} for share, count in shares.items()
    }


def test_the_share_that_one_perceptor_sees_moves_no_cutout_of_another():
    def losses(share):
        twin = replace(tiny_look("a castle", "fog", name="twin"), share=share)
        return next(_paint(replace(COURSE, steps=1), looks=[LOOK, twin])).losses

    whole, half = losses(1.0), losses(0.5)
    assert torch.equal(whole["tiny"], half["tiny"]) and not torch.equal(whole["twin"], half["twin"])


def test_a_step_that_is_no_number_changes_nothing_and_is_counted():
    events = list(_paint(extras=[("bad", 1.0, Poison(7))]))
    assert [int(event.skipped) for event in events] == [0] * 8 + [1] * 5
    assert torch.equal(events[8].latent, events[7].latent) and torch.equal(events[8].image, events[7].image)
    assert all(event.latent.isfinite().all() and event.image.isfinite().all() for event in events)
    assert not torch.equal(events[9].latent, events[8].latent)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("bad", [0, 5])
def test_no_optimizer_remembers_a_bad_step(optimizer, bad):
    course = replace(COURSE, optimizer=optimizer, average=0.5)
    events = list(_paint(course, extras=[("bad", 1.0, Poison(bad))]))
    assert int(events[-1].skipped) == 1
    state = events[-1].state()
    held = [value for moments in state["optimizer"]["state"].values() for value in moments.values()]
    assert all(value.isfinite().all() for value in held if isinstance(value, torch.Tensor))
    assert state["average"].isfinite().all() and not torch.equal(events[-1].latent, events[0].latent)


def test_a_skipped_step_leaves_moments_and_counters_as_they_were():
    states = [event.state() for event in _paint(extras=[("bad", 1.0, Poison(7))])]
    before, after = (states[index]["optimizer"]["state"][0] for index in (7, 8))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_gradient_too_large_for_the_moments_is_taken_back():
    huge = lambda image, latent: (latent * 1e30).flatten(1).sum(1)  # noqa: E731
    events = list(_paint(replace(COURSE, steps=3), extras=[("huge", 1.0, huge)]))
    assert int(events[-1].skipped) == 3 and torch.equal(events[-1].latent, events[0].latent)


def test_one_bad_picture_of_a_batch_does_not_hold_up_the_others():
    def first_only(image, latent):
        return (latent * torch.tensor([torch.nan, 0.0])[:, None, None, None]).flatten(1).sum(1)

    events = list(_paint(state=_begin(3, 4), extras=[("bad", 1.0, first_only)]))
    assert torch.equal(events[-1].latent[0], events[0].latent[0])
    alone = list(_paint(state=_begin(4)))
    torch.testing.assert_close(events[-1].image[1:], alone[-1].image, rtol=1e-3, atol=1e-3)


def test_a_batch_paints_each_picture_as_it_would_be_alone():
    both = list(_paint(state=_begin(3, 4)))
    for place, seed in enumerate((3, 4)):
        alone = list(_paint(state=_begin(seed)))
        torch.testing.assert_close(both[1].latent[place], alone[1].latent[0], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(both[-1].image[place], alone[-1].image[0], rtol=1e-2, atol=1e-2)


def test_the_latent_stays_in_the_range_of_the_codebook():
    low, high = DECODER.codebook.amin(0)[:, None, None], DECODER.codebook.amax(0)[:, None, None]
    for event in _paint(replace(COURSE, learning_rate=3.0)):
        assert (event.latent >= low).all() and (event.latent <= high).all()


def test_the_result_is_decoded_from_the_average():
    plain = list(_paint(replace(COURSE, schedule="cosine")))
    averaged = list(_paint(replace(COURSE, schedule="cosine", average=0.5)))
    assert _same(plain[:-1], averaged[:-1])
    weights = torch.tensor([0.5 ** (12 - step) for step in range(1, 13)])
    latents = torch.stack([event.latent for event in plain[1:]])
    expected = (latents * weights[:, None, None, None, None]).sum(0) / weights.sum()
    torch.testing.assert_close(averaged[-1].latent, expected)


def test_an_average_without_steps_is_the_beginning():
    (event,) = _paint(replace(COURSE, steps=0, average=0.9))
    assert torch.equal(event.latent, _begin()["latent"])


def test_the_schedules_fall_as_they_say():
    rates = {
        name: [Course(4, schedule=name, learning_rate=2.0).rate(i) for i in range(5)]
        for name in ("constant", "linear", "cosine")
    }
    assert rates["constant"] == [2.0] * 5
    assert rates["linear"] == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0])
    assert rates["cosine"] == pytest.approx([2.0, 1 + 2**-0.5, 1.0, 1 - 2**-0.5, 0.0])


def test_micro_batches_paint_the_same_picture():
    whole, small = (list(_paint(replace(COURSE, micro_batch=size)))[3] for size in (None, 1))
    torch.testing.assert_close(small.latent, whole.latent, rtol=1e-3, atol=1e-3)


def test_an_anchor_keeps_the_picture_near_its_beginning():
    start = _begin()["latent"]
    free, held = (list(_paint(extras=[("anchor", weight, LatentAnchor(start))]))[-1].latent for weight in (0.0, 100.0))
    assert (held - start).norm() < 0.5 * (free - start).norm()


def test_each_look_draws_its_own_cutouts():
    events = list(_paint(replace(COURSE, steps=1), looks=[LOOK, tiny_look("a castle", "fog", name="twin")]))
    assert events[0].losses["tiny"] != events[0].losses["twin"]


def test_a_beginning_needs_a_seed_for_each_picture():
    with pytest.raises(ValueError, match="2 pictures, but 1 seeds"):
        begin(torch.zeros(2, 6, 4, 4), [1])


def test_a_loop_that_is_left_early_can_be_closed():
    events = _paint()
    next(events)
    with contextlib.closing(events):
        pass
    assert list(events) == []
