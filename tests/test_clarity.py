"""Frames are shown with more contrast between neighbors and calm where they are even, and nothing else is changed."""

import pytest
import torch
import torch.nn.functional as F

from vqclip.engine.streams import stream
from vqclip.ops.clarity import Showing, calmed, cleared


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
    assert cleared(image, 0) is image and calmed(image, 0) is image and Showing()(image) is image


@pytest.mark.parametrize("wraps", [False, True])
def test_an_even_picture_stays_even(wraps):
    for value in (0.0, 0.3, 1.0):
        image = torch.full((1, 3, 40, 24), value)
        torch.testing.assert_close(cleared(image, 2, wraps=wraps), image, atol=1e-6, rtol=0)
        torch.testing.assert_close(calmed(image, 2, wraps=wraps), image, atol=1e-6, rtol=0)


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


def _woven(strength, side=256, cell=8):
    """Grey with a dot in every cell, as a decoder's grid leaves them, and a strong edge in the middle."""
    dots = torch.zeros(1, 3, side, side)
    dots[..., cell // 2 :: cell, cell // 2 :: cell] = 1.0
    image = 0.4 + strength * F.avg_pool2d(dots, 5, 1, 2) * 25
    image[..., side // 2 :] += 0.4
    return image


def test_the_faint_weave_of_cells_goes_and_edges_and_strong_texture_stay():
    ways = {strength: (_woven(strength), calmed(_woven(strength), 1.0)) for strength in (0.02, 0.1)}
    flat = (..., slice(16, -16), slice(16, 100))
    left = {strength: float(calm[flat].std() / image[flat].std()) for strength, (image, calm) in ways.items()}
    assert left[0.02] < 0.2 and left[0.1] > 0.6
    image, calm = ways[0.02]
    step = calm[..., 128].mean() - calm[..., 127].mean()
    assert step > 0.95 * (image[..., 128].mean() - image[..., 127].mean())
    stronger = calmed(image, 4.0)[flat].std()
    assert stronger < calm[flat].std() < calmed(image, 0.25)[flat].std() < image[flat].std()


def test_calming_leaves_a_faint_picture_its_mean_and_keeps_what_wraps():
    image = 0.5 + 0.06 * (_noise() - 0.5)
    calm = calmed(image, 1.0, wraps=True)
    torch.testing.assert_close(calm.mean(), image.mean(), atol=1e-3, rtol=0)
    assert calm.std() < 0.7 * image.std()
    rolled = calmed(image.roll((20, 7), (2, 3)), 1.0, wraps=True).roll((-20, -7), (2, 3))
    torch.testing.assert_close(rolled, calmed(image, 1.0, wraps=True), atol=1e-5, rtol=0)
    assert not torch.allclose(calmed(image, 1.0), rolled, atol=1e-5)


def test_a_picture_is_shown_calm_first_and_then_clear():
    image = _noise()
    assert torch.equal(Showing(0.8, 2.0)(image), cleared(calmed(image, 2.0), 0.8))


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (31, 7)])
def test_any_size_can_be_cleared(size):
    image = torch.rand(1, 3, *size, generator=stream(2, "init"))
    assert cleared(image, 1.0).shape == calmed(image, 1.0).shape == image.shape
