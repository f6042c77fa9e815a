"""Weather that falls or hangs before the subject: fog, rain, snow, leaves, and the rain of a storm."""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from vqclip.starter.palette import RGB, Light, mix
from vqclip.starter.world import Scene

LEAVES: tuple[RGB, ...] = ((214, 78, 28), (240, 152, 32), (196, 48, 36), (246, 196, 64))


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


def _streaks(size: int, rng: Generator) -> Image.Image:
    mask = Image.new("L", (size, size))
    draw = ImageDraw.Draw(mask)
    slant, count = rng.uniform(-0.35, 0.35), int(rng.integers(60, 90))
    length = rng.uniform(0.09, 0.17, count)
    width = max(2, round(size / 54))
    for (x, y), d in zip(rng.uniform(-0.1, 1.05, (count, 2)), length, strict=True):
        draw.line(
            (x * size, y * size, (x + d * slant) * size, (y + d) * size), fill=int(rng.integers(130, 205)), width=width
        )
    return mask


def _flakes(size: int, rng: Generator) -> Image.Image:
    mask = Image.new("L", (size * 2, size * 2))
    draw = ImageDraw.Draw(mask)
    count = int(rng.integers(55, 90))
    for (x, y), r in zip(rng.random((count, 2)) * 2 * size, rng.uniform(0.01, 0.024, count) * 2 * size, strict=True):
        draw.ellipse((x - r, y - r, x + r, y + r), fill=245)
    return mask.reduce(2)


def _leaves(size: int, rng: Generator, image: Image.Image) -> None:
    """Red, orange and yellow leaves in the wind."""
    draw = ImageDraw.Draw(image)
    for x, y, r, turn in zip(*rng.random((2, 34)), rng.uniform(0.018, 0.036, 34), rng.uniform(0, 3.2, 34), strict=True):
        a, b = np.cos(turn) * r, np.sin(turn) * r
        tips = [(x - a, y - b), (x + b * 0.5, y - a * 0.5), (x + a, y + b), (x - b * 0.5, y + a * 0.5)]
        color = LEAVES[int(rng.integers(len(LEAVES)))]
        draw.polygon([(px * size, py * size) for px, py in tips], fill=color)


def fall(image: Image.Image, scene: Scene, light: Light, rng: Generator) -> Image.Image:
    """Lets rain, snow or leaves fall before the whole picture."""
    on_paper = scene.style in ("pencil", "ink")
    if scene.weather == "snow":
        white = (168, 178, 198) if on_paper else (206, 216, 240) if scene.time == "night" else (255, 255, 255)
        image.paste(white, mask=_flakes(image.width, rng))
    elif scene.weather == "autumn":
        _leaves(image.width, rng, image)
    elif scene.weather == "rain" or (scene.weather == "storm" and rng.random() < 0.4):
        water = (70, 74, 88) if on_paper else mix((214, 228, 244), light.sky[1], 0.15)
        image.paste(water, mask=_streaks(image.width, rng))
    return image
