from dataclasses import replace

import torch
from tiny import TinyDecoder, shaken, tiny_look

from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.paint import paint
from vqclip.engine.stages import Stage, enlarge, paint_stages, plan_stages
from vqclip.engine.starts import from_codes
from vqclip.engine.streams import stream
from vqclip.ops.losses import LatentAnchor

DECODER, LOOK = TinyDecoder(), tiny_look()
COURSE = Course(steps=10, learning_rate=0.1, average=0.5, schedule="cosine")
STAGES = plan_stages(COURSE, (8, 6), 0.6)
CUTOUTS = shaken(count=3)


def _begin(stages=STAGES):
    return begin(from_codes(DECODER.codebook, stages[0].grid, [stream(1, "init")]), [1])


def _paint(state=None, stages=STAGES, **options):
    return paint_stages(DECODER, [LOOK], state or _begin(stages), stages=stages, cutouts=CUTOUTS, **options)


def test_the_plan_splits_the_steps_and_halves_the_grid():
    small, large = STAGES
    assert (small.grid, small.course.steps) == ((4, 3), 6)
    assert (large.grid, large.course.steps) == ((8, 6), 4)
    assert replace(small.course, steps=10) == replace(large.course, steps=10) == COURSE


def test_twice_halved_sizes_share_the_early_steps():
    stages = plan_stages(replace(COURSE, steps=11), (32, 20), 0.7, 2)
    assert [(stage.grid, stage.course.steps) for stage in stages] == [((8, 5), 4), ((16, 10), 4), ((32, 20), 3)]
    tapered = plan_stages(replace(COURSE, steps=11), (32, 20), 0.7, 2, 0.5)
    assert [stage.course.learning_rate for stage in tapered] == [0.1, 0.05, 0.025]
    # never below two cells, never a size without a step
    assert [stage.grid for stage in plan_stages(COURSE, (8, 6), 0.6, 5)] == [(4, 3), (8, 6)]
    assert [stage.course.steps for stage in plan_stages(replace(COURSE, steps=2), (32, 32), 0.9, 3)] == [1, 1]


def test_three_sizes_are_one_stream_and_resume_exactly():
    stages = plan_stages(COURSE, (16, 12), 0.6, 2)
    begun = _begin(stages)
    whole, states = zip(
        *[(event, event.state()) for event in _paint(begun, stages=stages, encoder=DECODER)], strict=True
    )
    assert [event.index for event in whole] == list(range(11))
    assert sorted({event.image.shape[2] for event in whole}) == [16, 32, 64]
    rest = list(_paint(states[4], stages=stages, encoder=DECODER))
    assert all(torch.equal(a.image, b.image) for a, b in zip(rest, whole[4:], strict=True))


def test_nothing_to_split_is_one_stage():
    assert plan_stages(COURSE, (8, 6), 0.0) == [Stage((8, 6), COURSE)]
    assert plan_stages(COURSE, (3, 9), 0.5) == [Stage((3, 9), COURSE)]
    assert len(plan_stages(replace(COURSE, steps=1), (8, 6), 0.95)) == 1
    assert [stage.course.steps for stage in plan_stages(replace(COURSE, steps=2), (8, 6), 0.95)] == [1, 1]


def test_the_stages_are_one_stream_of_events():
    events = list(_paint(encoder=DECODER))
    assert [event.index for event in events] == list(range(11))
    assert [event.is_last for event in events] == [False] * 10 + [True]
    assert [tuple(event.image.shape[2:]) for event in events] == [(16, 12)] * 6 + [(32, 24)] * 5


def test_one_stage_is_plain_painting():
    stages = [Stage((8, 6), COURSE)]
    plain = paint(DECODER, [LOOK], _begin(stages), course=COURSE, cutouts=CUTOUTS)
    for event, other in zip(_paint(stages=stages), plain, strict=True):
        assert torch.equal(event.image, other.image)


