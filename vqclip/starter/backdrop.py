"""What lies behind and under a subject: sky, sun or moon, clouds, lightning, rainbow, aurora, far hills, ground."""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from vqclip.starter.palette import RGB, Light, mix, scaled
from vqclip.starter.world import Scene

GROUND: dict[str, tuple[RGB, RGB]] = {  # near, far
    "meadow": ((92, 168, 62), (150, 200, 96)),
    "hills": ((104, 160, 70), (158, 196, 110)),
    "forest": ((58, 116, 56), (96, 148, 84)),
    "desert": ((222, 170, 96), (240, 206, 138)),
    "sea": ((24, 84, 150), (84, 158, 206)),
    "river": ((40, 104, 160), (110, 172, 206)),
    "street": ((92, 92, 100), (136, 134, 138)),
    "snowfield": ((228, 236, 248), (246, 249, 255)),
}
WATER: frozenset[str] = frozenset({"sea", "river"})
_GREEN: frozenset[str] = frozenset({"meadow", "hills", "forest"})
_FAR: dict[str, RGB] = {
    "meadow": (88, 138, 92), "hills": (76, 132, 84), "forest": (46, 92, 66), "desert": (206, 150, 98),
    "sea": (92, 128, 150), "river": (84, 136, 88), "street": (120, 128, 144), "snowfield": (190, 206, 226),
}  # fmt: skip


def _gradient(side: int, stops: tuple[RGB, ...], places: tuple[float, ...]) -> np.ndarray:
    """A column of colors from top to bottom, [side, 1, 3]."""
    y = np.linspace(0, 1, side)
    return np.stack([np.interp(y, places, [s[c] for s in stops]) for c in range(3)], -1)[:, None].astype(np.uint8)


def _sun(draw: ImageDraw.ImageDraw, side: int, scene: Scene, light: Light, horizon: float, rng: Generator) -> None:
    """The sun, low at dusk and dawn, or the moon with stars."""
    left = rng.random() < 0.5
    x = rng.uniform(0.1, 0.25) if left else rng.uniform(0.75, 0.9)
    low = scene.time in ("sunset", "dawn")
    y = horizon - rng.uniform(0.02, 0.14) if low else rng.uniform(0.1, 0.2)
    r = rng.uniform(0.09, 0.13) if low else rng.uniform(0.055, 0.085)
    dim = 0.0 if scene.weather == "clear" else 0.55
    if scene.time == "night" and scene.weather in ("clear", "snow"):
        _stars(draw, side, light.sky[1], dim, horizon, rng)
    for grow, share in ((1.7, 0.72), (1.3, 0.45), (1.0, 0.0)):
        draw.ellipse(
            _box(side, x, y, r * grow, r * grow), fill=mix(light.sun, light.sky[1 + low], share + (1 - share) * dim)
        )
    if scene.time == "night" and rng.random() < 0.5:
        draw.ellipse(_box(side, x + r * 0.5, y - r * 0.25, r * 0.85, r * 0.85), fill=mix(light.sky[0], light.sun, 0.12))


def _stars(draw: ImageDraw.ImageDraw, side: int, sky: RGB, dim: float, horizon: float, rng: Generator) -> None:
    for x, y, size in zip(rng.random(45), rng.random(45) * horizon, rng.uniform(0.004, 0.011, 45), strict=True):
        draw.ellipse(_box(side, x, y, size, size), fill=mix((235, 240, 255), sky, dim))


def _box(side: int, x: float, y: float, rx: float, ry: float) -> tuple[float, float, float, float]:
    return (x - rx) * side, (y - ry) * side, (x + rx) * side, (y + ry) * side


def _cloud(
    draw: ImageDraw.ImageDraw, side: int, x: float, y: float, size: float, color: RGB, under: RGB, rng: Generator
) -> None:
    puffs = [(-0.9, 0.0, 0.5), (-0.35, -0.25, 0.65), (0.3, -0.2, 0.7), (0.9, 0.02, 0.5)]
    grow = rng.uniform(0.8, 1.2, 4)
    for c, down in ((under, 0.12), (color, 0.0)):
        for (px, py, r), g in zip(puffs, grow, strict=True):
            draw.ellipse(
                _box(side, x + px * size, y + (py + down) * size * 0.6, r * size * g, r * size * g * 0.55), fill=c
            )


