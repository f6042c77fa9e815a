"""Weather that falls or hangs before the subject: fog, rain, snow, leaves, and the rain of a storm.

All of it is drawn large, as in picture books: a latent cell is eight pixels wide, and what is finer is lost in it.
"""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from vqclip.starter.palette import RGB, Light, mix
from vqclip.starter.world import Scene

LEAVES: tuple[RGB, ...] = ((214, 78, 28), (240, 152, 32), (196, 48, 36), (246, 196, 64))

BEFORE = 0.15
"""The share of what falls that falls before the subjects."""


def noise(size: int, cells: int, rng: Generator) -> np.ndarray:
    """Smooth noise in [0, 1], [size, size], with about `cells` blobs to a side."""
    small = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.clip(np.asarray(small.resize((size, size), Image.Resampling.BICUBIC)), 0, 1)


def veil(size: int, horizon: float, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """How much fog lies on the backdrop and on the subject, two maps [size, size] in [0, 1]."""
    y = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    drift = (noise(size, 4, rng) - 0.5) * 0.3
    dense = float(rng.uniform(0.85, 1.0))
    behind = np.interp(y, (0, horizon, 1), (0.62, 0.92, 0.84)).astype(np.float32)
    before = np.interp(y, (0.1, horizon, 1), (0.18, 0.5, 0.78)).astype(np.float32)
    return np.clip(behind * dense + drift * 0.5, 0, 0.95), np.clip(before * dense + drift, 0, 0.85)


def _streaks(size: int, rng: Generator, share: float) -> Image.Image:
    mask = Image.new("L", (size, size))
    draw = ImageDraw.Draw(mask)
    slant, count = rng.uniform(-0.35, 0.35), round(share * rng.integers(34, 50))
    length = rng.uniform(0.14, 0.25, count)
    width = max(2, round(size / 36))
    for (x, y), d in zip(rng.uniform(-0.1, 1.05, (count, 2)), length, strict=True):
        draw.line(
            (x * size, y * size, (x + d * slant) * size, (y + d) * size), fill=int(rng.integers(165, 235)), width=width
        )
    return mask


def _flakes(size: int, rng: Generator, share: float) -> Image.Image:
    mask = Image.new("L", (size * 2, size * 2))
    draw = ImageDraw.Draw(mask)
    count = round(share * rng.integers(50, 75))
    for (x, y), r in zip(rng.random((count, 2)) * 2 * size, rng.uniform(0.016, 0.032, count) * 2 * size, strict=True):
        draw.ellipse((x - r, y - r, x + r, y + r), fill=245)
    return mask.reduce(2)


def _leaves(size: int, rng: Generator, share: float) -> Image.Image:
    """Red, orange and yellow leaves in the wind, RGBA."""
    layer = Image.new("RGBA", (size, size))
    draw, count = ImageDraw.Draw(layer), round(share * rng.integers(24, 34))
    places, sizes, turns = rng.random((2, count)), rng.uniform(0.04, 0.07, count), rng.uniform(0, 3.2, count)
    for x, y, r, turn in zip(*places, sizes, turns, strict=True):
        a, b = np.cos(turn) * r, np.sin(turn) * r
        tips = [(x - a, y - b), (x + b * 0.5, y - a * 0.5), (x + a, y + b), (x - b * 0.5, y + a * 0.5)]
        draw.polygon([(px * size, py * size) for px, py in tips], fill=LEAVES[int(rng.integers(len(LEAVES)))])
    return layer


def _falling(
    size: int, scene: Scene, light: Light, rng: Generator, share: float
) -> tuple[RGB | Image.Image, Image.Image]:
    """A share of what falls: its color or its picture, and where it is."""
    on_paper = scene.style in ("pencil", "ink")
    if scene.weather == "autumn":
        leaves = _leaves(size, rng, share)
        return leaves.convert("RGB"), leaves.getchannel("A")
    if scene.weather == "snow":
        white = (168, 178, 198) if on_paper else (206, 216, 240) if scene.time == "night" else (255, 255, 255)
        return white, _flakes(size, rng, share)
    return (70, 74, 88) if on_paper else mix((214, 228, 244), light.sky[1], 0.15), _streaks(size, rng, share)


def fall(image: Image.Image, scene: Scene, light: Light, rng: Generator, hidden: np.ndarray) -> Image.Image:
    """Lets rain, snow or leaves fall: little before the subjects, the most behind them.

    hidden [H, W] in [0, 1]: where the subjects are.
    """
    pours = scene.weather in ("rain", "snow", "autumn") or (scene.weather == "storm" and rng.random() < 0.4)
    if not pours:
        return image
    for share, seen in ((1 - BEFORE, 1 - hidden), (BEFORE, np.ones_like(hidden))):
        what, where = _falling(image.width, scene, light, rng, share)
        image.paste(what, mask=Image.fromarray((np.asarray(where) * seen).astype(np.uint8)))
    return image
