import math

import torch

from vqclip.ops import geometry as geo


def _point(matrix, x, y):
    mapped = matrix[0] @ torch.tensor([x, y, 1.0])
    return (mapped[:2] / mapped[2]).tolist()


def _numbers(*values):
    return torch.tensor(values, dtype=torch.float32)


def _picture(height=12, width=20):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_the_identity_gives_the_picture_back():
    picture = _picture()
    torch.testing.assert_close(geo.warp(picture, torch.eye(3)[None], height=12, width=20), picture, atol=1e-5, rtol=0)


def test_translate_moves_both_axes():
    picture = _picture()
    across = geo.warp(picture, geo.translate(_numbers(2 / 20 * 3), _numbers(0.0)), height=12, width=20)
    down = geo.warp(picture, geo.translate(_numbers(0.0), _numbers(2 / 12 * 2)), height=12, width=20)
    torch.testing.assert_close(across[..., :-3], picture[..., 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(down[:, :, :-2], picture[:, :, 2:], atol=1e-5, rtol=0)


def test_translations_add_and_turns_add():
    a, b = _numbers(0.3), _numbers(-0.1)
    torch.testing.assert_close(geo.translate(a, b) @ geo.translate(b, a), geo.translate(a + b, a + b))
    torch.testing.assert_close(geo.rotate(a) @ geo.rotate(b), geo.rotate(a + b))


def test_a_composition_is_its_parts_one_after_the_other():
    turn, move = geo.rotate(_numbers(0.4)), geo.translate(_numbers(0.2), _numbers(-0.3))
    inner = _point(turn, 0.5, 0.25)
    torch.testing.assert_close(_point(move @ turn, 0.5, 0.25), _point(move, *inner))


def test_flip_mirrors_only_where_told():
    picture = _picture().expand(2, -1, -1, -1)
    out = geo.warp(picture, geo.flip(torch.tensor([True, False])), height=12, width=20)
    torch.testing.assert_close(out[0], picture[0].flip(-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(out[1], picture[1], atol=1e-5, rtol=0)


def test_a_quarter_turn_shows_the_picture_turned():
    picture = _picture(16, 16)
    out = geo.warp(picture, geo.rotate(_numbers(math.pi / 2)), height=16, width=16)
    torch.testing.assert_close(out, picture.rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_shear_moves_each_axis_with_the_other():
    assert _point(geo.shear(_numbers(0.5), _numbers(0.0)), 0.0, 1.0) == [0.5, 1.0]
    assert _point(geo.shear(_numbers(0.0), _numbers(0.5)), 1.0, 0.0) == [1.0, 0.5]


def test_perspective_takes_the_corners_where_they_should_go():
    corners = torch.tensor([[[-0.9, -1.1], [1.2, -0.8], [0.7, 1.0], [-1.0, 0.6]]])
    matrix = geo.perspective(corners)
    for corner, (x, y) in zip(corners[0].tolist(), [(-1, -1), (1, -1), (1, 1), (-1, 1)], strict=True):
        torch.testing.assert_close(_point(matrix, x, y), corner, atol=1e-5, rtol=0)


def test_a_perspective_of_straight_corners_changes_nothing():
    square = torch.tensor([[[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]])
    torch.testing.assert_close(geo.perspective(square), torch.eye(3)[None])


def test_a_window_cuts_out_its_rectangle():
    picture = _picture()
    matrix = geo.window(_numbers(7.0), _numbers(5.0), _numbers(6.0), _numbers(4.0), of=(12, 20))
    out = geo.warp(picture, matrix, height=4, width=6)
    torch.testing.assert_close(out, picture[..., 3:7, 4:10], atol=1e-5, rtol=0)
