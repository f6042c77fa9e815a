import math

import torch

from vqclip.ops import color


def _picture(count=1):
    return torch.rand(count, 3, 5, 7, generator=torch.Generator().manual_seed(0))


def _numbers(*values):
    return torch.tensor(values, dtype=torch.float32)


def test_no_jitter_changes_nothing():
    picture = _picture(2)
    torch.testing.assert_close(color.apply_color(picture, color.jitter(0.0, torch.ones(2, 4))), picture)


def test_saturation_zero_is_grey_and_one_is_the_picture():
    picture = _picture(2)
    out = color.apply_color(picture, color.saturate(_numbers(0.0, 1.0)))
    luma = (picture[0] * torch.tensor(color.LUMA)[:, None, None]).sum(0)
    torch.testing.assert_close(out[0], luma.expand(3, -1, -1))
    torch.testing.assert_close(out[1], picture[1])


def test_hue_leaves_grey_alone_and_a_third_of_a_turn_passes_the_channels_on():
    picture = _picture()
    turn = color.turn_hue(_numbers(2 * math.pi / 3))
    gray = torch.full((1, 3, 2, 2), 0.4)
    torch.testing.assert_close(color.apply_color(gray, turn), gray)
    torch.testing.assert_close(color.apply_color(picture, turn), picture.roll(1, dims=1), atol=1e-5, rtol=0)


def test_contrast_turns_around_middle_grey_and_brightness_adds():
    picture = _picture()
    out = color.apply_color(picture, color.contrast(_numbers(2.0)))
    torch.testing.assert_close(out, (picture - 0.5) * 2 + 0.5)
    torch.testing.assert_close(color.apply_color(picture, color.brighten(_numbers(0.1))), picture + 0.1)


def test_composed_matrices_are_one_change_after_the_other():
    picture = _picture()
    first, second = color.saturate(_numbers(0.3)), color.contrast(_numbers(1.4))
    torch.testing.assert_close(
        color.apply_color(picture, second @ first), color.apply_color(color.apply_color(picture, first), second)
    )


def test_jitter_stays_within_its_strength():
    draws = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gray = torch.full((200, 3, 1, 1), 0.5)
    moved = (color.apply_color(gray, color.jitter(0.2, draws)) - 0.5).abs()
    assert 0.05 < moved.max() <= 0.1 + 1e-6
