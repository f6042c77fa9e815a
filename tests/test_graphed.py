"""The static step: from buffers the same as eager, and nothing of the first step is baked into what is replayed."""

from functools import partial

import pytest
import torch
from tiny import TinyDecoder, shaken, tiny_look
from torch.fx.experimental.proxy_tensor import make_fx

from vqclip.configs import VQGANConfig
from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.graphed import Graphed, filled, plan_tensors
from vqclip.engine.paint import _work, paint
from vqclip.engine.starts import from_codes
from vqclip.engine.streams import stream
from vqclip.models.vqgan import VQGAN
from vqclip.ops.cutouts import CutoutSettings, draw_cutouts
from vqclip.ops.guide import guide

DECODER, LOOKS = TinyDecoder(), [tiny_look("a castle"), tiny_look("fog", name="other")]
SETTINGS = [shaken(count=4, roll=4), CutoutSettings(4, "pooled", noise=0.1, jitter=0.1, rotation=20, perspective=0.5)]


def state():
    return begin(from_codes(DECODER.codebook, (4, 5), [stream(3, "init")]), [3])


@pytest.mark.parametrize("cutouts", SETTINGS)
def test_a_graphed_painting_is_the_eager_one(cutouts):
    course = Course(steps=5, learning_rate=0.1)
    run = partial(paint, DECODER, LOOKS, course=course, cutouts=cutouts)
    for plain, graphed in zip(run(state()), run(state(), graph=True), strict=True):
        assert torch.allclose(plain.image, graphed.image, atol=1e-5)
        assert torch.allclose(plain.loss, graphed.loss, atol=1e-5)


@pytest.mark.parametrize("cutouts", SETTINGS)
def test_a_recorded_step_replayed_with_other_numbers_is_the_eager_step(cutouts):
    def plans_of(seed):
        rngs = [stream(seed, "cutouts")]
        return [draw_cutouts(cutouts, size=8, height=16, width=20, rngs=rngs) for _ in LOOKS]

    work = partial(_work, DECODER, LOOKS, guide, extras=(), micro_batch=None, lean=False)
    first = plans_of(0)

    def step(latent, *values):
        seen = work(latent, filled(first, values))
        return seen.image, seen.each, seen.gradient

    def values_of(plans):
        return [value for plan in plans for value in plan_tensors(plan)]

    recorded = make_fx(step)(state()["latent"], *values_of(first))
    for seed in (1, 2):
        latent, plans = from_codes(DECODER.codebook, (4, 5), [stream(seed, "init")]), plans_of(seed)
        seen = work(latent, plans)
        for ours, eager in zip(
            recorded(latent, *values_of(plans)), (seen.image, seen.each, seen.gradient), strict=True
        ):
            assert torch.allclose(ours, eager, atol=1e-5)


@pytest.mark.parametrize("lean", [False, True])
def test_a_recorded_step_of_a_real_decoder_is_the_eager_one(lean):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = VQGAN(VQGANConfig(channels=32, multipliers=(1, 2), blocks=1, attention_levels=(1,), codes=20))
    decoder = decoder.eval().requires_grad_(False).fuse()
    cutouts = SETTINGS[1]

    def plans_of(seed):
        return [draw_cutouts(cutouts, size=8, height=8, width=10, rngs=[stream(seed, "cutouts")]) for _ in LOOKS]

    work = partial(_work, decoder, LOOKS, guide, extras=(), micro_batch=None, lean=lean)
    first, values_of = plans_of(0), lambda plans: [value for plan in plans for value in plan_tensors(plan)]
    starts = [from_codes(decoder.codebook, (4, 5), [stream(seed, "init")]) for seed in (0, 1)]
    step = make_fx(lambda latent, *values: work(latent, filled(first, values)).gradient)
    recorded, other = step(starts[0], *values_of(first)), plans_of(1)
    eager = work(starts[1], other).gradient
    assert torch.allclose(recorded(starts[1], *values_of(other)), eager, atol=1e-5 * float(eager.abs().max()))


def test_cutouts_without_fixed_shapes_are_refused():
    plan = draw_cutouts(CutoutSettings(2, "crops"), size=8, height=16, width=20, rngs=[stream(1, "cutouts")])
    with pytest.raises(ValueError, match="crops"):
        Graphed(lambda latent, plans: None)(torch.zeros(1, 6, 4, 5), [plan])
