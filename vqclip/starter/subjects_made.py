"""Painters of what people make: car, train, airplane, tent, umbrella, robot."""

from numpy.random import Generator

from vqclip.starter.palette import RGB, Tones, mix, tones
from vqclip.starter.pen import Pen, arc

TIRE: RGB = (40, 40, 48)
RIM: RGB = (200, 206, 214)
PANE: RGB = (164, 214, 238)
LAMP: RGB = (255, 238, 150)


def _wheel(pen: Pen, x: float, y: float, r: float) -> None:
    pen.oval(x, y, r, r, TIRE)
    pen.oval(x, y, r * 0.52, r * 0.52, RIM)


def car(pen: Pen, t: Tones, rng: Generator) -> None:
    """A small car with a round roof, seen from its side."""
    lit = pen.light.lamps
    back = float(rng.uniform(-0.5, -0.42))
    pen.poly([(back, 0.5), (-0.3, 0.92), (0.2, 0.92), (0.46, 0.52)], t.base)
    pen.poly([(back + 0.09, 0.54), (-0.26, 0.84), (-0.06, 0.84), (-0.06, 0.54)], LAMP if lit else PANE, glow=lit)
    pen.poly([(0.02, 0.54), (0.02, 0.84), (0.17, 0.84), (0.36, 0.54)], LAMP if lit else PANE, glow=lit)
    pen.poly([(-0.78, 0.14), (-0.8, 0.44), (-0.6, 0.54), (0.5, 0.54), (0.78, 0.44), (0.82, 0.14)], t.base)
    pen.poly([(-0.78, 0.14), (-0.8, 0.28), (0.82, 0.28), (0.82, 0.14)], t.dark)
    pen.line([(-0.02, 0.5), (-0.02, 0.2)], 0.02, t.dark)
    pen.oval(0.76, 0.4, 0.06, 0.06, LAMP, glow=True)
    pen.rect(-0.81, 0.36, -0.74, 0.46, (220, 50, 44), glow=lit)
    for x in (-0.46, 0.46):
        _wheel(pen, x, 0.15, 0.2)


def train(pen: Pen, t: Tones, rng: Generator) -> None:
    """A steam engine on rails with a cloud of smoke."""
    smoke = mix((232, 232, 236), pen.light.sky[1], 0.3)
    drift = float(rng.uniform(0.1, 0.3))
    for k, r in enumerate((0.08, 0.12, 0.16)):
        pen.oval(0.42 - drift * k, 0.86 + 0.1 * k, r, r * 0.8, smoke)
    pen.rect(-1.2, -0.03, 1.2, 0.01, (96, 84, 80))
    pen.rect(-0.78, 0.16, -0.16, 0.78, t.base)
    pen.rect(-0.84, 0.76, -0.1, 0.84, t.dark)
    lit = pen.light.lamps
    pen.rect(-0.68, 0.46, -0.48, 0.68, LAMP if lit else PANE, glow=lit)
    pen.rect(-0.42, 0.46, -0.24, 0.68, LAMP if lit else PANE, glow=lit)
    pen.rect(-0.2, 0.22, 0.56, 0.54, t.base)
    pen.rect(-0.2, 0.22, 0.56, 0.32, t.dark)
    pen.oval(0.56, 0.38, 0.07, 0.16, t.light)
    pen.poly([(0.36, 0.52), (0.32, 0.8), (0.52, 0.8), (0.48, 0.52)], TIRE)
    pen.oval(0.06, 0.55, 0.09, 0.08, (224, 176, 60))
    pen.rect(-0.8, 0.12, 0.66, 0.2, (70, 66, 76))
    pen.poly([(0.6, 0.2), (0.86, 0.0), (0.6, 0.0)], (190, 52, 44))
    for x, r in ((-0.58, 0.17), (-0.2, 0.17), (0.14, 0.12), (0.44, 0.12)):
        _wheel(pen, x, r, r)


def airplane(pen: Pen, t: Tones, rng: Generator) -> None:
    """A propeller plane in the air, seen from its side."""
    pen.poly([(-0.7, 0.5), (-0.92, 0.86), (-0.74, 0.86), (-0.46, 0.56)], t.dark)
    pen.poly([(-0.88, 0.48), (-1.0, 0.58), (-0.62, 0.56), (-0.56, 0.46)], t.light)
    pen.poly([(-0.86, 0.54), (-0.3, 0.7), (0.36, 0.72), (0.66, 0.6), (0.7, 0.42), (0.5, 0.3), (-0.1, 0.28)], t.base)
    pen.poly([(-0.5, 0.4), (0.68, 0.42), (0.5, 0.3), (-0.1, 0.28)], t.dark)
    pen.poly([(0.02, 0.7), (0.08, 0.86), (0.3, 0.86), (0.42, 0.7)], PANE, glow=pen.light.lamps)
    pen.poly([(-0.16, 0.46), (0.36, 0.46), (0.06, 0.02), (-0.2, 0.02)], t.light)
    pen.poly([(0.1, 0.46), (0.36, 0.46), (0.06, 0.02), (-0.02, 0.02)], mix(t.light, t.dark, 0.5))
    for x in (-0.24, -0.08, 0.1):
        pen.oval(x - 0.1, 0.58, 0.045, 0.05, PANE, glow=pen.light.lamps)
    pen.oval(0.72, 0.51, 0.05, 0.08, TIRE)
    blade = float(rng.uniform(0.26, 0.34))
    pen.poly([(0.74, 0.51), (0.79, 0.51 + blade), (0.84, 0.51 + blade), (0.78, 0.51)], (96, 84, 80))
    pen.poly([(0.74, 0.51), (0.79, 0.51 - blade), (0.84, 0.51 - blade), (0.78, 0.51)], (96, 84, 80))


