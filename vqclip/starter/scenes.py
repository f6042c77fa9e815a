"""Renders a scene: backdrop, subject, weather and style, layer upon layer."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from vqclip.starter import subjects_animals as animals
from vqclip.starter import subjects_built as built
from vqclip.starter import subjects_made as made
from vqclip.starter import subjects_nature as nature
from vqclip.starter import subjects_things as things
from vqclip.starter.backdrop import WATER, backdrop
from vqclip.starter.palette import NAMED, RGB, Light, Tones, light_of, mix, scaled, tones
from vqclip.starter.pen import Pen, Place
from vqclip.starter.styles import LINES, apply_style
from vqclip.starter.weather import fall, veil
from vqclip.starter.world import WIDE, Scene

Painter = Callable[[Pen, Tones, Generator], None]


@dataclass(frozen=True)
class Recipe:
    """How a subject is set in the picture: its painter, natural colors, height, foot and horizon."""

    paint: Painter
    natural: tuple[RGB, ...]
    scale: tuple[float, float]
    foot: tuple[float, float]
    horizon: tuple[float, float] = (0.6, 0.72)
    sway: float = 0.1
    tilt: float = 0.0


RECIPES: dict[str, Recipe] = {
    "castle": Recipe(built.castle, ((196, 188, 176), (168, 166, 172), (206, 180, 146)), (0.66, 0.84), (0.86, 0.94)),
    "lighthouse": Recipe(built.lighthouse, ((206, 46, 42), (206, 46, 42), (40, 70, 130)), (0.7, 0.86), (0.88, 0.94)),
    "house": Recipe(built.house, ((238, 222, 190), (220, 170, 120), (206, 204, 196)), (0.55, 0.74), (0.84, 0.93)),
    "tree": Recipe(nature.tree, ((62, 150, 60), (46, 124, 56), (110, 164, 56)), (0.7, 0.88), (0.87, 0.95)),
    "mountain": Recipe(
        nature.mountain, ((112, 118, 140), (128, 116, 112), (96, 112, 140)), (0.56, 0.72), (0.78, 0.84), (0.7, 0.76)
    ),
    "volcano": Recipe(nature.volcano, ((88, 70, 70), (104, 82, 74), (78, 72, 82)), (0.68, 0.8), (0.84, 0.92)),
    "waterfall": Recipe(
        nature.waterfall, ((118, 112, 108), (132, 114, 96), (104, 112, 104)), (0.72, 0.82), (0.86, 0.92), (0.55, 0.65)
    ),
    "ship": Recipe(
        things.ship, ((246, 238, 218), (240, 226, 196)), (0.64, 0.8), (0.82, 0.88), (0.62, 0.72), 0.08, 0.07
    ),
    "balloon": Recipe(
        things.balloon,
        ((220, 56, 46), (240, 150, 36), (46, 110, 200), (120, 70, 170)),
        (0.66, 0.84),
        (0.86, 0.95),
        (0.8, 0.88),
        0.12,
        0.05,
    ),
    "windmill": Recipe(built.windmill, ((236, 228, 212), (196, 110, 80), (150, 120, 96)), (0.76, 0.86), (0.9, 0.95)),
    "cactus": Recipe(nature.cactus, ((58, 142, 74), (76, 150, 84), (50, 128, 92)), (0.66, 0.82), (0.86, 0.94)),
    "pyramid": Recipe(built.pyramid, ((226, 180, 104), (214, 164, 92), (232, 194, 130)), (0.5, 0.62), (0.76, 0.84)),
    "bridge": Recipe(
        built.bridge, ((164, 150, 136), (176, 84, 62), (140, 142, 150)), (0.56, 0.68), (0.8, 0.88), (0.52, 0.62), 0.03
    ),
    "city": Recipe(
        built.city, ((92, 104, 132), (112, 100, 112), (80, 96, 120)), (0.6, 0.74), (0.8, 0.86), (0.72, 0.78), 0.03
    ),
    "mushroom": Recipe(nature.mushroom, ((212, 44, 40), (212, 44, 40), (190, 116, 66)), (0.6, 0.76), (0.84, 0.93)),
    "flower": Recipe(
        nature.flower,
        ((246, 196, 44), (236, 84, 120), (240, 240, 246), (206, 60, 60), (150, 90, 200)),
        (0.78, 0.92),
        (0.94, 1.0),
    ),
    "rocket": Recipe(
        things.rocket, ((236, 236, 240), (208, 212, 222)), (0.68, 0.82), (0.86, 0.94), (0.76, 0.86), 0.1, 0.28
    ),
    "snowman": Recipe(things.snowman, ((206, 44, 44), (36, 110, 190), (40, 140, 80)), (0.7, 0.84), (0.88, 0.94)),
    "cat": Recipe(
        animals.cat, ((226, 140, 58), (120, 116, 122), (70, 66, 76), (214, 190, 160)), (0.66, 0.82), (0.88, 0.95)
    ),
    "owl": Recipe(animals.owl, ((150, 104, 62), (176, 130, 84), (120, 104, 96)), (0.68, 0.84), (0.88, 0.96)),
    "butterfly": Recipe(
        animals.butterfly,
        ((244, 140, 40), (70, 140, 230), (250, 210, 70), (214, 80, 140)),
        (0.56, 0.7),
        (0.76, 0.86),
        (0.76, 0.86),
        0.1,
        0.3,
    ),
    "whale": Recipe(
        animals.whale, ((62, 104, 158), (84, 96, 128), (56, 124, 170)), (0.5, 0.6), (0.8, 0.88), (0.58, 0.7), 0.06
    ),
    "penguin": Recipe(animals.penguin, ((206, 44, 44), (36, 110, 190), (240, 176, 40)), (0.68, 0.84), (0.88, 0.94)),
    "car": Recipe(
        made.car,
        ((206, 46, 42), (46, 110, 190), (240, 186, 50), (70, 150, 110)),
        (0.46, 0.56),
        (0.84, 0.92),
        (0.56, 0.68),
        0.06,
    ),
    "train": Recipe(
        made.train, ((50, 110, 80), (160, 44, 44), (50, 66, 110)), (0.52, 0.6), (0.84, 0.92), (0.58, 0.7), 0.05
    ),
    "airplane": Recipe(
        made.airplane,
        ((226, 60, 50), (240, 240, 244), (60, 120, 200), (246, 196, 60)),
        (0.42, 0.5),
        (0.6, 0.72),
        (0.8, 0.88),
        0.06,
        0.16,
    ),
    "tent": Recipe(
        made.tent,
        ((232, 130, 44), (66, 140, 90), (210, 70, 60), (60, 120, 190)),
        (0.52, 0.62),
        (0.86, 0.94),
        (0.6, 0.72),
        0.08,
    ),
    "umbrella": Recipe(
        made.umbrella,
        ((214, 50, 50), (50, 120, 200), (120, 70, 160)),
        (0.66, 0.8),
        (0.86, 0.94),
        (0.66, 0.76),
        0.08,
        0.14,
    ),
    "robot": Recipe(made.robot, ((150, 164, 182), (110, 150, 190), (200, 170, 90)), (0.7, 0.84), (0.89, 0.95)),
    "temple": Recipe(
        built.temple, ((236, 228, 208), (224, 206, 170), (206, 204, 210)), (0.56, 0.66), (0.82, 0.9), (0.62, 0.74), 0.06
    ),
    "pumpkin": Recipe(
        nature.pumpkin, ((240, 130, 30), (240, 130, 30), (226, 150, 50)), (0.56, 0.7), (0.84, 0.92), (0.56, 0.7)
    ),
    "palm": Recipe(nature.palm, ((70, 156, 72), (60, 140, 84)), (0.74, 0.88), (0.88, 0.95), (0.66, 0.76), 0.08),
}
AFLOAT: frozenset[str] = frozenset({"ship", "bridge", "whale"})
FLYING: frozenset[str] = frozenset({"balloon", "rocket", "butterfly", "airplane"})
BESIDE, NEARER, FARTHER = 0.6, 0.6, 0.84
"""How large a subject of two is drawn, against one alone: side by side, before the other, and behind it."""


@dataclass(frozen=True)
class Stand:
    """One subject of a scene, in the color it is given, and where it stands."""

    subject: str
    color: str | None
    place: Place


def _place(recipe: Recipe, rng: Generator) -> Place:
    return Place(
        x=0.5 + float(rng.uniform(-recipe.sway, recipe.sway)),
        y=float(rng.uniform(*recipe.foot)),
        scale=float(rng.uniform(*recipe.scale)),
        stretch=float(rng.uniform(0.9, 1.14)),
        mirror=bool(rng.random() < 0.5),
        angle=float(rng.uniform(-recipe.tilt, recipe.tilt)),
    )


def _stands(scene: Scene, rng: Generator) -> list[Stand]:
    """Where the subjects stand, the farther one first."""
    place = _place(RECIPES[scene.subject], rng)
    first = Stand(scene.subject, scene.color, place)
    if scene.other is None:
        return [first]
    second = Stand(scene.other, scene.other_color, _place(RECIPES[scene.other], rng))
    side = 1 if rng.random() < 0.5 else -1
    if scene.relation == "beside":
        return [_moved(first, BESIDE, 0.5 - 0.23 * side), _moved(second, BESIDE, 0.5 + 0.23 * side)]
    far, near = (first, second) if scene.relation == "behind" else (second, first)
    aside = 0.02 if far.subject in WIDE else 0.13
    low = min(0.97, max(near.place.y, far.place.y) + 0.03)
    return [_moved(far, FARTHER, 0.5 - aside * side), _moved(near, NEARER, 0.5 + 0.18 * side, low)]


def _moved(stand: Stand, share: float, x: float, y: float | None = None) -> Stand:
    place = stand.place
    moved = replace(place, x=x, y=place.y if y is None or stand.subject in FLYING else y, scale=place.scale * share)
    return replace(stand, place=moved)


def _underlay(image: Image.Image, scene: Scene, light: Light, stand: Stand) -> None:
    """What a subject stands on: an island in water, a shadow on land."""
    if stand.subject in FLYING or stand.subject in AFLOAT or stand.subject in ("city", "waterfall"):
        return
    place = stand.place
    draw, side = ImageDraw.Draw(image), image.width
    wide = place.scale * (0.9 if stand.subject in ("mountain", "volcano", "temple", "tent", "car", "train") else 0.62)
    x0, x1, y = (place.x - wide) * side, (place.x + wide) * side, place.y * side
    if scene.ground in WATER:
        land = scaled(mix((112, 148, 76), (236, 240, 248), 0.8 if scene.weather == "snow" else 0.0), light.tint)
        draw.ellipse((x0, y - 0.06 * side, x1, y + 0.09 * side), fill=scaled((196, 170, 120), light.tint))
        draw.ellipse((x0, y - 0.07 * side, x1, y + 0.07 * side), fill=land)
    else:
        ground = image.getpixel((int(np.clip(place.x, 0, 0.99) * side), min(side - 1, int(y))))
        dark = scaled(ground, (0.74, 0.74, 0.8))  # type: ignore[arg-type]
        draw.ellipse((x0 + wide * 0.2 * side, y - 0.025 * side, x1, y + 0.035 * side), fill=dark)


def _overlay(layer: Image.Image, light: Light, stand: Stand) -> None:
    """What laps over a subject's foot: waves before a ship, a whale or a bridge."""
    if stand.subject not in AFLOAT:
        return
    pen = Pen(layer, light, Place(stand.place.x, stand.place.y, 1.0))
    foam, water = (214, 232, 244), (44, 110, 168)
    half = 0.0 if stand.subject == "bridge" else 0.7 * stand.place.scale
    for k in range(-3, 4):
        x = k * 0.15
        if abs(x) < half:
            pen.oval(x, 0.0, 0.1, 0.022, foam)
            pen.oval(x, -0.014, 0.11, 0.024, water)


