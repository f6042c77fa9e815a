"""Draws curves of numbers over steps, a panel for each: the plot that is looked at while a model is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

PANEL, GAP, LEFT, TOP, BELOW = (380, 200), 16, 56, 26, 20
PAPER, INK, GRID, FAINT, LINE = "white", "#333333", "#e4e4e4", "#bcd3ea", "#1f6fb4"
SMOOTHED = 20
"""The line is the running mean over this part of the whole; what lies behind it, faint, is every value."""

Points = Sequence[tuple[int, float]]


def draw_curves(curves: Mapping[str, Points], *, title: str = "") -> Image.Image:
    """One panel for each curve, with its smoothed line, its range and its latest value."""
    across = max(1, math.ceil(math.sqrt(len(curves))))
    down = max(1, math.ceil(len(curves) / across))
    width = across * (PANEL[0] + GAP) + GAP
    picture = Image.new("RGB", (width, down * (PANEL[1] + GAP) + GAP + TOP), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((GAP, 8), title, fill=INK, font=ImageFont.load_default(size=15))
    for number, (name, points) in enumerate(curves.items()):
        left = GAP + number % across * (PANEL[0] + GAP)
        _panel(pen, (left, TOP + GAP + number // across * (PANEL[1] + GAP)), name, points)
    return picture


def smooth(values: Sequence[float]) -> list[float]:
    """The running mean of values: slow where there are many, exact at the first."""
    rate, mean, out = min(1.0, SMOOTHED / max(1, len(values))), 0.0, []
    for number, value in enumerate(values):
        mean += max(rate, 1 / (number + 1)) * (value - mean)
        out.append(mean)
    return out


def _panel(pen: ImageDraw.ImageDraw, corner: tuple[int, int], name: str, points: Points) -> None:
    font = ImageFont.load_default(size=12)
    points = [(step, value) for step, value in points if math.isfinite(value)]
    left, top = corner[0] + LEFT, corner[1] + TOP
    right, bottom = corner[0] + PANEL[0], corner[1] + PANEL[1] - BELOW
    pen.rectangle((left, top, right, bottom), outline=GRID)
    if not points:
        pen.text((corner[0], corner[1] + 6), name, fill=INK, font=font)
        return
    values = [value for _, value in points]
    low, high = min(values), max(values)
    room = (high - low) or abs(high) or 1.0
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def place(step: int, value: float) -> tuple[float, float]:
        share = (value - low) / room
        return left + (step - first) / (last - first) * (right - left), bottom - 4 - share * (bottom - top - 8)

    for share in (0.0, 0.5, 1.0):
        y = place(first, low + share * room)[1]
        pen.line((left, y, right, y), fill=GRID)
        pen.text((left - 6, y), f"{low + share * room:.3g}", fill=INK, font=font, anchor="rm")
    pen.text((left, bottom + 4), str(first), fill=INK, font=font)
    pen.text((right, bottom + 4), str(last), fill=INK, font=font, anchor="ra")
    pen.text((left, corner[1] + 6), f"{name}  {values[-1]:.4g}", fill=INK, font=font)
    if len(points) > 1:
        pen.line([place(*point) for point in points], fill=FAINT)
        pen.line([place(step, v) for (step, _), v in zip(points, smooth(values), strict=True)], fill=LINE, width=2)
