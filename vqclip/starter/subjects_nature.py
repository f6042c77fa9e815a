"""Painters of what grows and stands by itself: tree, mountain, volcano, waterfall, cactus, mushroom, flower."""

import math

from numpy.random import Generator

from vqclip.starter.palette import RGB, Tones, mix, tones
from vqclip.starter.pen import Pen, Point, arc

BARK = tones((112, 70, 42))
LEAF = tones((58, 144, 62))


def _pine(pen: Pen, t: Tones) -> None:
    pen.rect(-0.07, 0, 0.07, 0.25, BARK.base)
    pen.rect(0.01, 0, 0.07, 0.25, BARK.dark)
    for y0, y1, half in ((0.16, 0.56, 0.4), (0.38, 0.78, 0.32), (0.6, 1.0, 0.23)):
        pen.poly([(-half, y0), (0, y1), (half, y0), (0, y0 - 0.04)], t.base)
        pen.poly([(half * 0.1, y0 - 0.035), (0, y1), (half, y0)], t.dark)
        pen.poly([(-half, y0), (0, y1), (-half * 0.62, y0 - 0.01)], t.light)


def tree(pen: Pen, t: Tones, rng: Generator) -> None:
    """A round leafy tree, or at times a pine."""
    if rng.random() < 0.25:
        _pine(pen, t)
        return
    pen.poly([(-0.13, 0), (-0.07, 0.2), (-0.07, 0.5), (0.07, 0.5), (0.07, 0.2), (0.14, 0)], BARK.base)
    pen.poly([(0.02, 0), (0.01, 0.5), (0.07, 0.5), (0.07, 0.2), (0.14, 0)], BARK.dark)
    pen.line([(0.02, 0.3), (0.2, 0.48)], 0.06, BARK.dark)
    pen.line([(-0.02, 0.34), (-0.18, 0.5)], 0.06, BARK.base)
    blobs = [
        (-0.24, 0.54, 0.2),
        (0.25, 0.55, 0.2),
        (0.0, 0.5, 0.2),
        (-0.18, 0.74, 0.2),
        (0.18, 0.75, 0.2),
        (0, 0.8, 0.2),
    ]
    spread = rng.uniform(0.9, 1.15, len(blobs))
    for (x, y, r), s in zip(blobs, spread, strict=True):
        pen.oval(x + 0.03, y - 0.02, r * s, r * s * 0.92, t.dark)
    for (x, y, r), s in zip(blobs, spread, strict=True):
        pen.oval(x - 0.02, y + 0.03, r * s * 0.84, r * s * 0.78, t.base)
    for x, y, r in blobs[3:]:
        pen.oval(x - 0.07, y + 0.06, r * 0.45, r * 0.36, t.light)


def _peak(pen: Pen, x: float, top: float, half: float, t: Tones, rng: Generator) -> None:
    """One peak with a lit side, a shadowed side and a ragged cap of snow."""
    ridge = x + half * float(rng.uniform(-0.05, 0.2))
    left = [(x - half, 0), (x - half * 0.6, top * 0.36), (x - half * 0.42, top * 0.6), (x, top)]
    right = [(x + half * 0.3, top * 0.7), (x + half * 0.55, top * 0.42), (x + half, 0)]
    pen.poly([*left, *right], t.base)
    pen.poly([(x, top), *right, (ridge, 0), (x + half * 0.16, top * 0.3), (x - half * 0.03, top * 0.6)], t.dark)
    snow, shade = (246, 249, 255), (176, 194, 226)
    edge = [(x + half * 0.3, top * 0.7), (x + half * 0.17, top * 0.6), (x + half * 0.1, top * 0.72),
            (x - half * 0.03, top * 0.56), (x - half * 0.16, top * 0.74), (x - half * 0.33, top * 0.69)]  # fmt: skip
    pen.poly([(x, top), *edge], snow)
    pen.poly([(x, top), *edge[:4]], shade)


def mountain(pen: Pen, t: Tones, rng: Generator) -> None:
    """A high snow-capped peak with lower ones beside it."""
    pale = tones(mix(t.base, pen.light.sky[2], 0.25))
    for x in (-0.62, 0.64)[: 1 + int(rng.random() < 0.75)]:
        _peak(pen, x, float(rng.uniform(0.5, 0.7)), 0.5, pale, rng)
    _peak(pen, float(rng.uniform(-0.08, 0.08)), 1.0, float(rng.uniform(0.66, 0.8)), t, rng)


