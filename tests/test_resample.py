from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vqclip.ops.resample import double, lanczos_kernel, resample, stretch

GOLDEN = load_file(Path(__file__).parent / "goldens" / "loss" / "resample.safetensors")
CASES = [((24, 36), (8, 8)), ((6, 7), (8, 8)), ((20, 6), (8, 8)), ((16, 16), (16, 16)), ((33, 17), (14, 14))]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_resampling_and_its_gradient_agree_with_the_notebook(case):
    image = GOLDEN[f"in_{case}"].requires_grad_()
    out = resample(image, *CASES[case][1])
    torch.testing.assert_close(out, GOLDEN[f"out_{case}"], rtol=0, atol=1e-5)
    (gradient,) = torch.autograd.grad(out, image, GOLDEN[f"grad_out_{case}"])
    torch.testing.assert_close(gradient, GOLDEN[f"grad_in_{case}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in GOLDEN if name.startswith("kernel")])
def test_the_kernel_has_the_notebook_taps(name):
    _, axis, case = name.split("_")
    before, after = (sizes["hw".index(axis)] for sizes in CASES[int(case)])
    torch.testing.assert_close(lanczos_kernel(after / before), GOLDEN[name], rtol=0, atol=1e-6)


def test_an_even_picture_stays_even():
    out = resample(torch.full((1, 3, 40, 30), 0.25), 7, 9)
    torch.testing.assert_close(out, torch.full((1, 3, 7, 9), 0.25))


def test_a_side_too_short_for_the_filter_is_refused():
    with pytest.raises(ValueError, match="too short"):
        resample(torch.zeros(1, 3, 3, 40), 1, 1)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_what_wraps_is_enlarged_over_its_ends(mode):
    image = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(1))
    large = stretch(image, (12, 16), mode, (True, True))
    moved = stretch(image.roll((2, 3), (2, 3)), (12, 16), mode, (True, True))
    assert torch.allclose(moved, large.roll((4, 6), (2, 3)), atol=1e-5)
    inside = stretch(image, (12, 16), mode, (False, False))
    assert torch.allclose(stretch(image, (12, 16), mode, (True, False))[..., 5:-5], inside[..., 5:-5], atol=1e-5)


@pytest.mark.parametrize("padding", ["circular", "replicate"])
def test_a_doubled_picture_has_all_the_detail_of_the_picture(padding):
    places = torch.arange(128) / 2
    for axis, turns in ((3, 9), (2, 22)):
        wave = lambda x, turns=turns: torch.sin(2 * torch.pi * turns * x / 64)  # noqa: E731
        image = wave(torch.arange(64.0)).expand(1, 2, 64, 64)
        large = double(image if axis == 3 else image.mT, padding)
        inner = slice(None) if padding == "circular" else slice(10, -10)
        error = (large if axis == 3 else large.mT)[0, 0, 5] - wave(places)
        assert large.shape == (1, 2, 128, 128) and torch.equal(large[..., ::2, ::2], image if axis == 3 else image.mT)
        assert error[inner].abs().max() < 0.04
