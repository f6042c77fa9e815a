"""What a scene can be: its closed lists of words, and how one is drawn by chance."""

from dataclasses import dataclass

from numpy.random import Generator

SUBJECTS: tuple[str, ...] = (
    "castle", "lighthouse", "house", "tree", "mountain", "volcano", "waterfall", "ship", "balloon",
    "windmill", "cactus", "pyramid", "bridge", "city", "mushroom", "flower", "rocket", "snowman",
)  # fmt: skip
TIMES: tuple[str, ...] = ("day", "sunset", "night", "dawn")
WEATHERS: tuple[str, ...] = ("clear", "fog", "rain", "snow", "storm")
STYLES: tuple[str, ...] = (
    "plain", "watercolor", "oil", "pencil", "ink", "pixel", "neon", "pastel", "poster", "mosaic",
)  # fmt: skip
COLORS: tuple[str, ...] = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black", "brown", "gold", "silver",
)  # fmt: skip
GROUNDS: tuple[str, ...] = ("meadow", "hills", "forest", "desert", "sea", "river", "street", "snowfield")

SUBJECT_GROUNDS: dict[str, tuple[str, ...]] = {
    "castle": ("meadow", "hills", "forest", "sea", "snowfield"),
    "lighthouse": ("sea",),
    "house": ("meadow", "hills", "forest", "street", "snowfield"),
    "tree": ("meadow", "hills", "desert", "snowfield"),
    "mountain": ("meadow", "forest", "sea", "snowfield"),
    "volcano": ("desert", "sea", "forest", "meadow"),
    "waterfall": ("forest", "meadow"),
    "ship": ("sea",),
    "balloon": ("meadow", "hills", "desert", "sea", "forest"),
    "windmill": ("meadow", "hills", "river"),
    "cactus": ("desert",),
    "pyramid": ("desert",),
    "bridge": ("river",),
    "city": ("street", "river", "sea"),
    "mushroom": ("forest", "meadow", "hills"),
    "flower": ("meadow", "hills"),
    "rocket": ("desert", "meadow", "hills", "sea"),
    "snowman": ("snowfield",),
}
COLORLESS: frozenset[str] = frozenset({"mountain", "volcano", "waterfall", "city"})

COLOR_CHANCE = 0.45
PLAIN_CHANCE = 0.45
CLEAR_CHANCE = 0.35
DAY_CHANCE = 0.31


@dataclass(frozen=True)
class Scene:
    """One scene in words: what stands where, in which light, painted how."""

    subject: str
    color: str | None
    time: str
    weather: str
    style: str
    ground: str


def _pick(rng: Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _usual_or(rng: Generator, words: tuple[str, ...], chance: float) -> str:
    """The first word with this chance, else one of the others."""
    return words[0] if rng.random() < chance else _pick(rng, words[1:])


def random_scene(rng: Generator) -> Scene:
    """Draws a scene by chance: all subjects alike, about a third in clear weather, nearly half unstyled."""
    subject = _pick(rng, SUBJECTS)
    colored = subject not in COLORLESS and rng.random() < COLOR_CHANCE
    return Scene(
        subject=subject,
        color=_pick(rng, COLORS) if colored else None,
        time=_usual_or(rng, TIMES, DAY_CHANCE),
        weather=_usual_or(rng, WEATHERS, CLEAR_CHANCE),
        style=_usual_or(rng, STYLES, PLAIN_CHANCE),
        ground=_pick(rng, SUBJECT_GROUNDS[subject]),
    )
