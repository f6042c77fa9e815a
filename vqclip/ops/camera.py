"""A camera's move from one frame to the next: zoom, pan, turn, slant and tilt as one 3x3 matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vqclip.ops import geometry as geo

_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


@dataclass(frozen=True)
class Move:
    """How the camera moves within one frame.

    zoom: above 1 goes in, below 1 out. pan: pixels to the right and down. rotate: degrees by which the picture turns
    clockwise. shear: how far x slides with y, and y with x. tilt: by which share the right side and the lower side come
    closer (the other side recedes as much), between -0.5 and 0.5. All may be fractions.
    """

    zoom: float = 1.0
    pan: tuple[float, float] = (0.0, 0.0)
    rotate: float = 0.0
    shear: tuple[float, float] = (0.0, 0.0)
    tilt: tuple[float, float] = (0.0, 0.0)


def camera(move: Move, *, width: int, height: int) -> Tensor:
    """The matrix of a move in a picture of that size, from the new frame's points to the old frame's.

    Turning, slanting and zooming are about the middle, in pixels, so that a wide picture is not squeezed.
    Returns: [1, 3, 3] in float64, so that thousands of them can be multiplied.
    """
    pan = geo.translate(_row(2 * move.pan[0] / width), _row(2 * move.pan[1] / height))
    pixels = geo.scale(_row(width), _row(height))
    turn = geo.rotate(_row(-math.radians(move.rotate))) @ geo.shear(*map(_row, move.shear))
    closer = geo.scale(_row(1 / move.zoom), _row(1 / move.zoom))
    return pan @ torch.linalg.inv(pixels) @ turn @ pixels @ closer @ _tilted(*move.tilt)


def reach(matrix: Tensor) -> Tensor:
    """How far a matrix moves any corner of the frame. Shapes: [1, 3, 3] -> (x, y) in half sides, [2]."""
    corners = matrix.new_tensor([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    moved = corners @ matrix[0].T
    return (moved[:, :2] / moved[:, 2:] - corners[:, :2]).abs().amax(dim=0)


def whole_cells(matrix: Tensor, *, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Splits a matrix into a shift by whole cells of a grid and the rest: matrix = shift @ rest.

    Shapes: matrix [1, 3, 3] -> two of [1, 3, 3]. The rest moves the middle by half a cell at most.
    """
    middle = matrix[0, :2, 2] / matrix[0, 2, 2]
    cells = middle * matrix.new_tensor([columns, rows]) / 2
    x, y = (cells.round() * 2 / cells.new_tensor([columns, rows])).unbind()
    shift = geo.translate(x[None], y[None])
    return shift, torch.linalg.inv(shift) @ matrix


def _tilted(x: float, y: float) -> Tensor:
    """The perspective of a frame whose right side (x) and lower side (y) are closer: they show less of the picture.

    One tilt after the other, so that no two that are allowed bring the horizon into the frame.
    """
    right = [[sx, sy * (1 - x * sx)] for sx, sy in _CORNERS]
    lower = [[sx * (1 - y * sy), sy] for sx, sy in _CORNERS]
    return geo.perspective(_rows(right)) @ geo.perspective(_rows(lower))


def _rows(corners: list[list[float]]) -> Tensor:
    return torch.tensor([corners], dtype=torch.float64)


def _row(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)
