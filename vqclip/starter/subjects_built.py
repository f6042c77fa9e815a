"""Painters of what people build on land: castle, lighthouse, house, windmill, pyramid, bridge, city, temple."""

import math

from numpy.random import Generator

from vqclip.starter.palette import RGB, Tones, mix, tones
from vqclip.starter.pen import Pen, Point, arc

WOOD: RGB = (98, 58, 34)
ROOFS: tuple[RGB, ...] = ((178, 58, 44), (70, 84, 150), (120, 66, 50), (58, 112, 110))


def _roof(rng: Generator, walls: Tones) -> Tones:
    """A roof color that stands off the walls."""
    far = sorted(ROOFS, key=lambda c: -sum(abs(a - b) for a, b in zip(c, walls.base, strict=True)))
    return tones(far[int(rng.integers(2))])


def _block(pen: Pen, x0: float, x1: float, y0: float, y1: float, t: Tones, teeth: int = 0) -> None:
    """A wall with a lit and a shadowed side and, for castles, teeth on top."""
    split = x0 + (x1 - x0) * 0.62
    pen.rect(x0, y0, x1, y1, t.base)
    pen.rect(x0, y0, x0 + (x1 - x0) * 0.18, y1, t.light)
    pen.rect(split, y0, x1, y1, t.dark)
    step = (x1 - x0) / max(1, 2 * teeth - 1)
    for i in range(teeth):
        left = x0 + 2 * i * step
        pen.rect(left, y1 - 0.005, left + step, y1 + 0.05, t.dark if left >= split else t.base)


def _cone(pen: Pen, x: float, half: float, y0: float, y1: float, t: Tones) -> None:
    pen.poly([(x - half, y0), (x, y1), (x + half, y0)], t.base)
    pen.poly([(x + half * 0.2, y0), (x, y1), (x + half, y0)], t.dark)


def castle(pen: Pen, t: Tones, rng: Generator) -> None:
    """A keep between two towers with pointed roofs, a wall with teeth and a gate."""
    roof = _roof(rng, t)
    keep, low = rng.uniform(0.66, 0.76), rng.uniform(0.5, 0.62)
    high = rng.uniform(0.55, 0.68)
    _block(pen, -0.17, 0.17, 0.3, keep, t, 0 if keep > 0.72 else 4)
    if keep > 0.72:
        _cone(pen, 0, 0.22, keep, 1.02, roof)
    else:
        pen.line([(0, keep), (0, keep + 0.24)], 0.03, WOOD)
        pen.poly([(0, keep + 0.26), (0.2, keep + 0.18), (0, keep + 0.1)], roof.base)
    pen.window(-0.045, keep - 0.17, 0.09, 0.13, arched=True)
    _block(pen, -0.4, 0.4, 0, 0.36, t, 7)
    for x, top in ((-0.43, low), (0.43, high)):
        _block(pen, x - 0.115, x + 0.115, 0, top, t)
        _cone(pen, x, 0.16, top, top + 0.27, roof)
        pen.window(x - 0.04, top - 0.2, 0.08, 0.12, arched=True)
    pen.poly([(-0.12, 0), *arc(0, 0.14, 0.12, 0.11, 180, 0), (0.12, 0)], (52, 34, 28))
    pen.poly([(-0.08, 0), *arc(0, 0.12, 0.08, 0.08, 180, 0), (0.08, 0)], WOOD)


