import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny import TinyDecoder, shaken, tiny_look

from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.film import ENDING, FADE, FADING, Carry, Shot, film, given_back, sharpened
from vqclip.engine.motion import finished
from vqclip.engine.streams import stream
from vqclip.errors import DivergedError
from vqclip.films import FilmSettings
from vqclip.ops.camera import Move, camera
from vqclip.ops.clarity import Showing
from vqclip.ops.pixels import to_tensor
from vqclip.runs.shots import make_carry
from vqclip.starter.scenes import render
from vqclip.starter.world import random_scene
from vqclip.store.vqgans import load_vqgan

DECODER = TinyDecoder()
SHOWING = Showing(clarity=0.8, calm=1.0)
SIDE = 16
WAYS = ["picture", "state", "cells"]


def _start():
    smooth = F.interpolate(torch.randn(1, 6, 4, 4, generator=stream(1, "init")), (SIDE, SIDE), mode="bicubic")
    return begin(smooth, [1])


def _shots(move, *, steps=2, rate=0.05, look=None):
    matrix = camera(move, width=4 * SIDE, height=4 * SIDE)
    course = Course(steps=steps, learning_rate=rate, average=0.8)
    return lambda n: Shot(matrix, [look or tiny_look()], course, shaken(2))


def _filmed(move, frames=8, state=None, way="cells", **more):
    return list(film(DECODER, DECODER, state or _start(), shots=_shots(move, **more), frames=frames, carry=Carry(way)))


