"""Painters of animals: cat, owl, butterfly, whale, penguin."""

from numpy.random import Generator

from vqclip.starter.palette import RGB, Tones, mix, scaled
from vqclip.starter.pen import Pen, arc

DARK: RGB = (34, 32, 40)
EYE: RGB = (250, 214, 70)
BEAK: RGB = (246, 156, 40)


def _apart(t: Tones, color: RGB, other: RGB) -> RGB:
    """The first color, or the other one where the subject's own is too near to it."""
    return color if sum(abs(a - b) for a, b in zip(t.base, color, strict=True)) > 150 else other


def cat(pen: Pen, t: Tones, rng: Generator) -> None:
    """A sitting cat seen from before, its tail curled up beside it."""
    pen.line([(0.2, 0.06), (0.42, 0.06), (0.5, 0.2), (0.46, 0.36 + 0.1 * float(rng.random()))], 0.085, t.dark)
    pen.poly([(-0.3, 0.0), *arc(0, 0.14, 0.31, 0.46, 180, 0), (0.3, 0.0)], t.base)
    pen.poly([(0.08, 0.0), *arc(0, 0.14, 0.31, 0.46, 70, 0), (0.3, 0.0)], t.dark)
    pen.oval(0, 0.24, 0.13, 0.2, t.light)
    for x in (-0.12, 0.12):
        pen.oval(x, 0.03, 0.1, 0.055, t.light)
    for side in (-1, 1):
        pen.poly([(side * 0.29, 0.76), (side * 0.27, 1.02), (side * 0.06, 0.9)], t.base)
        pen.poly([(side * 0.25, 0.8), (side * 0.24, 0.95), (side * 0.12, 0.88)], (240, 150, 150))
    pen.oval(0, 0.72, 0.3, 0.22, t.base)
    pen.oval(0, 0.63, 0.14, 0.09, t.light)
    iris = _apart(t, (120, 200, 90), EYE)
    for x in (-0.125, 0.125):
        pen.oval(x, 0.75, 0.068, 0.068, iris, glow=pen.light.lamps)
        pen.oval(x, 0.75, 0.024, 0.06, DARK)
    pen.poly([(-0.045, 0.675), (0.045, 0.675), (0, 0.63)], (232, 110, 120))
    for side in (-1, 1):
        for y in (0.62, 0.67):
            pen.line([(side * 0.1, 0.64), (side * 0.4, y)], 0.012, mix(t.base, (255, 255, 255), 0.7))


def owl(pen: Pen, t: Tones, rng: Generator) -> None:
    """A round owl with great eyes on a branch."""
    pen.line([(-0.62, 0.05), (0.62, 0.09)], 0.1, (104, 66, 40))
    pen.oval(-0.5, 0.13, 0.1, 0.05, (92, 150, 66))
    pen.oval(0, 0.42, 0.33, 0.36, t.base)
    for side in (-1, 1):
        pen.poly([(side * 0.2, 0.66), *arc(side * 0.26, 0.4, 0.13, 0.3, 90, 90 - side * 180)], t.dark)
        pen.poly([(side * 0.3, 0.78), (side * 0.33, 1.02), (side * 0.08, 0.9)], t.dark)
    pen.oval(0, 0.34, 0.2, 0.24, t.light)
    for k, y in enumerate((0.44, 0.34, 0.24)):
        for x in (-0.09, 0.0, 0.09) if k % 2 else (-0.045, 0.045):
            pen.poly([(x - 0.04, y), (x + 0.04, y), (x, y - 0.06)], t.dark)
    pen.oval(0, 0.76, 0.33, 0.22, t.base)
    for x in (-0.14, 0.14):
        pen.oval(x, 0.76, 0.15, 0.15, (248, 244, 230))
        pen.oval(x, 0.76, 0.1, 0.1, EYE, glow=pen.light.lamps)
        pen.oval(x, 0.76, 0.055, 0.055, DARK)
    pen.poly([(-0.055, 0.69), (0.055, 0.69), (0, 0.58)], _apart(t, BEAK, DARK))
    for x in (-0.12, 0.12):
        pen.oval(x, 0.1, 0.07, 0.045, _apart(t, BEAK, DARK))