@dataclass(frozen=True)
class Layers:
    """A scene at drawing size: the backdrop, one transparent layer a subject, and the light and horizon they share."""

    behind: Image.Image
    subjects: list[tuple[Stand, Image.Image]]
    light: Light
    horizon: float


def _layers(scene: Scene, side: int, rng: Generator) -> Layers:
    recipe, light = RECIPES[scene.subject], light_of(scene.time, scene.weather)
    horizon = float(rng.uniform(*recipe.horizon))
    stands = _stands(scene, rng)
    behind = backdrop(scene, light, side, horizon, rng)
    subjects = []
    for stand in stands:
        _underlay(behind, scene, light, stand)
        layer = Image.new("RGBA", (side, side))
        natural = RECIPES[stand.subject].natural
        color = NAMED[stand.color] if stand.color else natural[int(rng.integers(len(natural)))]
        RECIPES[stand.subject].paint(Pen(layer, light, stand.place), tones(color), rng)
        _overlay(layer, light, stand)
        subjects.append((stand, layer))
    return Layers(behind, subjects, light, horizon)


def _capped(paint: np.ndarray, alpha: np.ndarray, snow: RGB) -> np.ndarray:
    """Lays snow on every edge of the subject that looks up."""
    deep = max(2, round(len(alpha) * 0.024))
    above = np.zeros_like(alpha)
    above[deep:] = alpha[:-deep]
    cap = np.clip(alpha - above, 0, 1) * 0.92
    return paint * (1 - cap) + np.array(snow, np.float32) * cap