def _clouds(draw: ImageDraw.ImageDraw, side: int, scene: Scene, light: Light, rng: Generator) -> None:
    """A few fair clouds, a closed gray ceiling, or the dark heap of a storm."""
    if scene.weather in ("storm", "rain"):
        dark = scaled(light.cloud, (0.62, 0.62, 0.68)) if scene.weather == "storm" else light.cloud
        for k in range(9):
            x, y = (k % 5) / 4 + rng.uniform(-0.08, 0.08), (0.02, 0.14)[k // 5] + rng.uniform(-0.03, 0.03)
            shade = scaled(dark, (0.8,) * 3 if k % 2 else (1.05,) * 3)
            _cloud(draw, side, x, y, rng.uniform(0.14, 0.22), shade, scaled(shade, (0.75,) * 3), rng)
        return
    for _ in range(int(rng.integers(0, 4)) + 2 * (scene.weather == "snow")):
        x, y = rng.uniform(0, 1), rng.uniform(0.06, 0.42)
        _cloud(draw, side, x, y, rng.uniform(0.07, 0.13), light.cloud, mix(light.cloud, light.sky[1], 0.5), rng)


def _lightning(draw: ImageDraw.ImageDraw, side: int, horizon: float, rng: Generator) -> None:
    """One or two thick bolts beside the subject."""
    places = [rng.uniform(0.1, 0.24), rng.uniform(0.76, 0.9)]
    for x in places[int(rng.integers(2)) :] if rng.random() < 0.6 else places:
        top, foot = 0.16, horizon - rng.uniform(0.0, 0.1)
        lean = rng.choice((-1, 1))
        span = foot - top
        zig = [(0.02, 0), (-0.05, 0.48), (0.0, 0.46), (-0.045, 1.0), (0.06, 0.36), (0.015, 0.38), (0.07, 0)]
        for grow, c in ((1.5, (170, 170, 235)), (1.0, (255, 252, 205))):
            draw.polygon([((x + lean * px * grow) * side, (top + py * span) * side) for px, py in zig], fill=c)


BOW: tuple[RGB, ...] = ((230, 54, 60), (248, 144, 44), (252, 222, 70), (70, 190, 90), (60, 120, 226), (138, 70, 190))


def _rainbow(image: Image.Image, horizon: float, rng: Generator) -> None:
    """A broad bow of six colors that stands on the horizon."""
    side, band = image.width, 0.034
    x, top = rng.uniform(0.42, 0.58), rng.uniform(0.05, 0.12)
    outer = rng.uniform(0.56, 0.66)
    bow, mask = Image.new("RGB", image.size), Image.new("L", image.size)
    colors, shape = ImageDraw.Draw(bow), ImageDraw.Draw(mask)
    for k, color in enumerate(BOW):
        r = outer - k * band
        colors.ellipse(_box(side, x, top + outer, r, r), fill=color)
    shape.ellipse(_box(side, x, top + outer, outer, outer), fill=215)
    inner = outer - len(BOW) * band
    shape.ellipse(_box(side, x, top + outer, inner, inner), fill=0)
    shape.rectangle((0, horizon * side, side, side), fill=0)
    image.paste(bow, mask=mask)


def _aurora(image: Image.Image, horizon: float, rng: Generator) -> None:
    """Waving curtains of green and violet light."""
    side = image.width
    x = np.linspace(0, 1, side, dtype=np.float32)
    y = np.linspace(0, 1, side, dtype=np.float32)[:, None]
    sky = np.asarray(image, np.float32)
    for color, at in (((150, 70, 220), 0.16), ((60, 240, 150), 0.34)):
        a, b = rng.uniform(0, 6.3, 2)
        foot = (at + 0.06 * np.sin(x * rng.uniform(5, 8) + a) + 0.03 * np.sin(x * 13 + b)) * horizon / 0.6
        up = foot[None] - y
        glow = np.where(up > 0, np.exp(-up / 0.13), np.exp(up / 0.025))
        glow = glow * (0.72 + 0.28 * np.sin(x * rng.uniform(24, 34) + b))[None]
        sky = sky + (np.array(color, np.float32) - sky) * np.clip(glow, 0, 1)[..., None] * 0.85
    image.paste(Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8)))


def _ridge(side: int, level: float, swing: float, rng: Generator, waves: float) -> list[tuple[float, float]]:
    """A wavy line across the picture, closed along its lower edge."""
    x = np.linspace(0, 1, 25)
    a, b = rng.uniform(0, 6.3, 2)
    y = level + swing * (np.sin(x * waves + a) * 0.65 + np.sin(x * waves * 2.3 + b) * 0.35)
    return [*zip((x * side).tolist(), (y * side).tolist(), strict=True), (side, side), (0, side)]


