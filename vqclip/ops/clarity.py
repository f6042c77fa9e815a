"""How pictures and frames are shown, for the eye alone: calm where they are even, clear where they are not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.ops.bands import PLAIN, Wrap

_WIDTH = 1 / 64  # the standard deviation of the blur, as a share of the picture's shorter side
_MOST = 0.1  # nothing moves further than about this share of the range, so that strong edges get no halo
_REACH = 1 / 42  # how far to each side an area is looked at, as a share of the picture's shorter side
_FAINT = 0.0006  # the variance of a texture of which half is taken away: a fortieth of the range, squared


@dataclass(frozen=True)
class Showing:
    """How much of both: clarity as `cleared` takes it, calm as `calmed` does; and which sides of the picture meet."""

    clarity: float = 0.0
    calm: float = 0.0
    wrap: Wrap = PLAIN

    def __call__(self, image: Tensor) -> Tensor:
        """A picture [B, 3, H, W] in [0, 1] as it is shown; at nothing of both the image itself."""
        return cleared(calmed(image, self.calm, wrap=self.wrap), self.clarity, wrap=self.wrap)


def calmed(image: Tensor, amount: float, *, wrap: Wrap = PLAIN) -> Tensor:
    """A picture without the faint texture that a latent's cells leave in even areas; edges stay as they are.

    Shapes: [B, 3, H, W] in [0, 1] -> the same. Twice the amount takes textures of twice the variance away; 0 gives the
    image itself. Past its edges the picture is taken to go on evenly, or at the other side where it wraps.
    Source: the guided filter (He et al., 2010) with the picture as its own guide. Differs: one gain for all channels.
    """
    if not amount:
        return image
    reach = max(1, round(min(image.shape[2:]) * _REACH))
    with torch.no_grad():
        image = image.float()
        mean = _even(image, reach, wrap)
        variance = (_even(image.square(), reach, wrap) - mean.square()).clamp(min=0).mean(1, keepdim=True)
        kept = variance / (variance + amount * _FAINT)
        base = _even((1 - kept) * mean, reach, wrap)
        return (_even(kept, reach, wrap) * image + base).clamp(0, 1)


def cleared(image: Tensor, amount: float, *, wrap: Wrap = PLAIN) -> Tensor:
    """A picture with more local contrast: what a wide blur takes away is added, but little of what is strong already.

    Shapes: [B, 3, H, W] in [0, 1] -> the same. An even picture stays as it is; an amount of 0 gives the image itself.
    Past its edges the picture is taken to go on evenly, or at the other side where it wraps.
    Source: the unsharp mask of photographers. Differs: a wide radius, which leaves grain alone, and a limit.
    """
    if not amount:
        return image
    with torch.no_grad():
        image = image.float()
        detail = image - _blurred(image, min(image.shape[2:]) * _WIDTH, wrap)
        return (image + amount * _MOST * torch.tanh(detail / _MOST)).clamp(0, 1)


def _even(image: Tensor, reach: int, wrap: Wrap) -> Tensor:
    return F.avg_pool2d(_padded(_padded(image, reach, 3, wrap), reach, 2, wrap), 2 * reach + 1, stride=1)


def _padded(image: Tensor, reach: int, axis: int, wrap: Wrap) -> Tensor:
    """The picture with so many pixels more at both ends of an axis (3 across, 2 down)."""
    sides = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
    return F.pad(image, sides, mode="circular" if wrap[3 - axis] else "replicate")


def _blurred(image: Tensor, deviation: float, wrap: Wrap) -> Tensor:
    reach = min(max(1, round(3 * deviation)), *image.shape[2:])
    taps = torch.exp(-torch.arange(-reach, reach + 1).to(image).square() / (2 * deviation**2))
    taps = taps / taps.sum()
    for axis in (2, 3):
        wide = _padded(image, reach, axis, wrap).flatten(0, 1)[:, None]
        image = F.conv2d(wide, taps.view((1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1))).view(image.shape)
    return image
