"""Clear pictures: more contrast between what lies side by side, for the eye alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_WIDTH = 1 / 64  # the standard deviation of the blur, as a share of the picture's shorter side
_MOST = 0.1  # nothing moves further than about this share of the range, so that strong edges get no halo


def cleared(image: Tensor, amount: float, *, wraps: bool = False) -> Tensor:
    """A picture with more local contrast: what a wide blur takes away is added, but little of what is strong already.

    Shapes: [B, 3, H, W] in [0, 1] -> the same. An even picture stays as it is; an amount of 0 gives the image itself.
    Past its edges the picture is taken to go on evenly, or at the other side if it wraps.
    Source: the unsharp mask of photographers. Differs: a wide radius, which leaves grain alone, and a limit.
    """
    if not amount:
        return image
    with torch.no_grad():
        detail = image - _blurred(image, min(image.shape[2:]) * _WIDTH, "circular" if wraps else "replicate")
        return (image + amount * _MOST * torch.tanh(detail / _MOST)).clamp(0, 1)


def _blurred(image: Tensor, deviation: float, padding: str) -> Tensor:
    reach = min(max(1, round(3 * deviation)), *image.shape[2:])
    taps = torch.exp(-torch.arange(-reach, reach + 1).to(image).square() / (2 * deviation**2))
    taps = taps / taps.sum()
    for axis in (2, 3):
        sides = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        wide = F.pad(image, sides, mode=padding).flatten(0, 1)[:, None]
        image = F.conv2d(wide, taps.view((1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1))).view(image.shape)
    return image
