import pytest
import torch
import torch.nn.functional as F
from tiny import TinyDecoder, shaken, tiny_look

from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.restyle import Manner, Take, follow, restyle
from vqclip.engine.streams import stream
from vqclip.errors import DivergedError

MODEL = TinyDecoder()
SIDE = 64
CELLS = SIDE // MODEL.stride


def footage(count, step=MODEL.stride, seed=3):
    """A window that goes to the right over a large picture, `step` pixels with each frame."""
    rough = torch.rand(1, 3, 16, 32, generator=stream(seed, "footage"))
    large = F.interpolate(rough, (SIDE, 2 * SIDE), mode="bicubic").clamp(0, 1)
    return [large[..., n * step : n * step + SIDE].contiguous() for n in range(count)]


def flow(pixels):
    return torch.tensor([float(pixels), 0.0])[None, :, None, None].expand(1, 2, SIDE, SIDE).contiguous()


def takes(frames, step=None):
    def take(n):
        moved = () if step is None else (flow(step), flow(-step))
        return Take(frames[n], frames[n - 1], *moved) if n else Take(frames[0])

    return take


def manner(*, steps=2, rate=0.05, look=None, **more):
    course = Course(steps=steps, learning_rate=rate, average=0.8)
    return Manner([look or tiny_look()], course, Course(steps=3, learning_rate=0.05), shaken(2), **more)


def filmed(frames, *, step=None, state=None, how=None):
    start = state or begin(MODEL.tokenize(frames[0])[0], [1])
    way = {"takes": takes(frames, step), "frames": len(frames), "manner": how or manner()}
    return list(restyle(MODEL, MODEL, start, **way))


def with_mark(frame, where=(4, 6)):
    """A state that was painted over a frame: one cell is not as in the footage."""
    latent = MODEL.tokenize(frame)[0]
    marked = latent.clone()
    marked[..., where[0], where[1]] += 5.0
    return {**begin(marked, [1]), "source": latent}


def added(state):
    return (state["latent"] - state["source"]).abs().sum(1)[0]


def test_a_clip_has_as_many_frames_as_its_footage():
    frames = filmed(footage(4))
    assert [frame.index for frame in frames] == [0, 1, 2, 3] and frames[-1].is_last
    assert all(f.image.shape == (1, 3, SIDE, SIDE) and 0 <= f.image.min() <= f.image.max() <= 1 for f in frames)


@pytest.mark.parametrize("step", [None, 4])
def test_a_clip_goes_on_from_any_frame_bit_for_bit(step):
    source = footage(5)
    whole = filmed(source, step=step)
    for stopped in (0, 2):
        rest = filmed(source, step=step, state=whole[stopped].state())
        assert [frame.index for frame in rest] == list(range(stopped + 1, 5))
        assert all(torch.equal(a.image, b.image) for a, b in zip(whole[stopped + 1 :], rest, strict=True))


def test_where_the_footage_stands_still_nothing_changes_but_by_painting():
    still = [footage(1)[0]] * 3
    frames = filmed(still, how=manner(steps=0, keep=1.0))
    assert all(torch.equal(frame.image, frames[0].image) for frame in frames)


def test_what_was_added_stays_in_its_place_without_flow_and_only_as_much_as_is_kept():
    [frame] = footage(1)
    before = with_mark(frame)
    after, goes_on = follow(MODEL, before, Take(frame, frame), keep=0.5)
    assert goes_on
    torch.testing.assert_close(added(after), 0.5 * added(before))


def test_what_was_added_goes_along_with_what_moves():
    first, second = footage(2)
    take = Take(second, first, flow(MODEL.stride), flow(-MODEL.stride))
    after, _ = follow(MODEL, with_mark(first), take, keep=1.0)
    assert added(after).flatten().argmax() == 4 * CELLS + 5  # the window went to the right by a cell
    assert added(after)[4, 5] > 0.99 * added(with_mark(first))[4, 6]
    torch.testing.assert_close(after["source"], MODEL.tokenize(second)[0])


def test_what_was_hidden_or_has_changed_is_painted_from_the_footage():
    first, second = footage(2)
    take = Take(second, first, flow(MODEL.stride), flow(-MODEL.stride))
    after, _ = follow(MODEL, with_mark(first, where=(4, 0)), take, keep=1.0)  # leaves the picture
    assert added(after).max() < 1e-5
    changed = first.clone()
    changed[..., 16:20, 24:28] = 1 - changed[..., 16:20, 24:28].round()
    after, goes_on = follow(MODEL, with_mark(first), Take(changed, first), keep=1.0)
    assert goes_on and added(after)[4, 6] < 0.5 * added(with_mark(first))[4, 6]


def test_average_and_moments_move_along_and_second_moments_stay_positive():
    source = footage(3)
    states = [frame.state() for frame in filmed(source, step=4)]
    after, _ = follow(MODEL, states[1], takes(source, 4)(2), keep=1.0)
    for held in after["optimizer"]["state"].values():
        assert (held["exp_avg_sq"] >= 0).all()
    moved = states[1]["optimizer"]["state"][0]["exp_avg"][..., 1:]
    torch.testing.assert_close(after["optimizer"]["state"][0]["exp_avg"][..., :-1], moved, atol=1e-5, rtol=0)
    weight = after["weight"][:, None, None, None]
    assert (after["average"] / weight - after["source"]).abs().max() > 1e-4


def test_another_scene_begins_anew_with_as_many_steps_as_the_first_picture():
    source = [footage(1)[0], torch.zeros(1, 3, SIDE, SIDE), torch.ones(1, 3, SIDE, SIDE)]
    frames = filmed(source)
    steps = [frame.state()["step"] for frame in frames]
    assert steps == [0, 3, 6]
    fresh, goes_on = follow(MODEL, frames[0].state(), takes(source)(1), keep=1.0)
    assert not goes_on and torch.equal(fresh["latent"], fresh["source"]) and "optimizer" not in fresh


@pytest.mark.parametrize("step", [None, 4])
def test_a_frame_shows_some_of_the_one_before_where_that_goes_on(step):
    source = footage(2) if step else [footage(1)[0]] * 2
    plain, held = (filmed(source, step=step, how=manner(rate=1.0, hold=hold)) for hold in (0.0, 0.5))
    assert torch.equal(plain[1].latent, held[1].latent)  # what is shown does not change what is painted
    before = plain[0].image[..., 4:] if step else plain[0].image
    now, shown = (film[1].image[..., : before.shape[3]] for film in (plain, held))
    torch.testing.assert_close(shown[..., :-4], ((before + now) / 2)[..., :-4], atol=0.02, rtol=0)
    assert not torch.equal(held[1].image, plain[1].image)
    assert step is None or torch.equal(held[1].image[..., -4:], plain[1].image[..., -4:])


def test_the_source_holds_the_picture_as_hard_as_is_said():
    source = footage(4)
    away = [
        float((frames[-1].latent - MODEL.tokenize(source[-1])[0]).square().mean())
        for frames in (filmed(source, how=manner(steps=6, weight=weight)) for weight in (0.0, 300.0))
    ]
    assert away[1] < 0.7 * away[0]
    assert "source" in filmed(source[:2], how=manner(weight=1.0))[1].losses


def test_a_loss_that_is_no_number_ends_the_film():
    look = tiny_look()
    look.targets.embeddings.fill_(torch.nan)
    with pytest.raises(DivergedError):
        filmed(footage(3), how=manner(look=look))
