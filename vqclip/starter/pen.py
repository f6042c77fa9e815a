"""A pen that draws shapes in a subject's own coordinates: foot at (0, 0), head at (0, 1), lit by the scene's light."""

import math
from dataclasses import dataclass

from PIL import Image, ImageDraw

from vqclip.starter.palette import RGB, Light, scaled

Point = tuple[float, float]


@dataclass(frozen=True)
class Place:
    """Where a subject stands in the picture (fractions of its side) and how it is turned."""

    x: float
    y: float
    scale: float
    stretch: float = 1.0
    mirror: bool = False
    angle: float = 0.0


class Pen:
    """Draws filled shapes on a picture through a place and a light."""

    def __init__(self, image: Image.Image, light: Light, place: Place) -> None:
        """Binds a square picture, the light and the place."""
        self.light = light
        self._draw = ImageDraw.Draw(image)
        side = image.width
        self._x, self._y = place.x * side, place.y * side
        self._unit = place.scale * side
        self._sx = self._unit * place.stretch * (-1 if place.mirror else 1)
        self._cos, self._sin = math.cos(place.angle), math.sin(place.angle)

    def _at(self, point: Point) -> Point:
        x, y = point[0] * self._sx, point[1] * self._unit
        return self._x + x * self._cos + y * self._sin, self._y + x * self._sin - y * self._cos

    def poly(self, points: list[Point], color: RGB, *, glow: bool = False) -> None:
        """Fills a polygon; one that glows keeps its color in the dark."""
        self._draw.polygon([self._at(p) for p in points], fill=color if glow else scaled(color, self.light.tint))

    def rect(self, x0: float, y0: float, x1: float, y1: float, color: RGB, *, glow: bool = False) -> None:
        """Fills a box between two corners."""
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color, glow=glow)

    def oval(self, x: float, y: float, rx: float, ry: float, color: RGB, *, glow: bool = False) -> None:
        """Fills an ellipse around (x, y)."""
        self.poly(arc(x, y, rx, ry), color, glow=glow)

    def line(self, points: list[Point], width: float, color: RGB, *, glow: bool = False) -> None:
        """Draws a thick line with round corners."""
        fill = color if glow else scaled(color, self.light.tint)
        dots = [self._at(p) for p in points]
        thick = max(2, round(width * self._unit))
        self._draw.line(dots, fill=fill, width=thick)
        r = thick / 2
        for x, y in dots:
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def window(self, x: float, y: float, w: float, h: float, *, arched: bool = False) -> None:
        """A window with its lower left corner at (x, y); lit where lamps are on."""
        lit = self.light.lamps
        color: RGB = (255, 222, 96) if lit else (52, 66, 96)
        if arched:
            self.poly([(x, y), *arc(x + w / 2, y + h * 0.65, w / 2, h * 0.35, 180, 0), (x + w, y)], color, glow=lit)
        else:
            self.rect(x, y, x + w, y + h, color, glow=lit)


def arc(x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> list[Point]:
    """Points along an ellipse from one angle to another, in degrees, counterclockwise where end is larger."""
    count = max(6, round(abs(end - start) / 14))
    angles = [math.radians(start + (end - start) * i / count) for i in range(count + 1)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]
