import pytest
import torch

from vqclip.ops import geometry as geo
from vqclip.ops.camera import Move, camera, reach, whole_cells

STILL = torch.eye(3, dtype=torch.float64)[None]


def _picture(height=24, width=40):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def _shown(picture, move):
    height, width = picture.shape[2:]
    return geo.warp(picture, camera(move, width=width, height=height), height=height, width=width)


def _corners():
    return torch.tensor([[1.0, -1, 1], [1, 1, 1], [-1, -1, 1], [-1, 1, 1]], dtype=torch.float64)


def test_a_camera_that_does_not_move_changes_nothing():
    torch.testing.assert_close(camera(Move(), width=40, height=24), STILL)


@pytest.mark.parametrize(("pan", "rows", "columns"), [((3, 0), 0, 3), ((0, 2), 2, 0)])
def test_a_pan_moves_right_and_down_by_pixels(pan, rows, columns):
    picture = _picture()
    out = _shown(picture, Move(pan=pan))
    torch.testing.assert_close(out[..., : 24 - rows, : 40 - columns], picture[..., rows:, columns:], atol=1e-5, rtol=0)


def test_a_pan_of_half_a_pixel_is_the_mean_of_two():
    picture = _picture()
    out = _shown(picture, Move(pan=(0.5, 0)))
    torch.testing.assert_close(out[..., :-1], (picture[..., :-1] + picture[..., 1:]) / 2, atol=1e-5, rtol=0)


def test_zoom_above_one_goes_in_and_its_inverse_comes_back():
    into, out = (camera(Move(zoom=zoom), width=40, height=24) for zoom in (1.25, 1 / 1.25))
    assert into[0, 0, 0] == pytest.approx(0.8)
    torch.testing.assert_close(into @ out, STILL)


def test_a_quarter_turn_is_clockwise_and_keeps_squares_square_in_a_wide_picture():
    square = _picture(16, 16)
    torch.testing.assert_close(_shown(square, Move(rotate=90)), square.rot90(-1, (2, 3)), atol=1e-5, rtol=0)
    matrix = camera(Move(rotate=90), width=40, height=20)
    moved = matrix[0] @ torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)  # ten pixels below the middle
    torch.testing.assert_close(
        moved[:2].abs() * torch.tensor([20.0, 10.0]).double(), torch.tensor([10.0, 0.0]).double()
    )


def test_a_tilt_shows_less_of_the_side_that_comes_closer():
    moved = _corners() @ camera(Move(tilt=(0.1, 0)), width=32, height=32)[0].T
    y = (moved[:, 1] / moved[:, 2]).abs()
    assert y[:2].tolist() == pytest.approx([0.9, 0.9]) and y[2:].tolist() == pytest.approx([1.1, 1.1])


@pytest.mark.parametrize("tilt", [(0.5, 0.5), (-0.5, 0.5), (0.3, -0.5), (0.4, 0.4)])
def test_no_tilt_that_is_allowed_brings_the_horizon_into_the_frame(tilt):
    depth = _corners() @ camera(Move(tilt=tilt), width=32, height=32)[0, 2]
    assert depth.min() > 0.05 * depth.max()
    points = geo.grid(camera(Move(tilt=tilt), width=32, height=32), 32, 32)
    assert points.isfinite().all()


def test_a_thousand_small_moves_are_one_large_one():
    step = camera(Move(zoom=1.001, pan=(0.1, 0)), width=64, height=64)
    assert torch.linalg.matrix_power(step, 1000)[0, 0, 0] == pytest.approx(1.001**-1000, rel=1e-9)


def test_reach_is_how_far_a_corner_moves():
    assert reach(camera(Move(zoom=2), width=8, height=8)).tolist() == pytest.approx([0.5, 0.5])
    assert reach(camera(Move(pan=(2, -1)), width=8, height=8)).tolist() == pytest.approx([0.5, 0.25])


def test_whole_cells_and_the_rest_make_the_matrix():
    matrix = camera(Move(pan=(19, -7), zoom=1.01), width=64, height=64)
    shift, rest = whole_cells(matrix, rows=8, columns=8)
    torch.testing.assert_close(shift @ rest, matrix)
    torch.testing.assert_close(shift, camera(Move(pan=(16, -8)), width=64, height=64))
    assert (rest[0, :2, 2].abs() * 32 <= 4 + 1e-9).all()


def test_wrapping_brings_in_the_other_side():
    picture = _picture()
    matrix = camera(Move(pan=(7, -5)), width=40, height=24)
    out = geo.warp(picture, matrix, height=24, width=40, padding="wrap")
    torch.testing.assert_close(out, picture.roll((5, -7), (2, 3)), atol=1e-5, rtol=0)


def test_outside_is_what_lies_beyond_the_edges():
    beyond = geo.outside(camera(Move(pan=(10, 0)), width=40, height=24).float(), height=24, width=40)
    assert beyond[..., 30:].all() and not beyond[..., :30].any()