def lighthouse(pen: Pen, t: Tones, rng: Generator) -> None:
    """A banded tower on a rock with a lamp room; its beam shows when lamps are on."""
    if pen.light.lamps:
        beam = mix(pen.light.sky[1], (255, 240, 160), 0.6)
        pen.poly([(0, 0.83), (-1.6, 1.06), (-1.6, 0.7)], beam, glow=True)
        pen.poly([(0, 0.83), (1.6, 0.96), (1.6, 0.66)], beam, glow=True)
    pen.poly([(-0.52, -0.04), (-0.4, 0.08), (-0.2, 0.15), (0.22, 0.13), (0.42, 0.05), (0.55, -0.04)], (104, 94, 92))
    pen.poly([(0.0, -0.04), (0.1, 0.1), (0.22, 0.13), (0.42, 0.05), (0.55, -0.04)], (74, 68, 74))
    pale = tones((244, 242, 236) if t.base != (245, 245, 240) else (190, 198, 208))
    bands = int(rng.integers(4, 6))
    low, high, foot, head = 0.1, 0.74, 0.185, 0.115
    for i in range(bands):
        a, b = i / bands, (i + 1) / bands
        wa, wb = foot + (head - foot) * a, foot + (head - foot) * b
        ya, yb = low + (high - low) * a, low + (high - low) * b
        c = t if i % 2 == 0 else pale
        pen.poly([(-wa, ya), (-wb, yb), (wb, yb), (wa, ya)], c.base)
        pen.poly([(wa * 0.25, ya), (wb * 0.25, yb), (wb, yb), (wa, ya)], c.dark)
    pen.rect(-0.16, 0.73, 0.16, 0.775, (58, 56, 66))
    pen.rect(-0.09, 0.775, 0.09, 0.9, (255, 236, 130), glow=True)
    pen.rect(-0.09, 0.775, -0.06, 0.9, (58, 56, 66))
    pen.rect(0.06, 0.775, 0.09, 0.9, (58, 56, 66))
    pen.poly([(-0.125, 0.895), *arc(0, 0.9, 0.115, 0.1, 180, 0), (0.125, 0.895)], t.dark)
    pen.window(-0.04, 0.46, 0.07, 0.09)
    pen.rect(-0.055, 0.11, 0.05, 0.24, (70, 46, 38))


def house(pen: Pen, t: Tones, rng: Generator) -> None:
    """A gabled house with a door, windows and a chimney."""
    roof = _roof(rng, t)
    eave, half = rng.uniform(0.46, 0.54), rng.uniform(0.42, 0.5)
    x = half * 0.5
    pen.rect(x - 0.07, eave + 0.1, x + 0.07, 0.95, (150, 84, 66))
    pen.rect(x - 0.09, 0.92, x + 0.09, 0.97, (104, 60, 52))
    pen.rect(-half, 0, half, eave, t.base)
    pen.rect(half * 0.5, 0, half, eave, t.dark)
    if rng.random() < 0.6:
        pen.poly([(-half, eave), (0, 0.92), (half, eave)], t.base)
        pen.poly([(-half - 0.1, eave - 0.06), (0, 0.99), (0, 0.86), (-half - 0.02, eave - 0.1)], roof.base)
        pen.poly([(half + 0.1, eave - 0.06), (0, 0.99), (0, 0.86), (half + 0.02, eave - 0.1)], roof.dark)
        pen.window(-0.07, eave + 0.06, 0.14, 0.13)
    else:
        pen.poly(
            [(-half - 0.1, eave - 0.02), (-half + 0.14, 0.86), (half - 0.14, 0.86), (half + 0.1, eave - 0.02)],
            roof.base,
        )
        pen.poly(
            [(half * 0.4, eave - 0.02), (half * 0.3, 0.86), (half - 0.14, 0.86), (half + 0.1, eave - 0.02)], roof.dark
        )
    trim = (246, 240, 226) if t.base != (245, 245, 240) else (120, 92, 70)
    pen.rect(-0.1, 0, 0.1, 0.32, trim)
    pen.rect(-0.07, 0, 0.07, 0.29, WOOD)
    for x in (-half * 0.62, half * 0.62):
        pen.rect(x - 0.105, 0.13, x + 0.105, 0.36, trim)
        pen.window(x - 0.08, 0.155, 0.07, 0.18)
        pen.window(x + 0.01, 0.155, 0.07, 0.18)


def _vane(pen: Pen, turn: float, sail: RGB) -> None:
    """One broad sail on its beam, turned around the hub."""
    c, s = math.cos(turn), math.sin(turn)

    def spun(*points: Point) -> list[Point]:
        return [(x * c - y * s, 0.62 + x * s + y * c) for x, y in points]

    pen.poly(spun((0.1, -0.015), (0.1, 0.12), (0.46, 0.15), (0.46, -0.015)), sail)
    pen.line(spun((0.28, 0), (0.28, 0.12)), 0.026, mix(sail, WOOD, 0.55))
    pen.line(spun((0, 0), (0.47, 0)), 0.04, (84, 54, 38))


