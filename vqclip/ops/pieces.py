"""The work behind cutouts: sampling many pieces from few pictures, erasing, noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.ops.bands import PLAIN, Wrap
from vqclip.ops.geometry import grid


@dataclass(frozen=True)
class Noise:
    """Noise for many pieces out of few normal numbers: each piece reads its own stretch of a strip.

    strips [B, L]; offsets[n][B] of each piece into its picture's strip, as numbers or as a tensor [n, B] (where shapes
    alone may decide what is done); strengths [n, B], standard deviations.
    """

    strips: Tensor
    offsets: tuple[tuple[int, ...], ...] | Tensor
    strengths: Tensor

    def fields(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """The noise of all pieces [n * B, *shape], cut-major."""
        length, strips = math.prod(shape), self.strips.to(device, non_blocking=True)
        strengths = self.strengths.to(device, non_blocking=True).view(-1, 1)
        if isinstance(self.offsets, Tensor):
            owners = torch.arange(len(strips), device=device)[None, :, None]
            places = self.offsets.to(device)[:, :, None] + torch.arange(length, device=device)
            return (strips[owners, places].flatten(0, 1) * strengths).unflatten(1, shape)
        stretches = [strips[b, start : start + length] for piece in self.offsets for b, start in enumerate(piece)]
        return torch.stack(stretches).mul_(strengths).unflatten(1, shape)


def halve(image: Tensor) -> Tensor:
    """The next mip level: every 2x2 pixels averaged. Shapes: image [B, C, H, W] -> [B, C, H // 2, W // 2]."""
    return F.interpolate(image, (max(image.shape[2] // 2, 1), max(image.shape[3] // 2, 1)), mode="area")


def squeeze(image: Tensor, size: int) -> Tensor:
    """The whole picture in a square, each pixel the mean of the average and the largest of what it covers.

    Shapes: image [B, C, H, W] -> [B, C, size, size]. Source: cutout method "latest" of nerdyrodent's VQGAN-CLIP.
    """
    return (F.adaptive_avg_pool2d(image, size) + F.adaptive_max_pool2d(image, size)) / 2


def sample_pieces(
    image: Tensor,
    matrices: Tensor,
    levels: Sequence[tuple[int, int]],
    size: int,
    *,
    padding: str = "reflection",
    wrap: Wrap = PLAIN,
) -> Tensor:
    """Samples many square pieces from each picture, by one tall grid for each mip level.

    The picture is not copied for each piece, which makes it several times faster than a sampling per piece. Along an
    axis that wraps (x, y) the picture goes on at its other end, along another as `padding` says.
    Shapes: image [B, C, H, W]; matrices [n, B, 3, 3] from piece to picture; levels (mip level, number of consecutive
    pieces), the numbers summing to n -> [n, B, C, size, size].
    """
    pyramid = [image]
    for _ in range(max(level for level, _ in levels)):
        pyramid.append(halve(pyramid[-1]))
    pieces = []
    for (level, number), part in zip(
        levels, matrices.to(image, non_blocking=True).split([n for _, n in levels]), strict=True
    ):
        points = grid(part.transpose(0, 1), size, size).flatten(1, 2)
        picture, points = _wrapped(pyramid[level], points, wrap) if any(wrap) else (pyramid[level], points)
        tall = F.grid_sample(picture, points, padding_mode=padding, align_corners=False)
        pieces.append(tall.unflatten(2, (number, size)).permute(2, 0, 1, 3, 4))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _wrapped(image: Tensor, points: Tensor, wrap: Wrap) -> tuple[Tensor, Tensor]:
    """A picture with a pixel of its other end on both sides, and points brought back into it."""
    sides = torch.tensor([image.shape[3], image.shape[2]], device=points.device)
    wraps = torch.tensor(wrap, device=points.device)
    around = (torch.remainder(points + 1, 2) * sides / 2 + 1) * 2 / (sides + 2) - 1
    for axis, wraps_here in enumerate(wrap):
        if wraps_here:
            image = F.pad(image, (0, 0, 1, 1) if axis else (1, 1, 0, 0), mode="circular")
    return image, torch.where(wraps, around, points)


def erase(pieces: Tensor, boxes: Tensor) -> Tensor:
    """Blacks out a rectangle of each piece.

    Shapes: pieces [n, C, H, W]; boxes [n, 4] left, top, right, bottom in pixels, right and bottom outside -> the same.
    """
    left, top, right, bottom = boxes.to(pieces.device, non_blocking=True)[:, :, None].unbind(1)
    x, y = (torch.arange(side, device=pieces.device) for side in (pieces.shape[3], pieces.shape[2]))
    inside = ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None, :]
    return pieces.masked_fill(inside[:, None], 0.0)