def _distance(draw: ImageDraw.ImageDraw, side: int, scene: Scene, light: Light, horizon: float, rng: Generator) -> None:
    """Low hills, dunes or woods along the horizon."""
    snowy = scene.weather == "snow"
    base = mix(_FAR[scene.ground], (226, 234, 246), 0.55 if snowy else 0.0)
    if scene.weather == "autumn" and scene.ground in _GREEN:
        base = mix(base, (206, 104, 40), 0.6)
    if scene.ground == "sea" and rng.random() < 0.6:
        return
    rise = {"sea": 0.015, "desert": 0.03, "street": 0.02}.get(scene.ground, 0.05)
    for k, hazy in enumerate((0.6, 0.3)):
        color = mix(scaled(base, light.tint), light.sky[2], hazy)
        draw.polygon(_ridge(side, horizon - rise * (1.2 - k * 0.8), rise * 0.6, rng, rng.uniform(5, 9)), fill=color)
    if scene.ground == "forest":
        trees = (196, 92, 34) if scene.weather == "autumn" else (34, 84, 58)
        dark = scaled(mix(trees, (226, 234, 246), 0.4 if snowy else 0.0), light.tint)
        for x in np.linspace(-0.02, 1.02, 15) + rng.uniform(-0.02, 0.02, 15):
            h = rng.uniform(0.07, 0.14)
            draw.polygon(
                [
                    ((x - 0.055) * side, (horizon + 0.03) * side),
                    (x * side, (horizon - h) * side),
                    ((x + 0.055) * side, (horizon + 0.03) * side),
                ],
                fill=mix(dark, light.sky[2], rng.uniform(0.1, 0.3)),
            )


def _marks(
    draw: ImageDraw.ImageDraw, side: int, scene: Scene, near: RGB, far: RGB, horizon: float, rng: Generator
) -> None:
    """Broad strokes on the ground: waves, dunes, mounds of grass, a road."""
    if scene.ground in WATER:
        for y in horizon + (1 - horizon) * np.array([0.08, 0.2, 0.34, 0.5, 0.7, 0.88]):
            thick = 0.012 + 0.02 * (y - horizon) / (1 - horizon)
            for x in rng.random(3):
                draw.ellipse(
                    _box(side, x, y, thick * rng.uniform(3, 6), thick * 0.55),
                    fill=mix(near, far, rng.uniform(0.5, 1.0)),
                )
        return
    if scene.ground == "street":
        draw.polygon(
            [(0, side), (0.3 * side, horizon * side), (0.7 * side, horizon * side), (side, side)],
            fill=mix(near, (0, 0, 0), 0.25),
        )
        for y in (0.86, 0.95):
            draw.rectangle(
                (0.48 * side, y * side, 0.52 * side, (y + 0.035) * side), fill=mix(far, (255, 255, 255), 0.4)
            )
        return
    swing = 0.05 if scene.ground == "hills" else 0.022
    for k, share in enumerate((0.66, 0.33, 0.0)):
        level = horizon + (1 - horizon) * (0.2 + 0.27 * k)
        draw.polygon(_ridge(side, level, swing, rng, rng.uniform(3, 7)), fill=mix(near, far, share))


def backdrop(scene: Scene, light: Light, side: int, horizon: float, rng: Generator) -> Image.Image:
    """Paints everything behind the subject, as an RGB picture of this side."""
    sky = Image.fromarray(_gradient(side, light.sky, (0, horizon * 0.62, horizon)))
    image = sky.resize((side, side), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    if scene.weather in ("clear", "snow", "fog", "autumn"):
        _sun(draw, side, scene, light, horizon, rng)
    elif scene.weather == "aurora":
        _stars(draw, side, light.sky[1], 0.0, horizon, rng)
        _aurora(image, horizon, rng)
    if scene.weather != "aurora":
        _clouds(draw, side, scene, light, rng)
    if scene.weather == "rainbow":
        _rainbow(image, horizon, rng)
    if scene.weather == "storm":
        _lightning(draw, side, horizon, rng)
    _distance(draw, side, scene, light, horizon, rng)
    near, far = GROUND[scene.ground]
    if scene.weather == "snow" and scene.ground not in WATER:
        near, far = mix(near, (232, 238, 248), 0.82), mix(far, (248, 250, 255), 0.88)
    if scene.weather == "autumn" and scene.ground in _GREEN:
        near, far = mix(near, (188, 112, 44), 0.7), mix(far, (222, 158, 74), 0.7)
    near, far = scaled(near, light.tint), mix(scaled(far, light.tint), light.sky[2], 0.22)
    draw.rectangle((0, horizon * side, side, side), fill=far)
    _marks(draw, side, scene, near, far, horizon, rng)
    return image
