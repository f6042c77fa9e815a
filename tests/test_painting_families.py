"""Painting with unusual codebooks: signs flip, sums over scales follow, and the latent stays where it makes sense."""

from __future__ import annotations

import pytest
import torch
from tiny import TinyPerceptor, tiny_look

from vqclip.configs import TransformerConfig, ViTVQGANConfig, VQGANConfig
from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.paint import paint
from vqclip.engine.starts import from_codes
from vqclip.models.quantizer import SignQuantizer, codebook
from vqclip.models.vqgan import VQGAN
from vqclip.ops.cutouts import CutoutSettings

SMALL = {"channels": 8, "multipliers": (1, 1), "blocks": 1, "attention_levels": (), "middle_attention": False}
WIDE = {**SMALL, "latent_channels": 6, "embedding_channels": 6, "codes": 24}
TOKENS = TransformerConfig(16, 1, 1, 16)
CONFIGS = {
    "signs": VQGANConfig(**{**WIDE, "codes": 64}, quantizer="sign", variant="magvit", quant_kernel=0),
    "scales": VQGANConfig(**WIDE, quantizer="residual", scales=(1, 2, 4), quant_kernel=3),
    "inner": VQGANConfig(**WIDE, quantizer="inner"),
    "unit": VQGANConfig(**WIDE, quantizer="unit"),
    "movq": VQGANConfig(**WIDE, variant="movq"),
    "tokens": ViTVQGANConfig(TOKENS, TOKENS, patch=2, grid=(4, 4), embedding_channels=6, codes=24),
}


def make(name: str) -> VQGAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VQGAN(CONFIGS[name]).eval()
        if not isinstance(model.quantize, SignQuantizer):
            torch.nn.init.normal_(model.quantize.weight)
    return model.fuse()


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", CONFIGS)
def test_painting_lowers_the_loss_and_changes_codes(name):
    model = make(name)
    start = from_codes(model.codebook, (6, 8), [rng()])
    course = Course(steps=30, optimizer="adam", learning_rate=0.15)
    events = list(paint(model, [tiny_look()], begin(start, [1]), course=course, cutouts=CutoutSettings(count=8)))
    low, high = model.latent_range()
    latent = events[-1].latent
    assert bool((latent >= low[:, None, None]).all() and (latent <= high[:, None, None]).all())
    assert not torch.equal(model.quantize(latent)[1], model.quantize(start)[1])
    early, late = (sum(float(event.loss) for event in part) for part in (events[:5], events[-5:]))
    assert late < early


def test_the_perceptor_of_these_tests_sees_differences():
    images = torch.rand(2, 3, 8, 8, generator=rng())
    first, second = TinyPerceptor().embed_image(images)
    assert float(first @ second) < 0.999


def test_a_sign_is_its_own_code_in_either_order_of_bits():
    signs = codebook("sign", 16, 4)
    latent = torch.randn(2, 4, 3, 5, generator=rng())
    vectors, codes = signs(latent)
    assert torch.equal(vectors, torch.where(latent > 0, 1.0, -1.0))
    assert torch.equal(signs.lookup(codes), vectors)
    assert torch.equal(signs.rows[codes].permute(0, 3, 1, 2), vectors)
    signs.powers = signs.powers.flip(0)
    flipped = signs(latent)[1]
    assert not torch.equal(flipped, codes)
    assert torch.equal(signs.lookup(flipped), vectors)


def test_the_gradient_of_signs_and_sums_goes_straight_through():
    for kind in ("sign", "residual"):
        quantizer = codebook(kind, 16, 4, scales=(1, 2))
        latent = torch.randn(1, 4, 2, 3, generator=rng(3), requires_grad=True)
        pull = torch.randn(1, 4, 2, 3, generator=rng(4))
        (quantizer(latent)[0] * pull).sum().backward()
        assert torch.equal(latent.grad, pull)


def test_scales_keep_their_proportion_on_any_grid():
    quantizer = codebook("residual", 16, 4, scales=(1, 2, 4, 8))
    assert quantizer(torch.zeros(1, 4, 8, 8))[1].shape == (1, 1 + 4 + 16 + 64)
    assert quantizer(torch.zeros(1, 4, 4, 16))[1].shape == (1, 1 * 2 + 1 * 4 + 2 * 8 + 4 * 16)


def test_a_latent_of_another_shape_stretches_the_places_of_a_transformer():
    model = make("tokens")
    for grid in ((4, 4), (3, 5), (8, 8)):
        image = model.decode(from_codes(model.codebook, grid, [rng()]))
        assert image.shape == (1, 3, 2 * grid[0], 2 * grid[1])
        assert model.tokenize(image.detach().clamp(0, 1))[1].shape == (1, *grid)