def windmill(pen: Pen, t: Tones, rng: Generator) -> None:
    """A tapering mill tower with a cap and four broad sails."""
    pen.poly([(-0.24, 0), (-0.15, 0.6), (0.15, 0.6), (0.24, 0)], t.base)
    pen.poly([(-0.24, 0), (-0.15, 0.6), (-0.09, 0.6), (-0.15, 0)], t.light)
    pen.poly([(0.06, 0), (0.04, 0.6), (0.15, 0.6), (0.24, 0)], t.dark)
    pen.poly(arc(0, 0.59, 0.18, 0.17, 180, 0), _roof(rng, t).base)
    pen.rect(-0.07, 0, 0.07, 0.2, WOOD)
    pen.window(-0.05, 0.3, 0.1, 0.12)
    turn = math.radians(float(rng.uniform(15, 75)))
    sail: RGB = (250, 244, 226) if sum(t.base) < 600 else (170, 96, 58)
    for k in range(4):
        _vane(pen, turn + math.pi / 2 * k, sail)
    pen.oval(0, 0.62, 0.05, 0.05, (60, 42, 36))


def pyramid(pen: Pen, t: Tones, rng: Generator) -> None:
    """Stone pyramids: a large one in light and shadow, often with a smaller one behind."""
    for x, size in [(-0.62, 0.45), (0.66, 0.36)][: int(rng.integers(0, 3))]:
        pen.poly([(x - size * 0.75, 0.04), (x, size), (x + size * 0.75, 0.04)], mix(t.base, t.light, 0.4))
        pen.poly([(x + size * 0.2, 0.04), (x, size), (x + size * 0.75, 0.04)], t.dark)
    ridge = float(rng.uniform(0.1, 0.32))
    pen.poly([(-0.76, 0), (0, 1), (ridge, -0.03)], t.base)
    pen.poly([(0.76, 0.02), (0, 1), (ridge, -0.03)], t.dark)
    seam_l, seam_d = mix(t.base, t.dark, 0.45), mix(t.dark, (20, 16, 20), 0.25)
    rows = int(rng.integers(4, 7))
    for i in range(1, rows):
        y = i / rows
        left, mid, right = -0.76 * (1 - y), ridge * (1 - y), 0.76 * (1 - y)
        pen.line([(left, y), (mid, y - 0.03 * (1 - y))], 0.026, seam_l)
        pen.line([(mid, y - 0.03 * (1 - y)), (right, y + 0.02 * (1 - y))], 0.026, seam_d)


def _arches(pen: Pen, t: Tones, rng: Generator) -> None:
    """A stone bridge: one outline whose lower edge runs along the arches."""
    count = int(rng.integers(2, 4))
    rise = float(rng.uniform(0.04, 0.16))
    top = [(x / 10, 0.66 + rise * (1 - (x / 10) ** 2)) for x in range(-10, 11)]
    low: list[Point] = []
    width = 1.8 / count
    for k in reversed(range(count)):
        mid = -0.9 + width * (k + 0.5)
        low += [
            (mid + width * 0.4, -0.04),
            *arc(mid, 0.08, width * 0.4, 0.4 + rise * 0.6, 0, 180),
            (mid - width * 0.4, -0.04),
        ]
    ends = [(1.0, -0.04)], [(-1.0, -0.04)]
    shift = [(x + 0.035, y + 0.035) for x, y in low]
    pen.poly([*top, *ends[0], *shift, *ends[1]], t.dark)
    pen.poly([*top, *ends[0], *low, *ends[1]], t.base)
    pen.line([(x, y + 0.03) for x, y in top], 0.1, t.light)
    pen.line([(x, y - 0.05) for x, y in top], 0.04, t.dark)


