"""Plane geometry as 3x3 matrices: composed once, then one resampling.

A matrix maps points of the result to points of the source (x right, y down, both in [-1, 1] from edge to edge). So in
`a @ b` the part nearest to the source stands first. All functions are batched: [..., 3, 3].
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def translate(x: Tensor, y: Tensor) -> Tensor:
    """Looks further right by x and further down by y. Shapes: x, y [n] in half sides -> [n, 3, 3]."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return _matrix(one, zero, x, zero, one, y, zero, zero, one)


def scale(x: Tensor, y: Tensor) -> Tensor:
    """Looks at a part x times as wide and y times as high; below 1 magnifies, negative mirrors. [n] -> [n, 3, 3]."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return _matrix(x, zero, zero, zero, y, zero, zero, zero, one)


def rotate(angle: Tensor) -> Tensor:
    """Turns the window clockwise, in a square frame. Shapes: angle [n] in radians -> [n, 3, 3]."""
    one, zero = torch.ones_like(angle), torch.zeros_like(angle)
    cos, sin = angle.cos(), angle.sin()
    return _matrix(cos, -sin, zero, sin, cos, zero, zero, zero, one)


def shear(x: Tensor, y: Tensor) -> Tensor:
    """Slants the window: x moves with y by the first, y with x by the second. [n] (tangents) -> [n, 3, 3]."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return _matrix(one, x, zero, y, one, zero, zero, zero, one)


def flip(mirrored: Tensor) -> Tensor:
    """Mirrors left and right where told. Shapes: mirrored [n] of booleans -> [n, 3, 3]."""
    sign = 1.0 - 2.0 * mirrored.float()
    return scale(sign, torch.ones_like(sign))


def perspective(corners: Tensor) -> Tensor:
    """Spreads the window over any convex four-sided figure.

    Shapes: corners [n, 4, 2], where the window's (-1, -1), (1, -1), (1, 1), (-1, 1) come to lie -> [n, 3, 3].
    Source: the closed form of Heckbert, Fundamentals of Texture Mapping (1989): no linear system to solve.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (corner.unbind(-1) for corner in corners.unbind(-2))
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    ax, ay, bx, by = x1 - x2, y1 - y2, x3 - x2, y3 - y2
    area = ax * by - bx * ay
    g, h = (sum_x * by - bx * sum_y) / area, (ax * sum_y - sum_x * ay) / area
    unit = _matrix(
        *(x1 - x0 + g * x1, x3 - x0 + h * x3, x0),
        *(y1 - y0 + g * y1, y3 - y0 + h * y3, y0),
        *(g, h, torch.ones_like(g)),
    )
    return unit @ unit.new_tensor([[0.5, 0.0, 0.5], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])


def window(x: Tensor, y: Tensor, width: Tensor, height: Tensor, *, of: tuple[int, int]) -> Tensor:
    """Looks at a rectangle of a picture of size `of` = (height, width).

    Shapes: x, y (its middle), width, height [n] in pixels -> [n, 3, 3].
    """
    tall, wide = of
    return translate(2 * x / wide - 1, 2 * y / tall - 1) @ scale(width / wide, height / tall)


def grid(matrices: Tensor, height: int, width: int) -> Tensor:
    """The sampling points of a result of that size.

    Shapes: matrices [..., 3, 3] -> [..., height, width, 2] (x, y) in [-1, 1], for grid_sample without align_corners.
    """
    x = (torch.arange(width, device=matrices.device) * 2 + 1) / width - 1
    y = (torch.arange(height, device=matrices.device) * 2 + 1) / height - 1
    columns = matrices[..., :, 0, None] * x + matrices[..., :, 2, None]
    rows = matrices[..., :, 1, None] * y
    depth = (columns[..., 2, None, :] + rows[..., 2, :, None]).reciprocal()
    points = matrices.new_empty((*depth.shape, 2))
    for axis in (0, 1):
        torch.add(columns[..., axis, None, :], rows[..., axis, :, None], out=points[..., axis])
    return points.mul_(depth[..., None])


def warp(
    image: Tensor,
    matrices: Tensor,
    *,
    height: int,
    width: int,
    padding: Literal["reflection", "border", "zeros", "wrap"] = "reflection",
    mode: Literal["bilinear", "bicubic"] = "bilinear",
) -> Tensor:
    """Resamples each picture once, by its own matrix.

    padding says what lies beyond the edges: the mirrored picture, its last pixels, nothing, or the picture again.
    Shapes: image [B, C, H, W], matrices [B or 1, 3, 3] -> [B, C, height, width], in the range of the image (bicubic
    may leave it a little).
    """
    points = grid(matrices.to(image, non_blocking=True), height, width).expand(len(image), -1, -1, -1)
    if padding == "wrap":
        image, points, padding = *_around(image, points), "border"
    return F.grid_sample(image, points, mode=mode, padding_mode=padding, align_corners=False)


def outside(matrices: Tensor, *, height: int, width: int) -> Tensor:
    """Where a warp looks beyond the edges. Shapes: matrices [n, 3, 3] -> [n, 1, height, width] of booleans."""
    return (grid(matrices, height, width).abs() > 1).any(dim=-1)[:, None]


def _around(image: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """A picture with its other side on each side, and points folded into it: what grid_sample lacks for wrapping."""
    size = points.new_tensor([image.shape[3], image.shape[2]])
    margin = min(2, *image.shape[2:])
    folded = (points + 1).remainder(2) - 1
    return F.pad(image, (margin,) * 4, mode="circular"), folded * (size / (size + 2 * margin))


def _matrix(*cells: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*cells), dim=-1).unflatten(-1, (3, 3))
