"""Other sizes: the notebook's way (a Lanczos prefilter where it shrinks, then bicubic), and growing what wraps."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.ops.bands import Wrap
from vqclip.words import counted

_REACH = 2  # the neighbors that a bicubic weighs on each side


def resample(image: Tensor, height: int, width: int) -> Tensor:
    """Resizes a picture; an axis that shrinks is low-passed first.

    Shapes: image [B, C, H, W] -> [B, C, height, width]; bicubic, so values may leave the range of the image a little.
    Raises: ValueError if a side is too short for its filter to be reflected at the edge.
    Source: `resample` in the VQGAN+CLIP notebook (Crowson, 2021).
    """
    filtered = _shrink_filter(_shrink_filter(image, height, axis=2), width, axis=3)
    return F.interpolate(filtered, (height, width), mode="bicubic", align_corners=True)


def stretch(image: Tensor, size: tuple[int, int], mode: Literal["bilinear", "bicubic"], wrap: Wrap) -> Tensor:
    """Enlarges a picture or latent; along an axis that wraps (x, y) it goes on at its other end.

    Shapes: image [B, C, H, W] -> [B, C, *size] (rows, columns).
    """
    if not any(wrap):
        return F.interpolate(image, size, mode=mode)
    points = [torch.linspace(-1 + 1 / side, 1 - 1 / side, side, device=image.device) for side in size]
    for axis, wraps in ((3, wrap[0]), (2, wrap[1])):
        if wraps:
            side = image.shape[axis]
            sides = (_REACH, _REACH, 0, 0) if axis == 3 else (0, 0, _REACH, _REACH)
            image = F.pad(image, sides, mode="circular")
            points[axis - 2] = points[axis - 2] * side / (side + 2 * _REACH)
    y, x = torch.meshgrid(*points, indexing="ij")
    grid = torch.stack([x, y], dim=-1).to(image.dtype).expand(len(image), -1, -1, -1)
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)


def double(image: Tensor, padding: Literal["circular", "replicate"] = "replicate") -> Tensor:
    """The picture with a row and a column between any two, by Lanczos: what is sampled from it keeps its detail.

    Shapes: image [B, C, H, W], its sides at least 4 -> [B, C, 2 H, 2 W], whose even rows and columns are the image; the
    others may leave its range a little.
    """
    for axis in (2, 3):
        sides = (0, 0, _LOBES - 1, _LOBES) if axis == 2 else (_LOBES - 1, _LOBES, 0, 0)
        taps = _BETWEEN.to(image).view((1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1))
        wide = F.pad(image, sides, mode=padding)
        between = F.conv2d(wide.reshape(-1, 1, *wide.shape[2:]), taps).view(image.shape)
        image = torch.stack([image, between], dim=axis + 1).flatten(axis, axis + 1)
    return image


def within(image: Tensor, other: Tensor, scale: float, clear: float) -> Tensor:
    """A picture with another one in its middle, fading into it along a round rim.

    Shapes: image [1, C, H, W], other [1, C, h, w] of the same aspect -> [1, C, H, W]. scale in (0, 1] is the other's
    width of the picture's; it is seen alone within `clear` of the way from its middle to its sides, and not beyond.
    """
    height, width = (max(1, round(side * scale)) for side in image.shape[2:])
    shrinks = height * width < other.shape[2] * other.shape[3]
    other = F.interpolate(other, (height, width), mode="area" if shrinks else "bicubic").clamp(0, 1)
    down, across = (torch.linspace(-1, 1, side, device=image.device) for side in (height, width))
    inside = ((1 - torch.hypot(down[:, None], across)) / (1 - clear)).clamp(0, 1)
    top, left = (image.shape[2] - height) // 2, (image.shape[3] - width) // 2
    place = (..., slice(top, top + height), slice(left, left + width))
    both = image.clone()
    both[place] = torch.lerp(image[place], other, inside * inside * (3 - 2 * inside))
    return both


def lanczos_kernel(ratio: float, lobes: int = 2) -> Tensor:
    """The taps of a Lanczos low-pass for shrinking to `ratio` (< 1) of the size; odd in number, their sum is 1."""
    reach = math.ceil(lobes / ratio) - 1  # the outermost tap that is not zero
    x = torch.arange(-reach, reach + 1) * ratio
    taps = torch.sinc(x) * torch.sinc(x / lobes)
    return taps / taps.sum()


def _shrink_filter(image: Tensor, target: int, axis: int) -> Tensor:
    side = image.shape[axis]
    if target >= side:
        return image
    kernel = lanczos_kernel(target / side).to(image)
    reach = len(kernel) // 2
    if reach >= side:
        raise ValueError(f"a side of {counted(side, 'pixel')} is too short to shrink to {target} with this filter")
    kernel = kernel.view((1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1))
    pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
    flat = F.pad(image.reshape(-1, 1, *image.shape[2:]), pad, mode="reflect")
    return F.conv2d(flat, kernel).view(image.shape)


def _between(lobes: int) -> Tensor:
    """The taps of a Lanczos for the middle between two pixels [2 lobes]; their sum is 1."""
    x = torch.arange(2 * lobes) - lobes + 0.5
    taps = torch.sinc(x) * torch.sinc(x / lobes)
    return taps / taps.sum()


_LOBES = 4
_BETWEEN = _between(_LOBES)
