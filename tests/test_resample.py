from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vqclip.ops.resample import double, lanczos_kernel, resample, stretch, within

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


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0])
def test_a_picture_within_another_is_alone_in_the_middle_and_gone_at_its_sides(scale):
    image, other = torch.zeros(1, 3, 40, 64), torch.ones(1, 3, 20, 32)
    both = within(image, other, scale, 0.5)
    height, width = round(40 * scale), round(64 * scale)
    assert both.shape == image.shape and not image.any()
    inside = both[0, 0, 20 - height // 2 : 20 + height // 2, 32 - width // 2 : 32 + width // 2]
    assert both.count_nonzero() == 3 * inside.count_nonzero()  # nothing beyond
    assert not inside[[0, -1]].any() and not inside[:, [0, -1]].any()
    middle = inside[3 * height // 8 : 5 * height // 8, 3 * width // 8 : 5 * width // 8]
    assert middle.numel() and (middle == 1).all()
    row = inside[height // 2]
    assert (row[: width // 2].diff() >= 0).all() and (row[width // 2 :].diff() <= 0).all()