def volcano(pen: Pen, t: Tones, rng: Generator) -> None:
    """A dark cone with a glowing crater, streams of lava and a plume."""
    lean = float(rng.uniform(-0.15, 0.3))
    plume = mix((108, 98, 100), pen.light.sky[0], 0.25)
    puffs = [(0, 0.66, 0.1), (0.05, 0.76, 0.15), (0.02, 0.88, 0.2), (0.16, 0.96, 0.2), (-0.1, 0.97, 0.18)]
    for k, (x, y, r) in enumerate(puffs):
        pen.oval(x + lean * (y - 0.6), y, r, r * 0.85, mix(plume, (60, 54, 60), 0.3 if k % 2 else 0.0))
    for x, y, r in puffs[1:]:
        pen.oval(x - 0.05 + lean * (y - 0.6), y + 0.03, r * 0.55, r * 0.45, mix(plume, (255, 240, 230), 0.22))
    if rng.random() < 0.75:
        pen.poly(
            [(-0.09, 0.56), (-0.16, 0.8), (-0.05, 0.68), (0, 0.88), (0.06, 0.68), (0.17, 0.78), (0.09, 0.56)],
            (255, 110, 24),
            glow=True,
        )
        pen.poly([(-0.05, 0.56), (-0.03, 0.68), (0, 0.76), (0.03, 0.68), (0.05, 0.56)], (255, 214, 70), glow=True)
    pen.poly([(-0.82, 0), (-0.4, 0.28), (-0.16, 0.6), (0.16, 0.6), (0.4, 0.28), (0.82, 0)], t.base)
    pen.poly([(0.2, 0), (0.12, 0.3), (0.04, 0.6), (0.16, 0.6), (0.4, 0.28), (0.82, 0)], t.dark)
    pen.oval(0, 0.6, 0.165, 0.045, (255, 150, 40), glow=True)
    streams = [
        [(-0.08, 0.6), (-0.12, 0.42), (-0.26, 0.26), (-0.34, 0.06)],
        [(0.05, 0.6), (0.08, 0.4), (0.02, 0.24), (0.1, 0.02)],
        [(0.12, 0.58), (0.24, 0.36), (0.44, 0.14)],
    ]
    for path in streams[: int(rng.integers(2, 4))]:
        pen.line(path, 0.075, (228, 60, 20), glow=True)
        pen.line(path[:-1], 0.034, (255, 176, 50), glow=True)


def waterfall(pen: Pen, t: Tones, rng: Generator) -> None:
    """White water falling down a cliff into a pool, trees on the brink."""
    half = float(rng.uniform(0.15, 0.23))
    top = float(rng.uniform(0.84, 0.94))
    pen.poly([(-0.9, 0), (-0.9, 0.74), (-0.6, top), (0.6, top), (0.9, 0.78), (0.9, 0)], t.base)
    for x0, y0, x1, y1 in (
        (-0.9, 0.5, -0.62, 0.74),
        (-0.56, 0.2, -0.3, 0.52),
        (0.34, 0.46, 0.62, 0.72),
        (0.5, 0.1, 0.86, 0.38),
    ):
        pen.poly([(x0, y0), (x0 + 0.03, y1), (x1, y1 - 0.05), (x1 + 0.04, y0 + 0.04)], t.light)
        pen.poly([(x0, y0), (x1 + 0.04, y0 + 0.04), (x1, y0 - 0.07), (x0 + 0.02, y0 - 0.09)], t.dark)
    pen.poly([(-half - 0.09, 0), (-half - 0.06, top), (half + 0.06, top), (half + 0.09, 0)], t.dark)
    for x in (-0.72, -0.45, 0.42, 0.7):
        r = float(rng.uniform(0.12, 0.17))
        pen.oval(x, top - 0.02 - abs(x) * 0.08, r, r * 0.8, LEAF.dark)
        pen.oval(x - 0.03, top + 0.02 - abs(x) * 0.08, r * 0.75, r * 0.55, LEAF.base)
    water: RGB = (236, 247, 255)
    pen.poly([(-half - 0.03, 0.02), (-half, top), (half, top), (half + 0.03, 0.02)], water)
    for k in range(3):
        x = half * (-0.62 + 0.58 * k)
        start = float(rng.uniform(0.6, 1.0)) * top
        pen.poly(
            [(x - 0.02, start), (x + 0.03, start), (x + 0.04, start - 0.5), (x - 0.03, start - 0.52)], (134, 190, 230)
        )
    pen.poly([(-1.1, -0.2), *arc(0, 0.0, 0.95, 0.1, 180, 0), (1.1, -0.2)], (64, 140, 190))
    pen.oval(0, -0.1, 0.55, 0.03, (128, 190, 222))
    for x in (-0.2, -0.07, 0.08, 0.21):
        pen.oval(x, 0.05, 0.13, 0.075, water)