def test_the_second_stage_begins_with_the_finished_first():
    first = list(paint(DECODER, [LOOK], _begin(), course=STAGES[0].course, cutouts=CUTOUTS))[-1]
    events = list(_paint(encoder=DECODER))
    assert torch.equal(events[6].latent, enlarge(first.latent, first.image, (8, 6), 4, DECODER))


def test_resuming_equals_never_having_stopped_in_any_stage():
    whole, states = zip(*[(event, event.state()) for event in _paint(encoder=DECODER)], strict=True)
    for stop in range(11):
        rest = list(_paint(states[stop], encoder=DECODER))
        assert [event.index for event in rest] == list(range(stop, 11))
        assert all(torch.equal(a.image, b.image) for a, b in zip(rest, whole[stop:], strict=True))


def test_skipped_steps_are_counted_over_the_stages():
    def never(image, latent):
        return (latent * torch.nan).flatten(1).sum(1)

    assert int(list(_paint(extras=[("bad", 1.0, never)]))[-1].skipped) == 10


def test_an_anchor_serves_every_size():
    anchor = LatentAnchor(torch.zeros(1, 6, 8, 6))
    assert all(event.loss.isfinite() for event in _paint(extras=[("anchor", 1.0, anchor)]))


def test_enlarging_keeps_the_picture():
    image = torch.linspace(0, 1, 16).expand(1, 3, 16, 16).contiguous()
    latent = torch.full((1, 6, 4, 4), 0.7)
    assert torch.equal(enlarge(latent, image, (8, 8), 4), torch.full((1, 6, 8, 8), 0.7))
    seen = []

    class Encoder:
        def tokenize(self, picture):
            seen.append(picture)
            return torch.zeros(1, 6, 8, 8), None

    assert enlarge(latent, image, (8, 8), 4, Encoder()).shape == (1, 6, 8, 8)
    ramp = torch.nn.functional.avg_pool2d(seen[0], 2)[..., 2:-2]
    torch.testing.assert_close(ramp, image[..., 2:-2], atol=0.02, rtol=0)


def test_turns_cut_the_first_size_and_the_last_one_is_refined():
    stages = plan_stages(COURSE, (8, 6), 0.6, turns=(0.3, 0.5), refine=0.7)
    assert [(stage.grid, stage.course.steps, stage.kept) for stage in stages] == [
        ((4, 3), 2, None),
        ((4, 3), 2, 0.3),
        ((4, 3), 2, 0.5),
        ((8, 6), 4, 0.7),
    ]
    assert {stage.course.learning_rate for stage in stages} == {COURSE.learning_rate}
    # at one size there is nothing to refine, and no turn without a step before it
    alone = plan_stages(replace(COURSE, steps=2), (8, 6), turns=(0.3, 0.5), refine=0.7)
    assert [(stage.course.steps, stage.kept) for stage in alone] == [(1, None), (1, 0.3)]
    assert plan_stages(replace(COURSE, steps=0), (8, 6), turns=(0.3,)) == [Stage((8, 6), replace(COURSE, steps=0))]


def test_a_stage_that_is_sketched_over_begins_with_what_is_made_of_the_picture_before():
    stages, asked = plan_stages(COURSE, (8, 6), 0.6, turns=(0.3,), refine=0.7), []

    def over(image, number):
        asked.append((number, tuple(image.shape[2:])))
        return from_codes(DECODER.codebook, stages[number].grid, [stream(9, "init", number)])

    events = list(_paint(_begin(stages), stages=stages, encoder=DECODER, over=over))
    assert asked == [(1, (16, 12)), (2, (16, 12))] and [event.index for event in events] == list(range(11))
    for number, at in ((1, 3), (2, 6)):
        torch.testing.assert_close(events[at].latent, over(events[at].image, number))
    plain = list(_paint(_begin(stages), stages=stages, encoder=DECODER))
    assert torch.equal(plain[2].latent, events[2].latent) and not torch.equal(plain[3].latent, events[3].latent)