def _hanging(pen: Pen, t: Tones) -> None:
    """A suspension bridge: two towers, thick cables, a deck."""
    cable = [(x / 10, 0.36 + 0.5 * min(((x / 10) / 0.5) ** 2, 1.0)) for x in range(-5, 6)]
    for x in (-0.3, -0.1, 0.1, 0.3, -0.68, 0.68):
        high = 0.36 + 0.5 * (x / 0.5) ** 2 if abs(x) < 0.5 else 0.86 - (abs(x) - 0.5) * 1.04
        pen.line([(x, 0.28), (x, high)], 0.036, t.base)
    pen.line([(-1.0, 0.34), *cable, (1.0, 0.34)], 0.06, t.base)
    pen.rect(-1.05, 0.22, 1.05, 0.32, t.dark)
    pen.rect(-1.05, 0.28, 1.05, 0.33, t.light)
    for x in (-0.5, 0.5):
        pen.rect(x - 0.07, -0.05, x + 0.07, 0.92, t.base)
        pen.rect(x + 0.015, -0.05, x + 0.07, 0.92, t.dark)
        pen.rect(x - 0.1, 0.88, x + 0.1, 0.95, t.dark)


def bridge(pen: Pen, t: Tones, rng: Generator) -> None:
    """A bridge across the whole view: stone arches or hung between two towers."""
    if rng.random() < 0.6:
        _arches(pen, t, rng)
    else:
        _hanging(pen, t)


def _tower(pen: Pen, x0: float, x1: float, top: float, t: Tones, rng: Generator) -> None:
    """One high-rise with its windows."""
    pen.rect(x0, 0, x1, top, t.base)
    pen.rect(x0 + (x1 - x0) * 0.68, 0, x1, top, t.dark)
    kind = rng.random()
    mid = (x0 + x1) / 2
    if kind < 0.25:
        pen.line([(mid, top), (mid, top + 0.12)], 0.03, t.dark)
    elif kind < 0.45:
        pen.poly([(x0, top), (mid, top + 0.12), (x1, top)], t.dark)
    elif kind < 0.6:
        pen.rect(x0 + 0.03, top, x1 - 0.03, top + 0.05, t.dark)
    columns = 2 if x1 - x0 < 0.22 else 3
    pitch = (x1 - x0) / columns
    for row in range(int((top - 0.06) / 0.105)):
        for column in range(columns):
            if rng.random() < 0.72:
                pen.window(x0 + pitch * (column + 0.26), top - 0.1 - row * 0.105, pitch * 0.48, 0.06)


def city(pen: Pen, t: Tones, rng: Generator) -> None:
    """A skyline of towers, the highest near the middle, a paler row behind."""
    far = tones(mix(t.base, pen.light.sky[1], 0.5))
    for x in (-0.78, -0.4, -0.02, 0.34, 0.7):
        top = float(rng.uniform(0.5, 0.85))
        pen.rect(x - 0.12, 0, x + 0.16, top, far.base)
    x = -1.0
    while x < 0.92:
        width = float(rng.uniform(0.17, 0.28))
        peak = 1.0 - 0.55 * abs(x + width / 2)
        shade = mix(t.base, ((90, 70, 80), (60, 90, 120), (150, 130, 110))[int(rng.integers(3))], 0.5)
        _tower(pen, x, x + width, peak * float(rng.uniform(0.55, 0.95)), tones(shade), rng)
        x += width + 0.01


def temple(pen: Pen, t: Tones, rng: Generator) -> None:
    """A temple of columns on steps below a gable."""
    columns = int(rng.integers(4, 6))
    for k, half in enumerate((0.8, 0.74, 0.68)):
        pen.rect(-half, 0.06 * k, half, 0.06 * (k + 1), (t.dark, t.base, t.light)[k])
    pen.rect(-0.6, 0.18, 0.6, 0.62, mix(t.dark, (40, 36, 48), 0.5))
    for k in range(columns):
        x = -0.56 + 1.12 * k / (columns - 1)
        pen.rect(x - 0.075, 0.18, x + 0.075, 0.62, t.base)
        pen.rect(x - 0.075, 0.18, x - 0.02, 0.62, t.light)
        pen.rect(x + 0.03, 0.18, x + 0.075, 0.62, t.dark)
        pen.rect(x - 0.1, 0.59, x + 0.1, 0.64, t.light)
    pen.rect(-0.7, 0.64, 0.7, 0.72, t.base)
    pen.poly([(-0.76, 0.72), (0, 0.98), (0.76, 0.72)], t.light)
    pen.poly([(-0.5, 0.75), (0, 0.92), (0.5, 0.75)], t.dark)
