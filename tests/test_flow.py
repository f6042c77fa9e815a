import importlib.util
import sys

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vqclip.errors import UsageError
from vqclip.ops.flow import agreement, in_sight, warp_by_flow
from vqclip.ops.pixels import to_picture
from vqclip.runs.flow import flow_between, has_flow

needs_opencv = pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="there is no OpenCV here")


def noise(seed=0, side=48):
    rough = torch.rand(1, 3, side // 6, side // 6, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(rough, (side, side), mode="bicubic").clamp(0, 1)


def shift(x, y, side=48):
    return torch.tensor([float(x), float(y)])[None, :, None, None].expand(1, 2, side, side).contiguous()


def test_a_flow_of_whole_pixels_moves_exactly_in_both_axes():
    picture = noise()
    moved = warp_by_flow(picture, shift(3, -2))
    torch.testing.assert_close(moved[..., 2:, :-3], picture[..., :-2, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(warp_by_flow(picture, shift(0, 0)), picture, atol=1e-6, rtol=0)


def test_a_coarser_grid_moves_by_the_same_share():
    latent = noise(side=12)
    moved = warp_by_flow(latent, shift(8, 0))  # four pixels of the flow to a cell
    torch.testing.assert_close(moved[..., :-2], latent[..., 2:], atol=1e-5, rtol=0)
    assert moved.min() >= latent.min() and moved.max() <= latent.max()


def test_what_comes_in_at_the_edge_or_from_behind_was_not_in_sight():
    seen = in_sight(shift(5, 0), shift(-5, 0))
    assert seen[..., :-5].all() and not seen[..., -5:].any()
    split = shift(0, 0)
    split[:, 0, :, 24:] = 6.0  # the right half came from further right, the left half stood still
    back = shift(0, 0)
    back[:, 0, :, 30:] = -6.0
    seen = in_sight(split, back)
    assert seen[..., :24].all() and seen[..., 26:42].all()
    assert not in_sight(shift(6, 0), shift(0, 0)).any()


def test_frames_agree_where_they_show_the_same():
    before, after = noise(1), noise(1)
    after[..., 24:] = 1 - after[..., 24:].round()
    agreed = agreement(before, after, grid=(6, 6))
    assert (agreed[..., :3] == 1).all() and (agreed[..., 3:] < 0.5).all()
    assert agreement(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8), grid=(2, 2)).max() == 0


@needs_opencv
def test_opencv_finds_a_shift_and_the_same_one_again():
    large = noise(2, side=96)
    here, there = to_picture(large[..., 12:76, 12:76]), to_picture(large[..., 10:74, 15:79])
    flow = flow_between(here, there)
    assert flow.shape == (64, 64, 2)
    middle = torch.from_numpy(flow)[12:-12, 12:-12]
    assert abs(float(middle[..., 0].median()) + 3) < 0.5 and abs(float(middle[..., 1].median()) - 2) < 0.5
    assert (flow_between(here, there) == flow).all()


def test_without_opencv_the_error_names_the_extra(monkeypatch):
    picture = Image.new("RGB", (32, 32))
    monkeypatch.setattr("vqclip.runs.flow.has_flow", lambda: False)
    with pytest.raises(UsageError) as caught:
        flow_between(picture, picture)
    assert "vqclip[flow]" in str(caught.value.hint)
    monkeypatch.setattr("vqclip.runs.flow.has_flow", lambda: True)
    monkeypatch.setitem(sys.modules, "cv2", None)  # there, but it cannot be loaded
    with pytest.raises(UsageError, match="cannot be loaded"):
        flow_between(picture, picture)
    assert isinstance(has_flow(), bool)