def _finger(pen: Pen, path: list[Point], width: float, t: Tones) -> None:
    """One rounded limb of a cactus with a shadowed side and a rib."""
    pen.line(path, width, t.base)
    pen.line([(x + width * 0.27, y) for x, y in path], width * 0.44, t.dark)
    pen.line([(x - width * 0.22, y) for x, y in path], max(0.026, width * 0.15), t.light)


def cactus(pen: Pen, t: Tones, rng: Generator) -> None:
    """A tall cactus with two raised arms and sometimes a bloom."""
    a, b = rng.uniform(0.3, 0.42), rng.uniform(0.34, 0.5)
    _finger(pen, [(-0.05, a), (-0.3, a), (-0.3, a + rng.uniform(0.22, 0.34))], 0.14, t)
    _finger(pen, [(0.05, b), (0.3, b), (0.3, b + rng.uniform(0.2, 0.34))], 0.14, t)
    _finger(pen, [(0, 0.02), (0, 0.9)], 0.22, t)
    if rng.random() < 0.6:
        for x, y in ((-0.06, 0.98), (0.06, 0.98), (0, 1.02)):
            pen.oval(x, y, 0.05, 0.05, (244, 92, 142))
    for x in (-0.2, 0.24):
        pen.oval(x, 0.0, 0.12, 0.06, (150, 116, 88))


def mushroom(pen: Pen, t: Tones, rng: Generator) -> None:
    """A thick stem under a round spotted cap."""
    stem = tones((240, 228, 204))
    pen.poly([(-0.17, 0.02), (-0.11, 0.5), (0.11, 0.5), (0.17, 0.02), (0.1, -0.02), (-0.1, -0.02)], stem.base)
    pen.poly([(0.03, -0.01), (0.03, 0.5), (0.11, 0.5), (0.17, 0.02), (0.1, -0.02)], stem.dark)
    half, low = float(rng.uniform(0.44, 0.54)), float(rng.uniform(0.42, 0.5))
    pen.oval(0, low, half * 0.94, 0.085, (206, 184, 152))
    pen.poly(arc(0, low, half, 1 - low, 180, 0), t.base)
    pen.poly(
        [
            (half * 0.3, low),
            *arc(-0.02, low, half * 0.75, (1 - low) * 0.98, 40, 80),
            *arc(0, low, half, 1 - low, 70, 0),
        ],
        t.dark,
    )
    spot: RGB = (250, 246, 236) if sum(t.base) < 650 else (196, 60, 52)
    for x, y, r in (
        (-0.26, 0.62, 0.075),
        (0.02, 0.72, 0.095),
        (0.29, 0.6, 0.07),
        (-0.16, 0.84, 0.06),
        (0.2, 0.84, 0.05),
    ):
        pen.oval(x, y, r, r * 0.82, spot)
    pen.poly([(-0.15, 0.3), (0.15, 0.3), (0.2, 0.24), (0.0, 0.2), (-0.2, 0.24)], stem.light)


def _tulip(pen: Pen, t: Tones) -> None:
    pen.poly(
        [(-0.26, 0.98), *arc(0, 0.68, 0.28, 0.22, 180, 360), (0.26, 0.98), (0.12, 0.82), (0, 1.0), (-0.12, 0.82)],
        t.base,
    )
    pen.poly([(0.08, 0.5), *arc(0, 0.68, 0.28, 0.22, 300, 360), (0.26, 0.98), (0.12, 0.8)], t.dark)
    pen.poly([(0, 1.0), (-0.13, 0.78), (0, 0.5), (0.13, 0.78)], t.light)


