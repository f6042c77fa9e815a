"""Painters of what moves, and of the snowman: ship, balloon, rocket, snowman."""

import math

from numpy.random import Generator

from vqclip.starter.palette import RGB, Tones, mix, tones
from vqclip.starter.pen import Pen, arc

HULL = tones((118, 66, 38))


def _sail(pen: Pen, x: float, y0: float, y1: float, half: float, t: Tones) -> None:
    """A square sail full of wind."""
    belly = half * 0.35
    pen.poly([(x - half, y1), (x + half * 0.9, y1), (x + half + belly, (y0 + y1) / 2), (x + half, y0), (x - half, y0),
              (x - half + belly * 0.5, (y0 + y1) / 2)], t.base)  # fmt: skip
    pen.poly([(x + half * 0.35, y1), (x + half * 0.9, y1), (x + half + belly, (y0 + y1) / 2), (x + half, y0),
              (x + half * 0.4, y0), (x + half * 0.7, (y0 + y1) / 2)], t.dark)  # fmt: skip


def ship(pen: Pen, t: Tones, rng: Generator) -> None:
    """A wooden sailing ship: a full-rigged one or a small boat with two triangular sails."""
    big = rng.random() < 0.6
    flag: RGB = (206, 48, 44)
    if big:
        for x, top, half in ((-0.3, 0.86, 0.16), (0.08, 0.97, 0.19), (0.42, 0.8, 0.13)):
            pen.line([(x, 0.2), (x, top)], 0.036, HULL.dark)
            pen.poly([(x, top + 0.03), (x - 0.14, top), (x, top - 0.04)], flag)
            _sail(pen, x, 0.3, 0.56, half, t)
            _sail(pen, x, 0.58, top - 0.06, half * 0.8, t)
    else:
        pen.line([(0, 0.2), (0, 0.98)], 0.04, HULL.dark)
        pen.poly([(0.04, 0.95), (0.12, 0.6), (0.5, 0.3), (0.04, 0.27)], t.base)
        pen.poly([(0.04, 0.6), (0.3, 0.46), (0.5, 0.3), (0.04, 0.27)], t.dark)
        pen.poly([(-0.04, 0.88), (-0.2, 0.55), (-0.42, 0.3), (-0.04, 0.27)], t.light)
        pen.poly([(0, 1.03), (-0.15, 0.99), (0, 0.94)], flag)
    pen.poly([(-0.62, 0.32), (-0.5, 0.24), (0.5, 0.24), (0.72, 0.34), (0.5, 0.0), (-0.46, 0.0)], HULL.base)
    pen.poly([(-0.54, 0.16), (0.62, 0.16), (0.5, 0.0), (-0.46, 0.0)], HULL.dark)
    pen.poly(
        [(-0.6, 0.29), (-0.5, 0.22), (0.5, 0.22), (0.69, 0.31), (0.72, 0.35), (0.5, 0.27), (-0.5, 0.27), (-0.63, 0.34)],
        (222, 178, 110),
    )
    for x in (-0.3, -0.05, 0.2) if big else ():
        pen.window(x - 0.03, 0.1, 0.06, 0.06)


def balloon(pen: Pen, t: Tones, rng: Generator) -> None:
    """A great striped envelope above a basket."""
    for x in (-1, 1):
        pen.line([(x * 0.2, 0.36), (x * 0.09, 0.16)], 0.036, (88, 62, 46))
    pen.rect(-0.12, 0, 0.12, 0.17, (156, 100, 52))
    pen.rect(0.03, 0, 0.12, 0.17, (112, 68, 40))
    pen.rect(-0.135, 0.14, 0.135, 0.18, (196, 138, 76))
    outline = [*arc(0, 0.66, 0.37, 0.34, -20, 200), (-0.24, 0.42), (-0.15, 0.31), (0.15, 0.31), (0.24, 0.42)]
    pen.poly(outline, t.base)
    whites = (244, 240, 226) if sum(t.base) < 640 else (200, 208, 222)
    other = tones(whites)
    if rng.random() < 0.65:
        for x0, x1, c in ((-0.66, -0.34, other.base), (-0.02, 0.3, other.base), (0.62, 1.0, t.dark)):
            pen.poly([*[(x * x0, y) for x, y in _side()], *[(x * x1, y) for x, y in reversed(_side())]], c)
    else:
        pen.poly([*arc(0, 0.66, 0.37, 0.34, 22, -12), *arc(0, 0.66, 0.37, 0.34, 192, 158)], other.base)
        pen.poly(
            [*[(x * 0.45, y) for x, y in _side()], *[(x, y) for x, y in reversed(_side())]], mix(t.dark, t.base, 0.2)
        )
    pen.oval(-0.16, 0.82, 0.09, 0.07, t.light)
    pen.rect(-0.15, 0.29, 0.15, 0.33, t.dark)
    if pen.light.lamps:
        pen.poly([(-0.05, 0.2), (0, 0.3), (0.05, 0.2)], (255, 196, 60), glow=True)


