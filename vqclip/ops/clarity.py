"""How frames are shown, for the eye alone: calm where they are even, clear where they are not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_WIDTH = 1 / 64  # the standard deviation of the blur, as a share of the picture's shorter side
_MOST = 0.1  # nothing moves further than about this share of the range, so that strong edges get no halo
_REACH = 1 / 42  # how far to each side an area is looked at, as a share of the picture's shorter side
_FAINT = 0.0006  # the variance of a texture of which half is taken away: a fortieth of the range, squared


@dataclass(frozen=True)
class Showing:
    """How much of both: clarity as `cleared` takes it, calm as `calmed` does."""

    clarity: float = 0.0
    calm: float = 0.0

    def __call__(self, image: Tensor, *, wraps: bool = False) -> Tensor:
        """A picture [B, 3, H, W] in [0, 1] as it is shown; at nothing of both the image itself."""
        return cleared(calmed(image, self.calm, wraps=wraps), self.clarity, wraps=wraps)


def calmed(image: Tensor, amount: float, *, wraps: bool = False) -> Tensor:
    """A picture without the faint texture that a latent's cells leave in even areas; edges stay as they are.

    Shapes: [B, 3, H, W] in [0, 1] -> the same. Twice the amount takes textures of twice the variance away; 0 gives the
    image itself. Past its edges the picture is taken to go on evenly, or at the other side if it wraps.
    Source: the guided filter (He et al., 2010) with the picture as its own guide. Differs: one gain for all channels.
    """
    if not amount:
        return image
    reach, padding = max(1, round(min(image.shape[2:]) * _REACH)), "circular" if wraps else "replicate"
    with torch.no_grad():
        mean = _even(image, reach, padding)
        variance = (_even(image.square(), reach, padding) - mean.square()).clamp(min=0).mean(1, keepdim=True)
        kept = variance / (variance + amount * _FAINT)
        base = _even((1 - kept) * mean, reach, padding)
        return (_even(kept, reach, padding) * image + base).clamp(0, 1)


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


def _even(image: Tensor, reach: int, padding: str) -> Tensor:
    return F.avg_pool2d(F.pad(image, (reach,) * 4, mode=padding), 2 * reach + 1, stride=1)


def _blurred(image: Tensor, deviation: float, padding: str) -> Tensor:
    reach = min(max(1, round(3 * deviation)), *image.shape[2:])
    taps = torch.exp(-torch.arange(-reach, reach + 1).to(image).square() / (2 * deviation**2))
    taps = taps / taps.sum()
    for axis in (2, 3):
        sides = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        wide = F.pad(image, sides, mode=padding).flatten(0, 1)[:, None]
        image = F.conv2d(wide, taps.view((1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1))).view(image.shape)
    return image