def _join(
    scene: Scene, back: np.ndarray, stand: Stand, layer: Image.Image, light: Light, veil: np.ndarray | None
) -> np.ndarray:
    """Lays a subject on what is behind it [S, S, 3] with a faint rim around it, under its share of fog."""
    front = np.asarray(layer, np.float32)
    alpha = front[..., 3:] / 255
    paint = front[..., :3] * alpha
    halo = layer.getchannel("A").filter(ImageFilter.BoxBlur(layer.width / 40))
    rim = np.asarray(halo, np.float32)[..., None] / 255
    toward = np.array(mix(light.sky[2], (255, 255, 255), 0.25) if scene.time == "night" else (24, 26, 48), np.float32)
    back = back + (toward - back) * (rim * (0.34 if scene.time == "night" else 0.3))
    if scene.weather == "snow" and stand.subject not in ("volcano", "rocket", "airplane", "butterfly"):
        paint = _capped(paint, alpha, scaled((248, 250, 255), light.tint))
    if veil is not None:
        paint = paint + (np.array(light.haze, np.float32) * alpha - paint) * veil[..., None]
    return back * (1 - alpha) + paint


def render(scene: Scene, size: int, rng: Generator) -> np.ndarray:
    """Paints a scene as a square picture.

    Shapes: -> [size, size, 3] uint8, RGB. The same scene, size and state of `rng` give the same picture.
    """
    layers = _layers(scene, 2 * size, rng)
    light, sheet = layers.light, np.asarray(layers.behind.reduce(2), np.float32)
    veils = veil(size, layers.horizon, rng) if scene.weather == "fog" else None
    if veils is not None:
        sheet = sheet + (np.array(light.haze, np.float32) - sheet) * veils[0][..., None]
    hidden = np.zeros(sheet.shape[:2], np.float32)
    for stand, layer in layers.subjects:
        small = layer.reduce(2)
        sheet = _join(scene, sheet, stand, small, light, None if veils is None else veils[1])
        hidden = np.maximum(hidden, np.asarray(small.getchannel("A"), np.float32) / 255)
    image = Image.fromarray(np.clip(sheet, 0, 255).astype(np.uint8))
    if scene.style in LINES:  # a flake or a drop under these would become a ring of its own
        return np.array(fall(apply_style(image, scene.style, rng), scene, light, rng, hidden))
    return np.array(apply_style(fall(image, scene, light, rng, hidden), scene.style, rng))
