"""Follows motion given point by point: a warp by optical flow, where it went out of sight, and how far it holds."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

# A mean difference of pixels (of 0 to 1) at which nothing of the frame before is believed any more.
_ANOTHER = 0.25


def warp_by_flow(value: Tensor, flow: Tensor, *, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """Takes every point from where the flow says it was; points beyond the edge from the edge.

    Bilinear keeps its range, bicubic keeps sharpness. A value on a coarser grid than the flow moves by the flow's mean.
    Shapes: value [B, C, h, w], flow [1, 2, H, W] in pixels right and down -> like value.
    """
    rows, columns = value.shape[2:]
    height, width = flow.shape[2:]
    flow = flow if (rows, columns) == (height, width) else F.interpolate(flow, (rows, columns), mode="area")
    x = (torch.arange(columns, device=flow.device) * 2 + 1) / columns - 1 + flow[:, 0] * (2 / width)
    y = ((torch.arange(rows, device=flow.device) * 2 + 1) / rows - 1)[:, None] + flow[:, 1] * (2 / height)
    points = torch.stack((x, y), dim=-1).to(value).expand(len(value), -1, -1, -1)
    return F.grid_sample(value, points, mode=mode, padding_mode="border", align_corners=False)


def in_sight(flow: Tensor, back: Tensor) -> Tensor:
    """Where a point could be seen in the frame before: there and back again ends near where it began.

    Shapes: flow [1, 2, H, W] from the new frame to the one before, back the other way -> [1, 1, H, W] of booleans.
    Source: the rule and its constants of Sundaram, Brox and Keutzer, Dense Point Trajectories by GPU-Accelerated Large
    Displacement Optical Flow (2010). Differs: no rule for motion boundaries; what lay beyond the edge is out of sight.
    """
    returned = warp_by_flow(back, flow)
    length = flow.square().sum(1) + returned.square().sum(1)
    returns = (flow + returned).square().sum(1) <= 0.01 * length + 0.5
    height, width = flow.shape[2:]
    x = torch.arange(width, device=flow.device) + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return (returns & inside)[:, None]


def agreement(before: Tensor, after: Tensor, *, grid: tuple[int, int]) -> Tensor:
    """How far two frames show the same, cell by cell: 1 where they are equal, 0 where they differ by a quarter.

    Shapes: before, after [1, 3, H, W] in [0, 1], grid (h, w) -> [1, 1, h, w] in [0, 1].
    """
    difference = F.interpolate((after - before).abs().mean(1, keepdim=True), grid, mode="area")
    return (1 - difference / _ANOTHER).clamp(0, 1)