def flower(pen: Pen, t: Tones, rng: Generator) -> None:
    """A big bloom of petals, or a tulip, on a leafy stem."""
    bend = float(rng.uniform(-0.08, 0.08))
    pen.line([(bend, 0), (bend * 0.4, 0.3), (0, 0.62)], 0.055, LEAF.dark)
    for side in (-1, 1):
        y = 0.16 if side < 0 else 0.22
        pen.poly([(bend, y - 0.08), (side * 0.18, y), (side * 0.34, y + 0.16), (side * 0.12, y + 0.1)], LEAF.base)
    if rng.random() < 0.25:
        _tulip(pen, t)
        return
    petals = int(rng.integers(7, 12))
    turn = float(rng.uniform(0, 6))
    for k in range(petals):
        angle = turn + 2 * math.pi * k / petals
        ux, uy = math.cos(angle), math.sin(angle)
        for grow, c in ((1.0, t.dark), (0.82, t.base if k % 2 else mix(t.base, t.light, 0.5))):
            w = grow * 0.8 / petals * 1.3
            pen.poly(
                [
                    (0.21 * ux + a * ux - b * uy, 0.68 + 0.21 * uy + a * uy + b * ux)
                    for a, b in arc(0, 0, 0.13 * grow, w)
                ],
                c,
            )
    heart: RGB = (
        (250, 196, 40) if sum(abs(a - b) for a, b in zip(t.base, (250, 196, 40), strict=True)) > 110 else (104, 62, 34)
    )
    pen.oval(0, 0.68, 0.13, 0.13, heart)
    pen.oval(0.02, 0.66, 0.08, 0.08, mix(heart, (90, 50, 20), 0.35))


def pumpkin(pen: Pen, t: Tones, rng: Generator) -> None:
    """A ribbed pumpkin with a green stem; now and then with a lit face."""
    for x, r, c in ((-0.34, 0.24, t.dark), (0.34, 0.24, t.dark), (-0.19, 0.26, t.base), (0.19, 0.26, t.base)):
        pen.oval(x, 0.37, r, 0.36, c)
    pen.oval(0, 0.38, 0.22, 0.38, t.light)
    for x in (-0.27, 0.27):
        pen.line([(x * 0.5, 0.71), (x, 0.4), (x * 0.55, 0.04)], 0.02, t.dark)
    pen.poly([(-0.08, 0.7), (-0.04, 0.9), (-0.14, 0.98), (0.0, 1.0), (0.06, 0.88), (0.08, 0.7)], LEAF.dark)
    pen.oval(0.24, 0.79, 0.17, 0.07, LEAF.base)
    if rng.random() < 0.4:
        face: RGB = (255, 220, 90) if pen.light.lamps else (62, 34, 24)
        for side in (-1, 1):
            pen.poly([(side * 0.09, 0.44), (side * 0.27, 0.44), (side * 0.18, 0.6)], face, glow=pen.light.lamps)
        pen.poly([(-0.28, 0.32), (-0.14, 0.26), (0, 0.32), (0.14, 0.26), (0.28, 0.32), (0.14, 0.12), (-0.14, 0.12)],
                 face, glow=pen.light.lamps)  # fmt: skip


def palm(pen: Pen, t: Tones, rng: Generator) -> None:
    """A palm tree: a bent ringed trunk under long hanging fronds."""
    bend = float(rng.uniform(0.1, 0.26))
    trunk = [(0.0, 0.0), (bend * 0.2, 0.28), (bend * 0.6, 0.54), (bend, 0.76)]
    pen.line(trunk, 0.1, (142, 100, 62))
    for x, y in ((bend * 0.1, 0.16), (bend * 0.3, 0.36), (bend * 0.62, 0.55)):
        pen.line([(x - 0.045, y), (x + 0.045, y + 0.012)], 0.022, (96, 64, 40))
    for k, (dx, dy) in enumerate(((-0.62, -0.2), (0.6, -0.22), (-0.5, 0.12), (0.5, 0.1), (-0.22, -0.36), (0.26, -0.36),
                                  (-0.16, 0.24), (0.2, 0.24))):  # fmt: skip
        mid = (bend + dx * 0.5, 0.78 + dy * 0.5 + 0.13)
        tip = (bend + dx, 0.76 + dy)
        color = t.dark if k % 2 else t.base
        pen.poly([(bend, 0.82), (mid[0], mid[1] + 0.06), tip, (mid[0], mid[1] - 0.06), (bend, 0.72)], color)
    for x in (-0.06, 0.05):
        pen.oval(bend + x, 0.72, 0.055, 0.055, (110, 66, 38))