def butterfly(pen: Pen, t: Tones, rng: Generator) -> None:
    """A butterfly with four spread, spotted wings."""
    rim = DARK if sum(t.base) > 200 else (150, 150, 160)
    spread = float(rng.uniform(0.92, 1.08))
    for side in (-1, 1):
        high = [(0, 0.5), (side * 0.2, 0.86), (side * 0.5, 1.0), (side * 0.64, 0.86), (side * 0.54, 0.56)]
        low = [(0, 0.48), (side * 0.48, 0.5), (side * 0.52, 0.24), (side * 0.34, 0.04), (side * 0.14, 0.14)]
        for wing, color in ((high, t.base), (low, mix(t.base, t.light, 0.5))):
            x, y = sum(p[0] for p in wing) / 5, sum(p[1] for p in wing) / 5
            pen.poly([(px * spread, py) for px, py in wing], rim)
            pen.poly([((x + (px - x) * 0.8) * spread, y + (py - y) * 0.8) for px, py in wing], color)
        for x, y, r in ((0.42, 0.8, 0.075), (0.3, 0.62, 0.05), (0.33, 0.26, 0.07)):
            pen.oval(side * x * spread, y, r, r, _apart(t, (252, 240, 190), (232, 96, 60)))
        pen.line([(side * 0.02, 0.7), (side * 0.13, 0.96)], 0.02, rim)
        pen.oval(side * 0.14, 0.97, 0.026, 0.026, rim)
    pen.oval(0, 0.46, 0.045, 0.28, (66, 50, 46))
    pen.oval(0, 0.72, 0.06, 0.06, (66, 50, 46))


def whale(pen: Pen, t: Tones, rng: Generator) -> None:
    """A whale at the surface, its tail raised and a fountain above its head."""
    jet = (206, 234, 250)
    top = float(rng.uniform(0.86, 1.0))
    pen.line([(-0.34, 0.4), (-0.34, top - 0.1)], 0.06, jet)
    for side in (-1, 1):
        pen.line([(-0.34, top - 0.14), (-0.34 + side * 0.12, top), (-0.34 + side * 0.24, top - 0.12)], 0.055, jet)
    pen.poly([(0.4, 0.1), (0.62, 0.3), (0.68, 0.52), (0.5, 0.72), (0.74, 0.66), (0.8, 0.6), (0.88, 0.7), (1.06, 0.7),
              (0.86, 0.5), (0.82, 0.26), (0.6, -0.04)], t.base)  # fmt: skip
    pen.poly([(-0.82, 0.0), *arc(-0.12, 0.0, 0.72, 0.46, 180, 0), (0.62, -0.02)], t.base)
    pen.poly([(-0.84, 0.0), (-0.8, 0.14), (-0.4, 0.09), (0.1, 0.08), (0.5, 0.0)], mix(t.light, (250, 250, 250), 0.6))
    pen.poly([(-0.1, 0.12), (0.1, 0.12), (0.16, -0.02), (0.02, -0.02)], t.dark)
    pen.oval(-0.56, 0.2, 0.05, 0.05, (248, 248, 248))
    pen.oval(-0.56, 0.2, 0.028, 0.03, DARK)
    pen.line([(-0.8, 0.12), (-0.62, 0.09), (-0.48, 0.12)], 0.022, scaled(t.dark, (0.7, 0.7, 0.7)))


def penguin(pen: Pen, t: Tones, rng: Generator) -> None:
    """A penguin with a white belly, a yellow beak and a scarf in the subject's color."""
    coat, shade = (44, 48, 62), (28, 30, 42)
    lift = float(rng.uniform(0.0, 0.12))
    for x in (-0.13, 0.13):
        pen.oval(x, 0.03, 0.12, 0.05, BEAK)
    for side in (-1, 1):
        pen.poly([(side * 0.22, 0.64), (side * (0.4 + lift), 0.34 + lift), (side * (0.34 + lift), 0.26 + lift),
                  (side * 0.22, 0.4)], shade)  # fmt: skip
    pen.oval(0, 0.38, 0.29, 0.37, coat)
    pen.oval(0, 0.8, 0.21, 0.2, coat)
    pen.oval(0, 0.33, 0.2, 0.29, (246, 248, 252))
    for x in (-0.07, 0.07):
        pen.oval(x, 0.8, 0.09, 0.1, (246, 248, 252))
        pen.oval(x, 0.83, 0.03, 0.034, DARK)
    pen.poly([(-0.07, 0.77), (0.07, 0.77), (0, 0.69)], BEAK)
    pen.poly([(-0.22, 0.66), (0.22, 0.66), (0.24, 0.57), (-0.24, 0.57)], t.base)
    pen.poly([(0.08, 0.6), (0.19, 0.6), (0.22, 0.36), (0.1, 0.36)], t.dark)
