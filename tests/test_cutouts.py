from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vqclip.ops.cutouts import CutoutSettings, apply_cutouts, draw_cutouts
from vqclip.ops.geometry import translate
from vqclip.ops.pieces import halve, squeeze

GOLDEN = load_file(Path(__file__).parent / "goldens" / "loss" / "cutouts.safetensors")
PLAIN = CutoutSettings(count=12, whole_views=0.4, smallest_view=0.35)
SHAKEN = replace(PLAIN, noise=0.1, jitter=0.1, rotation=10.0, perspective=0.3, flip=True)
METHODS = ("views", "crops", "pooled")


def _rng(seed=0):
    return torch.Generator().manual_seed(seed)


def _picture(height=48, width=64, pictures=1):
    return torch.rand(pictures, 3, height, width, generator=_rng(9))


def _plan(settings, *, size=16, height=48, width=64, seeds=(0,)):
    return draw_cutouts(settings, size=size, height=height, width=width, rngs=[_rng(seed) for seed in seeds])


def _cut(settings, image, size=16, seeds=(0,)):
    plan = _plan(settings, size=size, height=image.shape[2], width=image.shape[3], seeds=seeds)
    return apply_cutouts(image, plan)


def _sides(settings, height=48, width=64):
    """How wide a part of the picture each piece shows, in pixels (where nothing is turned)."""
    return _plan(settings, height=height, width=width).matrices[:, 0, 0, 0].abs() * width


def test_crops_and_their_gradient_agree_with_the_notebook():
    image = GOLDEN["image"].requires_grad_()
    settings = CutoutSettings(count=6, method="crops")
    out = _cut(settings, image, size=8, seeds=(1234,))
    torch.testing.assert_close(out, GOLDEN["out"], rtol=0, atol=1e-5)
    (gradient,) = torch.autograd.grad(out, image, GOLDEN["grad_out"])
    torch.testing.assert_close(gradient, GOLDEN["grad_image"], rtol=0, atol=1e-5)


def test_squeezing_agrees_with_the_pooling_of_the_reference():
    torch.testing.assert_close(squeeze(GOLDEN["image"], 8), GOLDEN["pooled"], rtol=0, atol=1e-6)


def test_local_and_global_scales_both_appear():
    sides = _sides(replace(PLAIN, count=32, whole_views=0.4, smallest_view=0.25))
    assert (sides >= 64).sum() == 13
    crops = sides[13:] / 48
    assert 0.25 <= crops.min() < 0.3 and 0.95 < crops.max() <= 1


def test_sizes_are_spread_evenly_and_the_power_bends_them():
    even = _sides(replace(PLAIN, count=40, whole_views=0, smallest_view=0.2)) / 48
    bent = _sides(replace(PLAIN, count=40, whole_views=0, smallest_view=0.2, power=3)) / 48
    assert even.mean() == pytest.approx(0.6, abs=0.02)
    assert bent.mean() == pytest.approx(0.2 + 0.8 / 4, abs=0.03)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (64, 64), (32, 96)])
def test_a_whole_view_sees_the_whole_picture_at_its_true_aspect(height, width):
    matrices = _plan(replace(PLAIN, whole_views=1.0), height=height, width=width).matrices[:, 0]
    scale_x, scale_y = matrices[:, 0, 0], matrices[:, 1, 1]
    torch.testing.assert_close(scale_x * width, scale_y * height)
    for scale, shift in ((scale_x, matrices[:, 0, 2]), (scale_y, matrices[:, 1, 2])):
        assert (shift - scale <= -1 + 1e-5).all() and (shift + scale >= 1 - 1e-5).all()


def test_crops_stay_inside_the_picture_and_reach_everywhere():
    matrices = _plan(replace(PLAIN, count=300, whole_views=0)).matrices[:, 0]
    for axis in (0, 1):
        low = matrices[:, axis, 2] - matrices[:, axis, axis]
        high = matrices[:, axis, 2] + matrices[:, axis, axis]
        assert -1 - 1e-5 <= low.min() < -0.95 and 0.95 < high.max() <= 1 + 1e-5


def test_at_least_one_piece_is_whole_if_any_share_is_asked_for():
    assert (_sides(replace(PLAIN, count=4, whole_views=0.05)) >= 64).sum() == 1


