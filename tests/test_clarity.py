"""Frames are shown with more contrast between neighbors and calm where they are even, and nothing else is changed."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vqclip.cli.main import main
from vqclip.engine.streams import stream
from vqclip.ops.clarity import Showing, calmed, cleared
from vqclip.ops.pixels import to_tensor
from vqclip.runs.painting import painting
from vqclip.runs.parts import build_parts
from vqclip.runs.plan import resolve
from vqclip.settings import Settings


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


@pytest.mark.parametrize("wrap", [(False, False), (True, False), (False, True), (True, True)])
def test_an_even_picture_stays_even(wrap):
    for value in (0.0, 0.3, 1.0):
        image = torch.full((1, 3, 40, 24), value)
        torch.testing.assert_close(cleared(image, 2, wrap=wrap), image, atol=1e-6, rtol=0)
        torch.testing.assert_close(calmed(image, 2, wrap=wrap), image, atol=1e-6, rtol=0)


def test_a_strong_edge_gets_no_wide_halo_and_far_from_it_nothing_changes():
    image = torch.full((1, 1, 64, 128), 0.3).expand(-1, 3, -1, -1).clone()
    image[..., 64:] = 0.7
    change = (cleared(image, 0.8) - image).abs()
    assert 0.04 < change.max() <= 0.8 * 0.1  # the mask without a limit would change it by 0.8 * 0.2
    assert change[..., :56].max() < 1e-6 and change[..., 72:].max() < 1e-6


def test_what_wraps_is_cleared_over_its_ends():
    image = _noise()
    rolled = cleared(image.roll((20, 7), (2, 3)), 0.8, wrap=(True, True)).roll((-20, -7), (2, 3))
    torch.testing.assert_close(rolled, cleared(image, 0.8, wrap=(True, True)), atol=1e-6, rtol=0)
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
    calm = calmed(image, 1.0, wrap=(True, True))
    torch.testing.assert_close(calm.mean(), image.mean(), atol=1e-3, rtol=0)
    assert calm.std() < 0.7 * image.std()
    rolled = calmed(image.roll((20, 7), (2, 3)), 1.0, wrap=(True, True)).roll((-20, -7), (2, 3))
    torch.testing.assert_close(rolled, calmed(image, 1.0, wrap=(True, True)), atol=1e-5, rtol=0)
    assert not torch.allclose(calmed(image, 1.0), rolled, atol=1e-5)


def test_a_picture_is_shown_calm_first_and_then_clear():
    image = _noise()
    assert torch.equal(Showing(0.8, 2.0)(image), cleared(calmed(image, 2.0), 0.8))


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (31, 7)])
def test_any_size_can_be_cleared(size):
    image = torch.rand(1, 3, *size, generator=stream(2, "init"))
    assert cleared(image, 1.0).shape == calmed(image, 1.0).shape == image.shape


SHOWN = ("--calm", "1", "--clarity", "2")


def _painted(*flags, tiny_models, out="a.png"):
    said = ["a castle", *tiny_models.flags(), "--size", "32x32", "--steps", "3", "--cutouts", "2", "--seed", "1"]
    assert main([*said, "--quiet", *flags, "-o", out]) == 0
    return _pixels(out)


def _pixels(path):
    with Image.open(path) as picture:
        return to_tensor(picture.convert("RGB"))


@pytest.mark.parametrize("tile", ["none", "x", "y", "both"])
def test_a_picture_is_shown_calmer_and_clearer_than_it_is_painted(tile, tiny_models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = _painted("--tile", tile, tiny_models=tiny_models, out="plain.png")
    shown = _painted("--tile", tile, *SHOWN, tiny_models=tiny_models, out="shown.png")
    wrap = (tile in ("x", "both"), tile in ("y", "both"))
    torch.testing.assert_close(shown, Showing(2.0, 1.0, wrap)(plain), atol=3 / 255, rtol=0)
    assert (shown - plain).abs().max() > 6 / 255


def test_frames_and_preview_are_shown_like_the_picture_and_the_painting_is_the_same(tiny_models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    follow = ("--save-every", "1", "--preview", "now.png")
    shown = _painted(*SHOWN, *follow, tiny_models=tiny_models)
    assert torch.equal(_pixels("now.png"), shown) and torch.equal(_pixels("a/step-0003.png"), shown)
    plain = _painted(*follow, tiny_models=tiny_models, out="b.png")
    assert [not torch.equal(_pixels(f"a/step-000{n}.png"), _pixels(f"b/step-000{n}.png")) for n in range(4)] == [1] * 4
    settings = tiny_models.settings(steps=2)
    latents = []
    for more in ({}, {"calm": 1.0, "clarity": 2.0}):
        resolved = resolve(Settings.make({**settings, **more}).check())[0]
        parts = build_parts(resolved, device=torch.device("cpu"), offline=True, note=print)
        latents.append([*painting(parts)][-1].latent)
    assert torch.equal(*latents) and not torch.equal(plain, shown)


def test_only_the_built_in_model_shows_its_pictures_so_unless_told(tiny_models):
    own, other = (resolve(Settings.make(one))[0] for one in ({"prompt": "a castle"}, tiny_models.settings()))
    assert (own.calm, own.clarity, other.calm, other.clarity) == (1.0, 1.0, 0.0, 0.0)