def tent(pen: Pen, t: Tones, rng: Generator) -> None:
    """A tent with an open flap; at night a lamp burns inside."""
    lit = pen.light.lamps
    top = float(rng.uniform(0.9, 1.0))
    for side in (-1, 1):
        pen.line([(side * 0.5, top * 0.42), (side * 0.95, 0.0)], 0.02, (120, 96, 70))
    pen.poly([(-0.78, 0.0), (0.0, top), (0.78, 0.0)], t.base)
    pen.poly([(0.3, 0.0), (0.0, top), (0.78, 0.0)], t.dark)
    pen.poly([(-0.78, 0.0), (0.0, top), (-0.62, 0.0)], t.light)
    pen.poly([(-0.28, 0.0), (0.0, top * 0.72), (0.28, 0.0)], (255, 206, 100) if lit else (62, 48, 46), glow=lit)
    pen.poly([(-0.28, 0.0), (0.0, top * 0.72), (-0.4, 0.0)], mix(t.light, (255, 255, 255), 0.3))
    pen.line([(0.0, top - 0.02), (0.0, top + 0.08)], 0.03, (120, 96, 70))


def umbrella(pen: Pen, t: Tones, rng: Generator) -> None:
    """A great open umbrella whose panels alternate, standing on its stick."""
    other = (246, 242, 230) if sum(t.base) < 600 else (226, 90, 80)
    foot = 0.56
    pen.line([(0, 0.06), (0, 0.96)], 0.045, (120, 80, 52))
    pen.line([(0, 0.08), (0.03, 0.0), (0.12, 0.0), (0.14, 0.07)], 0.045, (120, 80, 52))
    dome = arc(0, foot, 0.66, 0.4, 180, 0)
    pen.poly(dome, t.base)
    for x0, x1, color in ((-0.44, -0.16, other), (0.16, 0.44, other), (0.44, 0.66, t.dark)):
        left, right = arc(0, foot, x0, 0.4, 0, 90), arc(0, foot, x1, 0.4, 0, 90)
        pen.poly([*left, *reversed(right)], color)
    for x in (-0.55, -0.3, 0.0, 0.3, 0.55):
        r = 0.16 if x == 0 else 0.13
        pen.oval(x, foot - 0.005, r, 0.05, mix(t.dark, (20, 20, 30), 0.3))
    pen.oval(0, 0.98, 0.03, 0.04, t.dark)


def robot(pen: Pen, t: Tones, rng: Generator) -> None:
    """A square robot with shining eyes and an antenna."""
    joint = tones((104, 110, 124))
    glow: RGB = (90, 240, 250)
    raised = float(rng.uniform(0.3, 0.66))
    pen.line([(0, 0.9), (0, 1.0)], 0.03, joint.base)
    pen.oval(0, 1.02, 0.05, 0.05, (240, 70, 60), glow=True)
    for side in (-1, 1):
        pen.rect(side * 0.06, 0.02, side * 0.22, 0.26, joint.base)
        pen.rect(side * 0.04, 0.0, side * 0.28, 0.07, t.dark)
        elbow = (side * 0.44, 0.44)
        pen.line([(side * 0.3, 0.54), elbow, (side * 0.5, raised if side > 0 else 0.24)], 0.085, joint.base)
        pen.oval(side * 0.5, raised if side > 0 else 0.24, 0.075, 0.075, t.base)
        pen.rect(side * 0.26, 0.7, side * 0.33, 0.82, joint.dark)
    pen.rect(-0.31, 0.24, 0.31, 0.62, t.base)
    pen.rect(0.16, 0.24, 0.31, 0.62, t.dark)
    pen.rect(-0.2, 0.34, 0.12, 0.54, joint.light)
    for x, color in ((-0.13, (240, 80, 70)), (-0.03, (250, 210, 70)), (0.07, (90, 210, 110))):
        pen.oval(x, 0.44, 0.04, 0.045, color, glow=pen.light.lamps)
    pen.rect(-0.27, 0.64, 0.27, 0.92, t.base)
    pen.rect(0.15, 0.64, 0.27, 0.92, t.dark)
    pen.rect(-0.2, 0.72, 0.2, 0.86, (36, 40, 54))
    for x in (-0.1, 0.1):
        pen.oval(x, 0.79, 0.055, 0.055, glow, glow=True)
