import pytest
import torch
from tiny import TinyDecoder, shaken, tiny_look

from vqclip.engine.canvas import begin
from vqclip.engine.course import OPTIMIZERS, Course
from vqclip.engine.motion import finished, warp, with_latent
from vqclip.engine.paint import paint
from vqclip.engine.starts import from_codes
from vqclip.engine.streams import stream
from vqclip.ops.camera import Move, camera

DECODER = TinyDecoder()
SIDE = 8


def _state(optimizer="adam", steps=3, average=0.9):
    latent = from_codes(DECODER.codebook, (SIDE, SIDE), [stream(1, "init")])
    course = Course(steps=steps, optimizer=optimizer, learning_rate=0.1, average=average)
    *_, last = paint(DECODER, [tiny_look()], begin(latent, [1]), course=course, cutouts=shaken(2))
    return last.state()


def _moved(state, move, **more):
    return warp(state, camera(move, width=4 * SIDE, height=4 * SIDE), **more)


def _moments(state):
    return {name: value for name, value in state["optimizer"]["state"][0].items() if value.ndim == 4}


@pytest.mark.parametrize(("pan", "shift"), [((4, 0), (0, -1)), ((0, 8), (-2, 0)), ((-4, 4), (-1, 1))])
def test_a_shift_by_whole_cells_moves_everything_exactly(pan, shift):
    state = _state()
    moved = _moved(state, Move(pan=pan), rim="wrap")
    for before, after in [(state["latent"], moved["latent"]), (state["average"], moved["average"])]:
        torch.testing.assert_close(after, before.roll(shift, (2, 3)), atol=1e-5, rtol=0)
    assert _moments(state).keys() == {"exp_avg", "exp_avg_sq"}
    for name, value in _moments(moved).items():
        torch.testing.assert_close(value, _moments(state)[name].roll(shift, (2, 3)), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_moment_that_is_never_negative_becomes_negative(optimizer):
    state = _state(optimizer)
    moved = _moved(state, Move(zoom=1.03, pan=(1.3, -0.7), rotate=5, tilt=(0.02, 0)))
    positive = [
        name
        for name, value in state["optimizer"]["state"].get(0, {}).items()
        if isinstance(value, torch.Tensor) and value.ndim == 4 and (value >= 0).all()
    ]
    assert all((moved["optimizer"]["state"][0][name] >= 0).all() for name in positive)
    assert bool(positive) is (optimizer != "sgd")


def test_a_moved_state_goes_on_painting():
    moved = _moved(_state(), Move(zoom=1.1, rotate=3))
    course = Course(steps=2, learning_rate=0.1, average=0.9)
    *_, last = paint(DECODER, [tiny_look()], moved, course=course, cutouts=shaken(2), first=moved["step"])
    assert last.index == 5 and last.latent.isfinite().all()


def test_a_state_that_does_not_move_stays():
    state = _state()
    torch.testing.assert_close(_moved(state, Move())["latent"], state["latent"], atol=1e-5, rtol=0)


def test_what_comes_in_fresh_is_random_and_without_memory():
    state = _state()
    moved = _moved(state, Move(pan=(8, 0)), rim="fresh", latent_range=DECODER.latent_range())
    low, high = (side[:, None, None] for side in DECODER.latent_range())
    new = moved["latent"][0, :, :, -2:]
    assert (new >= low).all() and (new <= high).all() and new.std() > 0.2
    assert not _moments(moved)["exp_avg_sq"][..., -2:].any()
    assert (_moments(moved)["exp_avg_sq"][..., :-2] > 0).all()
    torch.testing.assert_close(finished(moved)[..., -2:], moved["latent"][..., -2:])
    with pytest.raises(ValueError, match="range"):
        _moved(state, Move(), rim="fresh")


def test_smear_repeats_the_edge_and_mirror_mirrors_it():
    state = _state()
    smeared, mirrored = (_moved(state, Move(pan=(8, 0)), rim=rim)["latent"] for rim in ("smear", "mirror"))
    torch.testing.assert_close(smeared[..., -2:], state["latent"][..., -1:].expand(-1, -1, -1, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored[..., -2:], state["latent"][..., -2:].flip(3), atol=1e-5, rtol=0)


def test_a_new_latent_is_also_the_average():
    state = _state()
    latent = torch.rand_like(state["latent"])
    torch.testing.assert_close(finished(with_latent(state, latent)), latent)
    torch.testing.assert_close(finished(begin(latent, [1])), latent)