@pytest.mark.parametrize("way", WAYS)
def test_a_film_has_as_many_frames_as_asked_for(way):
    frames = _filmed(Move(zoom=1.05, rotate=2), 4, way=way)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.is_last for frame in frames] == [False, False, False, True]
    assert all(
        frame.image.shape == (1, 3, 64, 64) and frame.image.min() >= 0 and frame.image.max() <= 1 for frame in frames
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_film_goes_on_from_any_frame_bit_for_bit(way):
    whole = _filmed(Move(zoom=1.03, pan=(0.7, -1.2)), 7, way=way)
    for stopped in (0, 2, 4):
        rest = _filmed(Move(zoom=1.03, pan=(0.7, -1.2)), 7, way=way, state=whole[stopped].state())
        assert [frame.index for frame in rest] == list(range(stopped + 1, 7))
        assert all(torch.equal(a.image, b.image) for a, b in zip(whole[stopped + 1 :], rest, strict=True))


def _turning(at, move=Move(zoom=1.03)):
    """Shots whose painting is made anew, upside down, at some frames; a log of what was made anew."""
    plain, seen = _shots(move), []

    def anew(picture):
        seen.append(picture)
        return -DECODER.tokenize(picture.flip(2))[0]

    return lambda n: replace(plain(n), anew=anew if n in at else None), seen


def _told(shots, frames, state=None):
    return list(film(DECODER, DECODER, state or _start(), shots=shots, frames=frames))


def test_a_painting_that_is_made_anew_comes_without_a_jump_and_is_then_all_that_is_there():
    shots, seen = _turning([3])
    before, frames = _told(_turning([])[0], 3 + FADING + 3), _told(shots, 3 + FADING + 3)
    assert len(seen) == 1 and seen[0].shape == (1, 3, 64, 64)
    assert all(torch.equal(a.image, b.image) for a, b in zip(before[:3], frames[:3], strict=True))
    states = [frame.state() for frame in frames]
    assert [n for n, state in enumerate(states) if "shown" in state] == list(range(3, 3 + FADING + 1))
    painted = DECODER.decode(DECODER.quantize(finished(states[3]))[0])
    jump, whole = ((image - before[3].image).abs().mean() for image in (frames[3].image, painted))
    assert whole > 0.05 and jump < (1 - FADE) * 1.5 * whole  # a little of it is motion
    bare = {key: value for key, value in states[3].items() if key not in ("shown", "fading")}
    plain = _told(_turning([])[0], 3 + FADING + 3, bare)  # what is painted meanwhile
    left = [float((a.image - b.image).abs().mean()) for a, b in zip(frames[4:], plain, strict=True)]
    assert all(after < 0.9 * before for before, after in pairwise(left[FADING - ENDING : FADING]))
    assert left[FADING - 1] < 0.02 * left[0] and not any(left[FADING:])


@pytest.mark.parametrize("stopped", [2, 3, 4, 9])
def test_a_film_goes_on_bit_for_bit_while_its_painting_is_made_anew(stopped):
    shots, _ = _turning([3, 5])
    whole = _told(shots, 12)
    rest = _told(shots, 12, whole[stopped].state())
    assert all(torch.equal(a.image, b.image) for a, b in zip(whole[stopped + 1 :], rest, strict=True))


@pytest.mark.parametrize(("way", "least"), [("state", 19), ("cells", 26)])
def test_zooming_in_and_out_again_without_painting_loses_little(way, least):
    there, back = (camera(Move(zoom=zoom), width=64, height=64) for zoom in (1.02, 1 / 1.02))
    still = Course(steps=0, learning_rate=0.1)

    def shots(n):
        return Shot(there if n <= 24 else back, [tiny_look()], still, shaken(2))

    frames = list(film(DECODER, DECODER, _start(), shots=shots, frames=49, carry=Carry(way)))
    edge = math.ceil(32 * (1 - 1.02**-24)) + 2
    first, last = (frames[n].image[..., edge:-edge, edge:-edge] for n in (0, -1))
    assert first.std() > 0.05
    # the tiny decoder paints a square of its own for each cell, so this picture is far rougher than any real one
    assert -10 * float((first - last).square().mean().log10()) > least
    middle = frames[24].image[..., edge:-edge, edge:-edge]
    assert -10 * float((first - middle).square().mean().log10()) < 22


def test_the_built_in_model_gives_a_picture_back_after_a_flight_there_and_back():
    vqgan, rng = load_vqgan("starter"), np.random.default_rng(7)
    scene = to_tensor(Image.fromarray(render(random_scene(rng), 64, rng)))
    state = begin(vqgan.tokenize(scene)[0], [7])
    there, back = (camera(Move(zoom=zoom), width=64, height=64) for zoom in (1.02, 1 / 1.02))
    still = Course(steps=0, learning_rate=0.1)

    def shots(n):
        return Shot(there if n <= 24 else back, [tiny_look()], still, shaken(2))

    images = [
        frame.image for frame in film(vqgan, vqgan, state, shots=shots, frames=49, carry=make_carry(FilmSettings()))
    ]
    edge = math.ceil(32 * (1 - 1.02**-24)) + 2
    first, last, middle = (images[n][..., edge:-edge, edge:-edge] for n in (0, -1, 24))
    assert -10 * float((first - last).square().mean().log10()) >= 30
    assert -10 * float((first - middle).square().mean().log10()) < 25


def test_a_straight_pan_moves_by_whole_cells_and_never_encodes():
    class NoEncoder(TinyDecoder):
        def tokenize(self, image):
            raise AssertionError("encoded")

    decoder = NoEncoder()
    shots = _shots(Move(pan=(1.5, 0)), steps=0)
    frames = list(film(decoder, decoder, _start(), shots=shots, frames=9, carry=Carry("cells")))
    torch.testing.assert_close(frames[8].image[..., :40], frames[0].image[..., 12:52], atol=0.02, rtol=0)


def test_a_frame_that_is_held_does_not_jump_where_it_is_encoded_again():
    jumps = {}
    for hold in (0.0, 0.9):
        shots = _shots(Move(zoom=1.03), steps=0)
        frames = list(
            film(DECODER, DECODER, _start(), shots=shots, frames=8, carry=Carry("cells", hold=hold, sharpen=0))
        )
        changes = [float((a.image - b.image).abs().mean()) for a, b in zip(frames[1:], frames, strict=False)]
        jumps[hold] = max(changes) / sorted(changes)[len(changes) // 2]
    assert jumps[0.9] < 1.25 < 1.4 < jumps[0.0]


@pytest.mark.parametrize("rim", ["mirror", "wrap", "smear", "fresh"])
def test_no_rim_is_black(rim):
    frames = list(
        film(DECODER, DECODER, _start(), shots=_shots(Move(zoom=0.93)), frames=6, carry=Carry("cells", rim=rim))
    )
    image = frames[-1].image
    rim_light = torch.cat([image[..., :4, :].flatten(), image[..., -4:, :].flatten()]).mean()
    assert rim_light > 0.5 * image.mean()


def test_sharpening_adds_detail_and_leaves_plain_parts_alone():
    image = torch.zeros(1, 3, 9, 9)
    image[..., 5:] = 1
    out = sharpened(image, 0.3)
    assert out[..., 5].min() > 1 and out[..., 4].max() < 0
    torch.testing.assert_close(out[..., :4], image[..., :4])
    assert sharpened(image, 0) is image


@pytest.mark.parametrize("anew_at", [(), (3,)])
def test_how_clear_frames_are_shown_never_comes_back_into_the_film(anew_at):
    films = {}
    for showing in (Showing(), SHOWING):
        loop = film(DECODER, DECODER, _start(), shots=_turning(anew_at)[0], frames=6, showing=showing)
        films[showing] = [(frame.image, frame.latent, frame.state()) for frame in loop]
    for (image, latent, state), (clear, same, after) in zip(films[Showing()], films[SHOWING], strict=True):
        assert torch.equal(latent, same) and state.keys() == after.keys()
        assert all(torch.equal(state[key], after[key]) for key in state if isinstance(state[key], torch.Tensor))
        assert torch.equal(clear, SHOWING(image)) and not torch.equal(clear, image)
        assert clear.min() >= 0 and clear.max() <= 1
    assert any("shown" in state for _, _, state in films[SHOWING]) == bool(anew_at)


@pytest.mark.parametrize("stopped", [0, 3, 4])
def test_a_film_shown_clearer_goes_on_bit_for_bit(stopped):
    shots, _ = _turning([3])
    whole = list(film(DECODER, DECODER, _start(), shots=shots, frames=7, showing=SHOWING))
    state = whole[stopped].state()
    rest = list(film(DECODER, DECODER, state, shots=shots, frames=7, showing=SHOWING))
    assert all(torch.equal(a.image, b.image) for a, b in zip(whole[stopped + 1 :], rest, strict=True))


def test_what_is_given_back_is_less_than_what_was_let_go_and_nothing_on_the_way_out():
    carry = Carry(sharpen=0.3)
    into, out = (camera(Move(zoom=zoom), width=64, height=64) for zoom in (1.02, 0.98))
    assert given_back(out, 0.5, carry) == 0 and given_back(into, 1.0, carry) == 0
    for left in (0.95, 0.8, 0.5, 0.0):
        assert 0 < given_back(into, left, carry) <= 0.3
        assert left * (1 + given_back(into, left, carry)) < 1


def test_a_film_that_cannot_encode_says_so():
    with pytest.raises(ValueError, match="encoder"):
        next(film(DECODER, None, _start(), shots=_shots(Move()), frames=1, carry=Carry("cells")))
    assert len(list(film(DECODER, None, _start(), shots=_shots(Move()), frames=2, carry=Carry("state")))) == 2


def test_a_frame_of_which_no_step_was_sound_ends_the_film():
    with pytest.raises(DivergedError):
        _filmed(Move(), 2, rate=float("nan"))