def _side() -> list[tuple[float, float]]:
    """The right edge of the envelope, from the crown down, for stripes that follow its curve."""
    return [*arc(0, 0.66, 0.37, 0.34, 90, -20), (0.24, 0.42), (0.15, 0.31)]


def rocket(pen: Pen, t: Tones, rng: Generator) -> None:
    """A finned rocket rising on its flame."""
    for x, y, r in (
        (-0.14, 0.04, 0.1),
        (0.13, 0.02, 0.11),
        (0.0, -0.04, 0.13),
        (-0.22, -0.08, 0.12),
        (0.22, -0.08, 0.12),
    ):
        pen.oval(x, y, r, r * 0.8, mix((226, 226, 230), pen.light.sky[2], 0.3))
    pen.poly([(-0.12, 0.24), (-0.09, 0.08), (0, -0.06), (0.09, 0.08), (0.12, 0.24)], (255, 112, 24), glow=True)
    pen.poly([(-0.07, 0.24), (0, 0.04), (0.07, 0.24)], (255, 222, 90), glow=True)
    body = [(-0.13, 0.22), (-0.175, 0.42), (-0.16, 0.66), (-0.1, 0.84), (0, 1.0)]
    mirrored = [(-x, y) for x, y in reversed(body)]
    fin = tones((200, 44, 40)) if abs(t.base[0] - 214) + abs(t.base[1] - 40) > 110 else tones((66, 78, 110))
    for side, c in ((-1, fin.base), (1, fin.dark)):
        pen.poly([(side * 0.15, 0.5), (side * 0.34, 0.3), (side * 0.34, 0.12), (side * 0.13, 0.25)], c)
    pen.poly([*body, *mirrored], t.base)
    pen.poly([(0.05, 0.22), (0.07, 0.6), (0, 1.0), *mirrored], t.dark)
    pen.poly([(-0.13, 0.76), (-0.1, 0.84), (0, 1.0), (0.1, 0.84), (0.13, 0.76)], fin.base)
    pen.rect(-0.14, 0.21, 0.14, 0.27, (66, 66, 80))
    pen.oval(0, 0.59, 0.1, 0.1, (240, 240, 236))
    pen.oval(0, 0.59, 0.068, 0.068, (96, 190, 240), glow=pen.light.lamps)
    if rng.random() < 0.5:
        pen.rect(-0.17, 0.38, 0.17, 0.44, fin.base)
    pen.poly([(-0.03, 0.4), (0, 0.44), (0.03, 0.4), (0.03, 0.14), (-0.03, 0.14)], fin.base)


def snowman(pen: Pen, t: Tones, rng: Generator) -> None:
    """Two or three balls of snow with a hat, a carrot nose, coal buttons and a colored scarf."""
    snow, shade = (248, 250, 255), (176, 196, 228)
    for x in (-1, 1):
        y = 0.6 + 0.06 * math.sin(float(rng.uniform(0, 6)))
        pen.line([(x * 0.16, 0.46), (x * 0.42, y)], 0.036, (94, 60, 38))
    for y, r in ((0.2, 0.26), (0.49, 0.19), (0.71, 0.145)):
        pen.oval(0, y, r, r * 0.94, shade)
        pen.oval(-r * 0.1, y + r * 0.06, r * 0.88, r * 0.84, snow)
    coal = (40, 38, 46)
    for y in (0.5, 0.4, 0.24):
        pen.oval(0, y, 0.027, 0.027, coal)
    for x in (-0.06, 0.05):
        pen.oval(x, 0.75, 0.024, 0.026, coal)
    pen.poly([(0, 0.72), (0, 0.67), (0.18, 0.675)], (244, 128, 30))
    pen.poly([(-0.16, 0.64), (0.16, 0.64), (0.18, 0.55), (-0.18, 0.55)], t.base)
    pen.poly([(0.06, 0.6), (0.16, 0.6), (0.2, 0.36), (0.09, 0.36)], t.dark)
    pen.rect(-0.2, 0.82, 0.2, 0.865, coal)
    pen.rect(-0.125, 0.85, 0.125, 1.02, coal)
    pen.rect(-0.125, 0.865, 0.125, 0.905, t.base)