def test_the_pieces_show_what_the_picture_shows():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 48, 64).contiguous()
    settings = replace(PLAIN, whole_views=0)
    plan = _plan(settings)
    middle = apply_cutouts(ramp, plan)[:, 0].mean(dim=(1, 2))
    torch.testing.assert_close(middle, (plan.matrices[:, 0, 0, 2] + 1) / 2, atol=0.02, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_rng_cuts_the_same_and_another_one_does_not(method):
    settings = replace(SHAKEN, count=5, method=method)
    first, second, other = (_cut(settings, _picture(), seeds=(seed,)) for seed in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_cut_as_its_pictures_alone(method):
    settings = replace(SHAKEN, count=5, method=method, smallest_view=0.1, roll=4)
    images = _picture(pictures=3)
    together = _cut(settings, images, seeds=(4, 5, 6)).unflatten(0, (5, 3))
    for picture, seed in enumerate((4, 5, 6)):
        alone = _cut(settings, images[picture : picture + 1], seeds=(seed,))
        torch.testing.assert_close(together[:, picture], alone)


@pytest.mark.parametrize("method", METHODS)
def test_noise_is_added_and_does_not_move_the_pieces(method):
    quiet = replace(SHAKEN, count=40, method=method, noise=0, jitter=0)
    clean, noisy = (_cut(settings, _picture()) for settings in (quiet, replace(quiet, noise=0.2)))
    strengths = (noisy - clean).flatten(1).std(dim=1)
    assert strengths.min() < 0.05 and 0.15 < strengths.max() <= 0.21
    assert (noisy - clean).mean().abs() < 0.01


def test_noise_differs_from_piece_to_piece():
    plan = _plan(replace(SHAKEN, count=6, noise=1.0))
    fields = plan.noise.fields((3, 16, 16), torch.device("cpu")).flatten(1)
    assert (torch.corrcoef(fields) - torch.eye(6)).abs().max() < 0.2


def test_a_roll_moves_every_piece_by_less_than_half_a_cell():
    settings = replace(PLAIN, count=200)
    still, rolled = (_plan(one).matrices[:, 0] for one in (settings, replace(settings, roll=8.0)))
    across = (rolled - still)[:, 0, 2] * 64 / 2
    down = (rolled - still)[:, 1, 2] * 48 / 2
    for move in (across, down):
        assert 3.5 < move.abs().max() <= 4 + 1e-4 and move.abs().min() < 0.5


def test_a_small_view_of_a_large_picture_is_averaged_not_skipped():
    stripes = (torch.arange(256) % 2).float().expand(1, 3, 256, 256).contiguous()
    pieces = _cut(replace(PLAIN, count=8, smallest_view=0.8), stripes, size=16)
    torch.testing.assert_close(pieces, torch.full_like(pieces, 0.5))


def test_mip_levels_fit_the_sizes():
    plan = _plan(replace(PLAIN, count=32, whole_views=0.25, smallest_view=0.1), size=32, height=256, width=256)
    assert plan.levels[0][0] == 3 and plan.levels[-1][0] == 0
    assert sum(number for _, number in plan.levels) == 32


def test_an_odd_picture_can_be_halved():
    torch.testing.assert_close(halve(torch.full((1, 3, 5, 7), 0.3)), torch.full((1, 3, 2, 3), 0.3))
    assert halve(torch.ones(1, 3, 1, 4)).shape == (1, 3, 1, 2)


def test_pooled_pieces_move_on_both_axes_and_share_one_hole():
    settings = CutoutSettings(count=64, method="pooled")
    plan = _plan(settings)
    shifts = plan.matrices[:, 0, :2, 2]
    assert (shifts.abs().amax(dim=0) > 0.15).all() and shifts.abs().max() <= 0.2 + 1e-6
    holes = plan.erased[:, 0][plan.erased[:, 0].sum(dim=1) > 0]
    assert 30 < len(holes) < 60 and (holes == holes[0]).all()
    left, top, right, bottom = holes[0].tolist()
    pieces = apply_cutouts(torch.ones(1, 3, 48, 64), plan)
    erased = plan.erased[:, 0].sum(dim=1) > 0
    assert pieces[erased][:, :, top:bottom, left:right].eq(0).all()
    assert pieces[~erased][:, :, top:bottom, left:right].ne(0).any()


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_is_that_of_the_function(method):
    settings = replace(SHAKEN, count=3, method=method, noise=0.05)
    image = (_picture(24, 32) * 0.8 + 0.1).requires_grad_()
    plan = _plan(settings, size=8, height=24, width=32)
    weights = torch.randn(3, 3, 8, 8, generator=_rng(1))
    (gradient,) = torch.autograd.grad(apply_cutouts(image, plan), image, weights)
    direction = torch.randn(image.shape, generator=_rng(2))
    with torch.no_grad():
        ahead, behind = (apply_cutouts(image + sign * 1e-4 * direction, plan) for sign in (1, -1))
    expected = ((ahead - behind) * weights).sum() / 2e-4
    torch.testing.assert_close((gradient * direction).sum(), expected, rtol=2e-2, atol=2e-2)


def test_a_plan_for_another_number_of_pictures_is_refused():
    with pytest.raises(ValueError, match="2 pictures, but there are 1"):
        apply_cutouts(_picture(), _plan(PLAIN, seeds=(0, 1)))


@pytest.mark.parametrize("method", METHODS)
def test_pieces_of_a_tile_do_not_know_where_it_begins(method):
    settings = CutoutSettings(8, method, whole_views=0.3, smallest_view=0.4, rotation=10, wrap=(True, True))
    plan, image = _plan(settings, size=12, height=32, width=48), _picture(32, 48)
    if method == "crops":
        moved = replace(plan, boxes=tuple((((x + 24) % 48, (y + 8) % 32, s),) for ((x, y, s),) in plan.boxes))
    else:
        there = translate(torch.tensor(1.0), torch.tensor(0.5))
        moved = replace(plan, matrices=there @ plan.matrices)
    assert torch.allclose(apply_cutouts(image.roll((8, 24), (2, 3)), moved), apply_cutouts(image, plan), atol=1e-4)


def test_crops_of_a_tile_lie_over_its_ends_too():
    settings = replace(PLAIN, count=200, whole_views=0.0, wrap=(True, False))
    plan = _plan(settings)
    middles, halves = plan.matrices[:, 0, :2, 2], plan.matrices[:, 0, [0, 1], [0, 1]].abs()
    across, down = ((middles.abs() + halves) > 1).float().mean(0)
    assert across > 0.3 and down == 0


def _unrolled(plan):
    """Where each crop lies between its furthest places (-1 to 1), across and down, and how it is turned."""
    linear, middle = plan.matrices[:, 0, :2, :2], plan.matrices[:, 0, :2, 2]
    half = linear.diagonal(dim1=-2, dim2=-1).abs()
    return middle / (1 - half), linear


@pytest.mark.parametrize("whole", [0.0, 0.25])
def test_antithetic_pairs_lie_opposite_each_other_and_their_mean_place_is_the_middle(whole):
    settings = CutoutSettings(12, whole_views=whole, smallest_view=0.3, antithetic=True)
    first = round(12 * whole)
    places = _unrolled(_plan(settings, height=48, width=48))[0]
    for group in (places[:first], places[first:]):
        pairs = group[: len(group) // 2 * 2].unflatten(0, (-1, 2))
        assert pairs.abs().max() > 0.3 if len(pairs) else not first
        torch.testing.assert_close(pairs.mean(dim=1), torch.zeros(len(pairs), 2), atol=1e-5, rtol=0)
    free = _unrolled(_plan(replace(settings, antithetic=False), height=48, width=48))[0][first:]
    assert free[: len(free) // 2 * 2].unflatten(0, (-1, 2)).mean(dim=1).abs().max() > 0.1
    assert torch.equal(free[::2], places[first:][::2])  # the first of each pair is drawn as ever


def test_antithetic_pairs_turn_slant_and_roll_opposite_ways():
    settings = CutoutSettings(8, smallest_view=1.0, rotation=30.0, roll=6.0, antithetic=True)
    plan = _plan(settings, height=48, width=48)
    one, other = plan.matrices[:, 0].unflatten(0, (-1, 2)).unbind(1)
    torch.testing.assert_close(one[:, :2, 2], -other[:, :2, 2], atol=1e-6, rtol=0)  # of the roll alone: they fill it
    assert one[:, :2, 2].abs().min() > 0
    for row, column in ((0, 1), (1, 0)):  # turned and slanted: what is across changes its sign
        assert one[:, row, column].abs().max() > 0.1
        torch.testing.assert_close(one[:, row, column], -other[:, row, column], atol=1e-6, rtol=0)
    torch.testing.assert_close(one[:, 0, 0], other[:, 0, 0], atol=1e-6, rtol=0)


def test_antithetic_pairs_cut_the_error_of_the_mean_of_a_slope():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 48, 64).contiguous()
    free, paired = (
        torch.stack([_cut(replace(PLAIN, antithetic=on), ramp, seeds=(seed,)).mean() for seed in range(60)]).std()
        for on in (False, True)
    )
    assert paired < 0.5 * free
