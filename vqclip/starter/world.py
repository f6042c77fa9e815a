"""What a scene can be: its closed lists of words, and how one is drawn by chance."""

from dataclasses import dataclass, replace

from numpy.random import Generator

SUBJECTS: tuple[str, ...] = (
    "castle", "lighthouse", "house", "tree", "mountain", "volcano", "waterfall", "ship", "balloon",
    "windmill", "cactus", "pyramid", "bridge", "city", "mushroom", "flower", "rocket", "snowman",
    "cat", "owl", "butterfly", "whale", "penguin", "car", "train", "airplane", "tent", "umbrella",
    "robot", "temple", "pumpkin", "palm",
)  # fmt: skip
TIMES: tuple[str, ...] = ("day", "sunset", "night", "dawn")
WEATHERS: tuple[str, ...] = ("clear", "fog", "rain", "snow", "storm", "rainbow", "aurora", "autumn")
STYLES: tuple[str, ...] = (
    "plain", "watercolor", "oil", "pencil", "ink", "pixel", "neon", "pastel", "poster", "mosaic", "glass",
)  # fmt: skip
RELATIONS: tuple[str, ...] = ("beside", "behind", "in front of")
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
    "cat": ("meadow", "hills", "street"),
    "owl": ("forest", "hills"),
    "butterfly": ("meadow", "hills", "forest"),
    "whale": ("sea",),
    "penguin": ("snowfield", "sea"),
    "car": ("street", "desert", "meadow"),
    "train": ("meadow", "hills", "desert", "snowfield"),
    "airplane": ("meadow", "hills", "sea", "desert", "street"),
    "tent": ("meadow", "forest", "hills", "snowfield"),
    "umbrella": ("meadow", "street", "sea", "hills"),
    "robot": ("street", "desert", "meadow"),
    "temple": ("hills", "meadow", "sea", "desert"),
    "pumpkin": ("meadow", "hills", "forest"),
    "palm": ("desert", "sea"),
}
COLORLESS: frozenset[str] = frozenset({"mountain", "volcano", "waterfall", "city", "palm"})
WIDE: frozenset[str] = frozenset({"mountain", "volcano", "waterfall", "city", "bridge"})
"""What fills a picture from side to side: in a scene of two it stands behind."""
UNPAIRED: frozenset[str] = frozenset({"waterfall", "bridge"})
"""What leaves no room for another subject."""
TIMES_OF: dict[str, tuple[str, ...]] = {"aurora": ("night",), "rainbow": ("day", "dawn", "sunset")}
"""The times of a weather that is not seen at all times."""

COLOR_CHANCE = 0.45
PLAIN_CHANCE = 0.42
CLEAR_CHANCE = 0.28
DAY_CHANCE = 0.31
PAIR_CHANCE = 0.2


@dataclass(frozen=True)
class Scene:
    """One scene in words: what stands where, in which light, painted how; perhaps with another subject beside it.

    The first subject is `relation` to the other one: beside it, behind it or in front of it.
    """

    subject: str
    color: str | None
    time: str
    weather: str
    style: str
    ground: str
    other: str | None = None
    other_color: str | None = None
    relation: str | None = None


def _pick(rng: Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _usual_or(rng: Generator, words: tuple[str, ...], chance: float) -> str:
    """The first word with this chance, else one of the others."""
    return words[0] if rng.random() < chance else _pick(rng, words[1:])


def _color(subject: str, rng: Generator) -> str | None:
    return _pick(rng, COLORS) if subject not in COLORLESS and rng.random() < COLOR_CHANCE else None


def companions(subject: str, ground: str) -> tuple[str, ...]:
    """The subjects that can stand in one picture with this one, on this ground; of two wide ones none would be seen."""
    if subject in UNPAIRED:
        return ()
    both_wide = WIDE if subject in WIDE else frozenset[str]()
    return tuple(
        other
        for other in SUBJECTS
        if other not in {subject, *UNPAIRED, *both_wide} and ground in SUBJECT_GROUNDS[other]
    )


def relation_of(subject: str, other: str, rng: Generator) -> str:
    """How two subjects stand, by chance; a wide one is behind."""
    if subject in WIDE:
        return "behind"
    return "in front of" if other in WIDE else _pick(rng, RELATIONS)


def random_scene(rng: Generator) -> Scene:
    """Draws a scene by chance: all subjects alike, a third in clear weather, nearly half unstyled, a fifth of two.

    The same state of `rng` gives the same scene.
    """
    subject = _pick(rng, SUBJECTS)
    ground = _pick(rng, SUBJECT_GROUNDS[subject])
    weather = _usual_or(rng, WEATHERS, CLEAR_CHANCE)
    time = _usual_or(rng, TIMES, DAY_CHANCE)
    if time not in TIMES_OF.get(weather, TIMES):
        time = _pick(rng, TIMES_OF[weather])
    scene = Scene(subject, _color(subject, rng), time, weather, _usual_or(rng, STYLES, PLAIN_CHANCE), ground)
    near = companions(subject, ground)
    if not near or rng.random() >= PAIR_CHANCE:
        return scene
    other = _pick(rng, near)
    return replace(scene, other=other, other_color=_color(other, rng), relation=relation_of(subject, other, rng))
