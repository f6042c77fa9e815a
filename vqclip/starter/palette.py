"""Colors, and the light that falls on them at each time of day and in each weather."""

from dataclasses import dataclass

RGB = tuple[int, int, int]

NAMED: dict[str, RGB] = {
    "red": (214, 40, 38),
    "orange": (245, 132, 24),
    "yellow": (250, 216, 46),
    "green": (44, 158, 66),
    "blue": (36, 92, 218),
    "purple": (132, 52, 176),
    "pink": (250, 136, 186),
    "white": (245, 245, 240),
    "black": (44, 42, 48),
    "brown": (132, 80, 40),
    "gold": (222, 170, 34),
    "silver": (178, 186, 196),
}


@dataclass(frozen=True)
class Tones:
    """One color in three strengths: lit, plain and in shadow."""

    light: RGB
    base: RGB
    dark: RGB


@dataclass(frozen=True)
class Light:
    """How a time and a weather color the world: sky from top to horizon, tint of things, lamps, haze."""

    sky: tuple[RGB, RGB, RGB]
    tint: tuple[float, float, float]
    sun: RGB
    cloud: RGB
    haze: RGB
    lamps: bool


_TIMES: dict[str, Light] = {
    "day": Light(((44, 122, 214), (108, 180, 238), (206, 234, 246)), (1.0, 1.0, 1.0),
                 (255, 240, 150), (252, 253, 255), (222, 228, 233), False),
    "sunset": Light(((92, 42, 120), (232, 92, 74), (255, 190, 84)), (1.0, 0.76, 0.64),
                    (255, 226, 120), (240, 120, 110), (240, 184, 146), True),
    "night": Light(((6, 10, 44), (16, 28, 82), (38, 62, 130)), (0.6, 0.64, 0.9),
                   (246, 244, 214), (44, 56, 108), (92, 108, 156), True),
    "dawn": Light(((120, 160, 222), (240, 186, 212), (255, 232, 186)), (1.0, 0.9, 0.92),
                  (255, 250, 214), (255, 214, 222), (246, 222, 222), False),
}  # fmt: skip
_GRAY: dict[str, tuple[RGB, float, float]] = {  # towards which gray, how far, how much light is left
    "clear": ((128, 128, 128), 0.0, 1.0),
    "fog": ((206, 212, 218), 0.45, 0.97),
    "rain": ((112, 124, 140), 0.55, 0.86),
    "snow": ((196, 206, 220), 0.5, 0.97),
    "storm": ((50, 52, 68), 0.72, 0.7),
    "rainbow": ((150, 178, 206), 0.35, 0.98),
    "aurora": ((6, 20, 44), 0.3, 1.0),
    "autumn": ((236, 206, 160), 0.4, 0.98),
}


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """The color `share` of the way from a to b."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def scaled(color: RGB, by: tuple[float, float, float]) -> RGB:
    """A color with each channel multiplied, held in 0..255."""
    return tuple(max(0, min(255, round(x * y))) for x, y in zip(color, by, strict=True))  # type: ignore[return-value]


def tones(color: RGB) -> Tones:
    """The three strengths of a color."""
    return Tones(mix(color, (255, 250, 235), 0.3), color, scaled(color, (0.64, 0.62, 0.72)))


def light_of(time: str, weather: str) -> Light:
    """The light of a time of day as the weather changes it."""
    plain = _TIMES[time]
    gray, share, left = _GRAY[weather]
    if time == "night":
        left = max(left, 0.86)
        gray = scaled(gray, (0.3, 0.36, 0.56))
    if time == "sunset":
        share *= 0.62
    sky = tuple(mix(c, gray, share) for c in plain.sky)
    return Light(sky, tuple(t * left for t in plain.tint), plain.sun, mix(plain.cloud, gray, share),  # type: ignore[arg-type]
                 plain.haze, plain.lamps or weather == "storm")  # fmt: skip
