"""Clarity shows frames with more contrast between neighbors, and changes nothing else."""

import pytest
import torch
import torch.nn.functional as F

from vqclip.engine.streams import stream
from vqclip.ops.clarity import cleared


def _noise(side=64):
    small = torch.rand(2, 3, side // 4, side // 4, generator=stream(1, "init"))
    return F.interpolate(small, (side, side), mode="bilinear")


def _gradient(image):
    return float(image.diff(dim=2).abs().mean() + image.diff(dim=3).abs().mean())


def test_a_picture_becomes_clearer_and_stays_in_its_range():
    image = _noise()
    contrasts = [_gradient(image)]
    for amount in (0.4, 0.8, 2.0):
        clear = cleared(image, amount)
        assert clear.shape == image.shape and clear.min() >= 0 and clear.max() <= 1
        contrasts.append(_gradient(clear))
    assert contrasts == sorted(contrasts) and contrasts[2] > 1.15 * contrasts[0]


def test_an_amount_of_nothing_gives_the_picture_itself():
    image = _noise()
    assert cleared(image, 0) is image


@pytest.mark.parametrize("wraps", [False, True])
def test_an_even_picture_stays_even(wraps):
    for value in (0.0, 0.3, 1.0):
        image = torch.full((1, 3, 40, 24), value)
        torch.testing.assert_close(cleared(image, 2, wraps=wraps), image, atol=1e-6, rtol=0)


def test_a_strong_edge_gets_no_wide_halo_and_far_from_it_nothing_changes():
    image = torch.full((1, 1, 64, 128), 0.3).expand(-1, 3, -1, -1).clone()
    image[..., 64:] = 0.7
    change = (cleared(image, 0.8) - image).abs()
    assert 0.04 < change.max() <= 0.8 * 0.1  # the mask without a limit would change it by 0.8 * 0.2
    assert change[..., :56].max() < 1e-6 and change[..., 72:].max() < 1e-6


def test_what_wraps_is_cleared_over_its_ends():
    image = _noise()
    rolled = cleared(image.roll((20, 7), (2, 3)), 0.8, wraps=True).roll((-20, -7), (2, 3))
    torch.testing.assert_close(rolled, cleared(image, 0.8, wraps=True), atol=1e-6, rtol=0)
    assert not torch.allclose(cleared(image, 0.8), rolled, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (31, 7)])
def test_any_size_can_be_cleared(size):
    image = torch.rand(1, 3, *size, generator=stream(2, "init"))
    assert cleared(image, 1.0).shape == image.shape
