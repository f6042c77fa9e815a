"""Painting styles as filters: a finished picture in, the same picture in paint, ink, tiles, glass or light out."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from vqclip.starter.weather import noise

Style = Callable[[Image.Image, Generator], Image.Image]


def _image(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _edges(gray: np.ndarray) -> np.ndarray:
    """Strength of edges, the same shape, about 0..255."""
    dx, dy = np.zeros_like(gray), np.zeros_like(gray)
    dx[:, 1:-1] = gray[:, 2:] - gray[:, :-2]
    dy[1:-1] = gray[2:] - gray[:-2]
    return np.hypot(dx, dy)


def _gray(image: Image.Image, blur: float = 0.0) -> np.ndarray:
    gray = image.convert("L")
    return np.asarray(gray.filter(ImageFilter.GaussianBlur(blur)) if blur else gray, np.float32)


def watercolor(image: Image.Image, rng: Generator) -> Image.Image:
    """Thin washes on white paper, darker where a wash ends, with a ragged white border."""
    size = image.width
    soft = image.filter(ImageFilter.MedianFilter(3)).filter(ImageFilter.GaussianBlur(size / 110))
    wash = np.asarray(soft, np.float32)
    blot = (0.62 + 0.26 * noise(size, 9, rng))[..., None]
    wash = 252 - (252 - wash) * blot
    wash -= np.clip(_edges(_gray(soft)) * 0.5, 0, 46)[..., None]
    away = np.minimum(np.arange(size), np.arange(size)[::-1]) / size
    rim = np.minimum(away[:, None], away[None]) * 14 - 0.9 * noise(size, 12, rng)
    paper = np.clip(1 - rim * 2.2, 0, 1)[..., None]
    return _image(wash + (np.array([252, 250, 243]) - wash) * paper)


def oil(image: Image.Image, rng: Generator) -> Image.Image:
    """Short thick strokes of strong paint."""
    size = image.width
    canvas = ImageEnhance.Color(image).enhance(1.3)
    pixels = np.asarray(canvas)
    draw = ImageDraw.Draw(canvas)
    count = 620
    at = rng.integers(0, size, (count, 2))
    picked = pixels[at[:, 1], at[:, 0]].astype(np.int16) + rng.integers(-16, 17, (count, 1))
    turn = noise(size, 5, rng)[at[:, 1], at[:, 0]] * 7
    reach = rng.uniform(0.024, 0.046, count) * size
    dx, dy = np.cos(turn) * reach, np.sin(turn) * reach
    lines = np.stack([at[:, 0] - dx, at[:, 1] - dy, at[:, 0] + dx, at[:, 1] + dy], 1).tolist()
    width = max(2, round(size / 36))
    for line, color in zip(lines, np.clip(picked, 0, 255).tolist(), strict=True):
        draw.line(line, fill=tuple(color), width=width)
    return Image.blend(canvas, canvas.filter(ImageFilter.EMBOSS).filter(ImageFilter.SMOOTH), 0.12)


def pencil(image: Image.Image, rng: Generator) -> Image.Image:
    """Gray lines and hatching on paper."""
    size = image.width
    gray = _gray(image, size / 256)
    low, high = gray.min(), gray.max()
    tone = (gray - low) / max(30.0, float(high - low))
    yy, xx = np.mgrid[0:size, 0:size] / size
    hatch = 0.5 + 0.5 * np.sin((xx + yy * rng.uniform(0.7, 1.3)) * 2 * np.pi * 18)
    shade = np.clip(0.8 - tone, 0, 1) * (0.42 + 0.5 * hatch)
    line = np.clip(_edges(gray) / 60, 0, 1)
    sheet = 246 - 150 * shade - 170 * line
    return _image(np.clip(sheet, 46, 250)[..., None] * np.array([1.0, 0.99, 0.965]))


def ink(image: Image.Image, rng: Generator) -> Image.Image:
    """Black ink on paper: solid shadows, hatched half-tones, firm outlines."""
    size = image.width
    gray = _gray(ImageOps.autocontrast(image.convert("L"), 2), size / 160)
    dark, half = np.percentile(gray, (rng.uniform(9, 16), rng.uniform(38, 48)))
    yy, xx = np.mgrid[0:size, 0:size] / size
    hatch = np.sin((xx - yy) * 2 * np.pi * 16) > 0.35
    black = (gray < min(dark, 90)) | ((gray < half) & hatch) | (_edges(gray) > 34)
    paper = np.array([[246, 240, 224], [250, 250, 248]][int(rng.integers(2))], np.float32)
    sheet = _image(np.where(black[..., None], np.array([22, 22, 30], np.float32), paper))
    return sheet.filter(ImageFilter.GaussianBlur(size / 300))


def pixel(image: Image.Image, rng: Generator) -> Image.Image:
    """Big square pixels in few colors."""
    cells = int(rng.integers(24, 33))
    small = ImageEnhance.Color(image).enhance(1.35).resize((cells, cells), Image.Resampling.BOX)
    few = small.quantize(16, method=Image.Quantize.MEDIANCUT).convert("RGB")
    return few.resize(image.size, Image.Resampling.NEAREST)


def neon(image: Image.Image, rng: Generator) -> Image.Image:
    """Glowing tubes along the outlines, in the dark."""
    size = image.width
    soft = image.filter(ImageFilter.GaussianBlur(size / 128))
    values = np.asarray(soft, np.float32)
    line = np.clip(np.max([_edges(values[..., c]) for c in range(3)], 0) / 70 - 0.12, 0, 1)[..., None]
    vivid = values - values.min(-1, keepdims=True) * 0.85
    vivid = vivid / np.maximum(vivid.max(-1, keepdims=True), 1) * 255
    lamp = np.array([[255, 40, 200], [30, 230, 255], [140, 80, 255]][int(rng.integers(3))], np.float32)
    tube = _image((vivid * 0.74 + lamp * 0.26) * line)
    halo = tube.filter(ImageFilter.GaussianBlur(size / 32))
    ground = _image(vivid * 0.09 + values * 0.13 + np.array([6, 2, 22], np.float32))
    return ImageChops.add(ImageChops.add(ground, tube), ImageChops.add(halo, halo))


def pastel(image: Image.Image, rng: Generator) -> Image.Image:
    """Soft pale chalk."""
    size = image.width
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(size / 128)), np.float32)
    chalk = (noise(size, size // 8, rng) - 0.5)[..., None] * 16
    return _image(soft * 0.52 + 255 * 0.42 + np.array([8, 0, 8], np.float32) + chalk)


def poster(image: Image.Image, rng: Generator) -> Image.Image:
    """Flat areas of a few strong colors."""
    size = image.width
    flat = ImageEnhance.Contrast(ImageEnhance.Color(image).enhance(1.5)).enhance(1.15)
    flat = flat.filter(ImageFilter.MedianFilter(3 if size <= 128 else 5))
    return (
        flat.quantize(int(rng.integers(7, 11)), method=Image.Quantize.MAXCOVERAGE, kmeans=1)
        .convert("RGB")
        .filter(ImageFilter.SMOOTH)
    )


def mosaic(image: Image.Image, rng: Generator) -> Image.Image:
    """Uneven tiles set in pale or dark mortar."""
    size, cells = image.width, 16
    tint = np.asarray(ImageEnhance.Color(image).enhance(1.3).resize((cells, cells), Image.Resampling.BOX), np.int16)
    tint = np.clip(tint + rng.integers(-13, 14, (cells, cells, 1)), 0, 255).tolist()
    mortar = ((56, 52, 60), (208, 200, 188))[int(rng.integers(2))]
    grid = np.stack(np.meshgrid(np.arange(cells + 1), np.arange(cells + 1)), -1) + rng.uniform(
        -0.2, 0.2, (cells + 1, cells + 1, 2)
    )
    corner = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], 2)
    middle = corner.mean(2, keepdims=True)
    corner = ((middle + (corner - middle) * 0.86) * (2 * size / cells)).reshape(cells, cells, 8).tolist()
    sheet = Image.new("RGB", (2 * size, 2 * size), mortar)
    draw = ImageDraw.Draw(sheet)
    for row, colors in zip(corner, tint, strict=True):
        for tile, color in zip(row, colors, strict=True):
            draw.polygon(tile, fill=tuple(color))
    return sheet.reduce(2)


def glass(image: Image.Image, rng: Generator) -> Image.Image:
    """Stained glass: panes of glowing color, held by broad lines of lead."""
    size, count = image.width, 26
    vivid = ImageEnhance.Contrast(ImageEnhance.Color(image).enhance(1.8)).enhance(1.15)
    flat = vivid.filter(ImageFilter.MedianFilter(5)).quantize(9, method=Image.Quantize.MAXCOVERAGE, kmeans=1)
    seeds = rng.random((count, 2)).astype(np.float32) * size
    at = np.arange(size, dtype=np.float32)
    away = (at[:, None, None] - seeds[:, 0]) ** 2 + (at[None, :, None] - seeds[:, 1]) ** 2
    pane = away.argmin(-1)
    lit = np.asarray(flat.convert("RGB"), np.float32) * rng.uniform(0.86, 1.14, (count, 1))[pane]
    label = np.asarray(flat, np.int32)
    border = np.zeros((size, size), bool)
    for line in (pane, label):
        border[:, 1:] |= line[:, 1:] != line[:, :-1]
        border[1:] |= line[1:] != line[:-1]
    lead = Image.fromarray(border.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3 if size <= 128 else 5))
    sheet = _image(lit)
    sheet.paste((24, 22, 30), mask=lead)
    return sheet.filter(ImageFilter.SMOOTH)


FILTERS: dict[str, Style] = {
    "watercolor": watercolor, "oil": oil, "pencil": pencil, "ink": ink, "pixel": pixel,
    "neon": neon, "pastel": pastel, "poster": poster, "mosaic": mosaic,
    "glass": glass,
}  # fmt: skip
LINES: frozenset[str] = frozenset({"pencil", "ink", "neon"})  # styles made of outlines


def apply_style(image: Image.Image, style: str, rng: Generator) -> Image.Image:
    """The picture in a named style; `plain` leaves it as it is."""
    return image if style == "plain" else FILTERS[style](image, rng)
