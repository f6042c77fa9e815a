"""Says a scene in words, the way people ask for pictures, and lists every word it knows."""

from numpy.random import Generator

from vqclip.starter.world import COLORS, GROUNDS, STYLES, SUBJECTS, TIMES, WEATHERS, Scene

Phrases = tuple[str, ...]

NAMES: dict[str, Phrases] = {
    "castle": ("castle", "castle", "castle", "fortress", "palace"),
    "lighthouse": ("lighthouse",),
    "house": ("house", "house", "house", "cottage", "home", "cabin"),
    "tree": ("tree",),
    "mountain": ("mountain", "mountain", "mountains", "peak", "mountain peak"),
    "volcano": ("volcano", "volcano", "erupting volcano"),
    "waterfall": ("waterfall", "waterfall", "waterfalls", "cascade"),
    "ship": ("ship", "ship", "sailing ship", "boat", "sailboat", "sailing boat"),
    "balloon": ("hot air balloon", "hot air balloon", "balloon", "air balloon"),
    "windmill": ("windmill", "windmill", "mill"),
    "cactus": ("cactus", "cactus", "cacti"),
    "pyramid": ("pyramid", "pyramid", "pyramids"),
    "bridge": ("bridge",),
    "city": ("city", "city", "city skyline", "skyline", "skyscrapers", "town", "metropolis"),
    "mushroom": ("mushroom", "mushroom", "toadstool"),
    "flower": ("flower", "flower", "blossom", "bloom"),
    "rocket": ("rocket", "rocket", "spaceship", "rocket ship", "spacecraft"),
    "snowman": ("snowman",),
    "cat": ("cat", "cat", "kitten"),
    "owl": ("owl",),
    "butterfly": ("butterfly",),
    "whale": ("whale",),
    "penguin": ("penguin",),
    "car": ("car", "car", "automobile"),
    "train": ("train", "train", "steam train", "locomotive"),
    "airplane": ("airplane", "airplane", "plane", "aeroplane"),
    "tent": ("tent",),
    "umbrella": ("umbrella", "umbrella", "parasol"),
    "robot": ("robot",),
    "temple": ("temple", "temple", "greek temple"),
    "pumpkin": ("pumpkin",),
    "palm": ("palm tree", "palm tree", "palm"),
}
_PLURAL: frozenset[str] = frozenset({"mountains", "waterfalls", "cacti", "pyramids", "skyscrapers"})

_COLOR_WORDS: dict[str, Phrases] = {
    "red": ("red", "red", "red", "crimson", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green", "green", "green", "emerald"),
    "blue": ("blue", "blue", "blue", "azure"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "rose"),
    "white": ("white",),
    "black": ("black",),
    "brown": ("brown",),
    "gold": ("gold", "golden"),
    "silver": ("silver", "gray", "grey"),
}

# Each mood can be said before the noun, after it, or alone between commas.
_BEFORE: dict[str, Phrases] = {
    "day": (),
    "sunset": ("sunset",),
    "night": ("night", "nighttime", "midnight"),
    "dawn": ("morning", "dawn"),
    "clear": (),
    "fog": ("foggy", "misty", "hazy"),
    "rain": ("rainy", "wet"),
    "snow": ("snowy", "wintry", "snow covered"),
    "storm": ("stormy",),
    "rainbow": (),
    "aurora": (),
    "autumn": ("autumn",),
}
_AFTER: dict[str, Phrases] = {
    "day": ("by day", "in daylight", "sunlit", "during the day", "in the daytime"),
    "sunset": (
        "at sunset",
        "at sunset",
        "at dusk",
        "in the evening",
        "in the setting sun",
        "under a red sky",
        "at twilight",
    ),
    "night": ("at night", "at night", "at midnight", "in the night", "under the night sky", "in the dark"),
    "dawn": ("at dawn", "at sunrise", "in the morning", "in the early morning", "in the morning light", "at daybreak"),
    "clear": ("under a clear sky", "in clear weather"),
    "fog": (
        "in fog",
        "in the fog",
        "in mist",
        "in the mist",
        "in thick fog",
        "in haze",
        "on a foggy day",
        "lost in fog",
    ),
    "rain": ("in the rain", "in rain", "in heavy rain", "in a downpour", "in rainy weather", "under rain clouds"),
    "snow": ("in snow", "in the snow", "in winter", "in falling snow", "in a snowfall", "under snow", "in a blizzard"),
    "storm": ("in a storm", "in a thunderstorm", "with lightning", "under storm clouds", "in stormy weather"),
    "rainbow": ("under a rainbow", "with a rainbow", "and a rainbow", "before a rainbow"),
    "aurora": ("under an aurora", "under the aurora", "under the northern lights", "with northern lights"),
    "autumn": ("in autumn", "in autumn", "in falling leaves", "with autumn leaves", "in the fall"),
}
_ALONE: dict[str, Phrases] = {
    "day": ("day", "daylight", "daytime"),
    "sunset": ("sunset", "sunset", "dusk", "evening", "golden hour", "twilight"),
    "night": ("night", "night", "midnight", "dark"),
    "dawn": ("dawn", "sunrise", "morning", "daybreak"),
    "clear": ("clear sky", "clear"),
    "fog": ("fog", "mist", "haze", "foggy", "misty"),
    "rain": ("rain", "rain", "rainy", "rainfall"),
    "snow": ("snow", "snow", "winter", "snowfall", "snowy"),
    "storm": ("storm", "storm", "thunderstorm", "lightning", "stormy"),
    "rainbow": ("rainbow",),
    "aurora": ("aurora", "northern lights"),
    "autumn": ("autumn", "autumn leaves", "falling leaves"),
}
# Where sun or stars are to be seen, they may be named as well; two moods may melt into one phrase.
_BOTH: dict[tuple[str, str], Phrases] = {
    ("day", "clear"): (
        "on a sunny day",
        "on a clear day",
        "in the sunshine",
        "in the bright sun",
        "under a blue sky",
        "on a bright day",
    ),
    ("sunset", "clear"): ("at sunset under a golden sky", "on a warm evening", "in the evening sun"),
    ("night", "clear"): ("on a starry night", "under the stars", "by moonlight", "in the moonlight", "under the moon"),
    ("dawn", "clear"): ("on a clear morning", "in the morning sun", "at sunrise under a pink sky"),
    ("day", "fog"): ("on a misty day", "on a foggy day"),
    ("day", "rain"): ("on a rainy day", "on a gray rainy day"),
    ("day", "snow"): ("on a snowy day", "on a winter day"),
    ("day", "storm"): ("on a stormy day",),
    ("sunset", "fog"): ("on a misty evening", "on a foggy evening"),
    ("sunset", "rain"): ("on a rainy evening",),
    ("sunset", "snow"): ("on a snowy evening", "on a winter evening"),
    ("sunset", "storm"): ("on a stormy evening",),
    ("night", "fog"): ("on a foggy night", "on a misty night"),
    ("night", "rain"): ("on a rainy night",),
    ("night", "snow"): ("on a snowy night", "on a winter night"),
    ("night", "storm"): ("in a storm at night", "on a stormy night"),
    ("dawn", "fog"): ("on a misty morning", "on a foggy morning"),
    ("dawn", "rain"): ("on a rainy morning",),
    ("dawn", "snow"): ("on a snowy morning", "on a winter morning"),
    ("dawn", "storm"): ("on a stormy morning",),
    ("day", "rainbow"): ("by day under a rainbow",),
    ("sunset", "rainbow"): ("under a rainbow at sunset",),
    ("dawn", "rainbow"): ("under a rainbow in the morning",),
    ("night", "aurora"): ("at night under the aurora", "under the northern lights at night"),
    ("day", "autumn"): ("on an autumn day",),
    ("sunset", "autumn"): ("on an autumn evening",),
    ("night", "autumn"): ("on an autumn night",),
    ("dawn", "autumn"): ("on an autumn morning",),
}
_GROUND_AFTER: dict[str, Phrases] = {
    "meadow": ("in a meadow", "on a green field", "on the grass", "in the fields"),
    "hills": ("on a hill", "in the hills", "among green hills"),
    "forest": ("in a forest", "in the woods", "near a forest"),
    "desert": ("in the desert", "in the sand", "among sand dunes"),
    "sea": ("by the sea", "on an island", "by the ocean", "on the coast"),
    "river": ("by a river", "by the water", "on the river"),
    "street": ("by a street", "on a road", "by the road"),
    "snowfield": ("on a snowy field", "on white ground", "on the snow"),
}
_GROUND_OF: dict[tuple[str, str], Phrases] = {  # where the usual words would be false
    ("ship", "sea"): ("on the sea", "at sea", "on the ocean", "on the waves"),
    ("bridge", "river"): ("over a river", "over the water"),
    ("balloon", "meadow"): ("over a meadow", "over green fields", "in the sky", "floating in the sky"),
    ("balloon", "hills"): ("over the hills", "in the sky", "flying in the sky"),
    ("balloon", "desert"): ("over the desert", "in the sky"),
    ("balloon", "sea"): ("over the sea", "in the sky"),
    ("balloon", "forest"): ("over a forest", "in the sky"),
    ("rocket", "meadow"): ("over a meadow", "in the sky", "taking off"),
    ("rocket", "hills"): ("over the hills", "in the sky", "lifting off"),
    ("rocket", "desert"): ("over the desert", "taking off", "flying in the sky"),
    ("rocket", "sea"): ("over the sea", "in the sky"),
    ("airplane", "meadow"): ("over a meadow", "in the sky", "flying in the sky"),
    ("airplane", "hills"): ("over the hills", "in the sky"),
    ("airplane", "desert"): ("over the desert", "in the sky"),
    ("airplane", "sea"): ("over the sea", "in the sky"),
    ("airplane", "street"): ("over a road", "in the sky"),
    ("butterfly", "hills"): ("over the hills", "in the fields"),
    ("whale", "sea"): ("in the sea", "in the ocean", "on the waves"),
    ("owl", "forest"): ("in the woods", "in a forest", "on a branch"),
    ("owl", "hills"): ("on a branch",),
}
_STYLE_FRONT: dict[str, Phrases] = {
    "plain": ("a picture of", "an illustration of", "an image of", "a scene with"),
    "watercolor": ("a watercolor of", "watercolor painting of", "a watercolor painting of", "watercolour of"),
    "oil": ("an oil painting of", "oil painting of", "an oil on canvas of"),
    "pencil": ("a pencil sketch of", "pencil drawing of", "a sketch of", "a pencil drawing of"),
    "ink": ("an ink drawing of", "ink drawing of", "a black and white ink drawing of"),
    "pixel": ("pixel art of", "pixel art of", "a pixelated"),
    "neon": ("neon art of", "a neon picture of", "a glowing neon picture of"),
    "pastel": ("a pastel drawing of", "pastel painting of", "a soft pastel of"),
    "poster": ("a poster of", "a flat poster of", "a poster with"),
    "mosaic": ("a mosaic of", "mosaic of", "a tile mosaic of"),
    "glass": ("stained glass of", "a stained glass window of", "a stained glass picture of"),
}
_STYLE_BACK: dict[str, Phrases] = {
    "plain": (),
    "watercolor": ("watercolor", "watercolor painting", "in watercolor", "watercolour"),
    "oil": ("oil painting", "in oil", "oil on canvas", "painted in oil"),
    "pencil": ("pencil sketch", "pencil drawing", "sketch", "drawn in pencil"),
    "ink": ("ink drawing", "in ink", "ink", "black ink", "pen and ink"),
    "pixel": ("pixel art", "pixel art", "8 bit pixel art", "pixels"),
    "neon": ("neon", "neon glow", "glowing neon", "in neon"),
    "pastel": ("pastel", "pastel colors", "in pastel", "soft pastel"),
    "poster": ("poster", "poster art", "flat colors", "poster style"),
    "mosaic": ("mosaic", "mosaic tiles", "as a mosaic", "mosaic style"),
    "glass": ("stained glass", "stained glass", "stained glass window", "in stained glass"),
}
_FLOURISH: Phrases = ("big", "tall", "old", "beautiful", "lonely", "great", "lone", "little")
_GLUE: Phrases = ("a", "an", "the", "of", "with", "and", "scarf", "sails", "walls", "petals")
_RELATIONS: dict[str, Phrases] = {
    "beside": ("beside", "beside", "next to", "and"),
    "behind": ("behind",),
    "in front of": ("in front of", "in front of", "before"),
}
_SCARVED: frozenset[str] = frozenset({"snowman", "penguin"})
_PART: dict[str, str] = {
    "snowman": "scarf",
    "penguin": "scarf",
    "ship": "sails",
    "castle": "walls",
    "house": "walls",
    "flower": "petals",
}

# What a style cannot show is not said.
_UNSEEN_MOODS: dict[str, Phrases] = {
    "pencil": ("day", "sunset", "dawn"),
    "ink": TIMES,
    "neon": ("day", "sunset", "dawn"),
    "mosaic": ("rain",),
    "pixel": ("rain",),
}
_UNSEEN_COLORS: dict[str, Phrases] = {"pencil": COLORS, "ink": COLORS, "neon": ("white", "black", "brown", "silver")}


def _pick(rng: Generator, words: Phrases) -> str:
    return words[int(rng.integers(len(words)))]


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" and not phrase.startswith("one") else f"a {phrase}"


def _noun(subject: str, color: str | None, before: list[str], rng: Generator, *, bare: bool) -> str:
    """A subject with what stands before it, its color and, unless bare, its article."""
    name = _pick(rng, NAMES[subject])
    words = [_pick(rng, _FLOURISH)] if rng.random() < 0.08 else []
    words += before
    tail = ""
    if color is not None and rng.random() < 0.95:
        said, part = _pick(rng, _COLOR_WORDS[color]), _PART.get(subject)
        if subject in _SCARVED:
            tail = f" with {_article(said)} scarf"
        elif part is not None and rng.random() < 0.15:
            tail = f" with {said} {part}"
        else:
            words.append(said)
    phrase = " ".join([*words, name])
    if not bare and name not in _PLURAL:
        phrase = f"the {phrase}" if rng.random() < 0.04 else _article(phrase)
    return phrase + tail


def _nouns(scene: Scene, before: list[str], rng: Generator, *, bare: bool) -> str:
    """What the scene shows: `a red house`, or `a cat in front of a red house`."""
    unseen = _UNSEEN_COLORS.get(scene.style, ())
    color, other_color = (None if c in unseen else c for c in (scene.color, scene.other_color))
    first = _noun(scene.subject, color, before, rng, bare=bare)
    if scene.other is None or scene.relation is None:
        return first
    second = _noun(scene.other, other_color, [], rng, bare=bare)
    if scene.relation == "beside" and rng.random() < 0.5:
        first, second = second, first
    return f"{first} {_pick(rng, _RELATIONS[scene.relation])} {second}"


def _told(scene: Scene, rng: Generator) -> list[str]:
    """The moods a caption names: seldom the usual ones, nearly always the others."""
    time = rng.random() < (0.22 if scene.time == "day" else 0.88)
    weather = rng.random() < (0.1 if scene.weather == "clear" else 0.9)
    told = [*([scene.time] if time else []), *([scene.weather] if weather else [])]
    return [mood for mood in told if mood not in _UNSEEN_MOODS.get(scene.style, ())]


def _where(scene: Scene, rng: Generator) -> list[str]:
    if rng.random() > (0.3 if scene.other is None else 0.15):
        return []
    return [_pick(rng, _GROUND_OF.get((scene.subject, scene.ground), _GROUND_AFTER[scene.ground]))]


def _sentence(scene: Scene, rng: Generator) -> str:
    """`a foggy castle on a hill at night`, moods before or after the noun."""
    told, before, after = _told(scene, rng), [], _where(scene, rng)
    if len(told) == 2 and rng.random() < 0.35:
        after.append(_pick(rng, _BOTH[scene.time, scene.weather]))
        told = []
    elif scene.weather == "clear" and scene.time in told and rng.random() < 0.35:
        after.append(_pick(rng, _BOTH[scene.time, "clear"]))
        told = []
    for mood in told:
        if not before and _BEFORE[mood] and rng.random() < 0.28:
            before.append(_pick(rng, _BEFORE[mood]))
        else:
            after.insert(int(rng.integers(len(after) + 1)), _pick(rng, _AFTER[mood]))
    return " ".join([_nouns(scene, before, rng, bare=rng.random() < 0.2), *after])


def _listed(scene: Scene, rng: Generator) -> list[str]:
    """`windmill`, `rain`, `night`: the subject first, then single words in any order."""
    rest = [_pick(rng, _ALONE[mood]) for mood in _told(scene, rng)] + _where(scene, rng)
    rng.shuffle(rest)
    return [_nouns(scene, [], rng, bare=rng.random() < 0.6), *rest]


def caption(scene: Scene, rng: Generator) -> str:
    """Says a scene in lower case: the subject always, its color when it has one, most moods and styles.

    The same scene and state of `rng` give the same caption.
    """
    styled = rng.random() < (0.15 if scene.style == "plain" else 0.92)
    parts = _listed(scene, rng) if rng.random() < 0.3 else [_sentence(scene, rng)]
    if not styled:
        return ", ".join(parts)
    back = _STYLE_BACK[scene.style]
    if back and (len(parts) > 1 or rng.random() < 0.5):
        return ", ".join([*parts, _pick(rng, back)])
    front = _pick(rng, _STYLE_FRONT[scene.style])
    if front.endswith("pixelated"):
        parts[0] = parts[0].removeprefix("an ").removeprefix("a ").removeprefix("the ")
    return f"{front} {', '.join(parts)}"


def _tokens(*groups: Phrases) -> Phrases:
    return tuple(sorted({word for group in groups for phrase in group for word in phrase.split()}))


def words() -> dict[str, Phrases]:
    """Every word a caption can hold: a group per subject, color, time, weather, style and ground, and the glue."""
    known: dict[str, Phrases] = {}
    known |= {subject: _tokens(NAMES[subject]) for subject in SUBJECTS}
    known |= {color: _tokens(_COLOR_WORDS[color]) for color in COLORS}
    known |= {mood: _tokens(_BEFORE[mood], _AFTER[mood], _ALONE[mood]) for mood in (*TIMES, *WEATHERS)}
    known |= {style: _tokens(_STYLE_FRONT[style], _STYLE_BACK[style]) for style in STYLES}
    known |= {ground: _tokens(_GROUND_AFTER[ground]) for ground in GROUNDS}
    known["glue"] = _tokens(_GLUE, _FLOURISH, *_RELATIONS.values(), *_BOTH.values(), *_GROUND_OF.values())
    return known


def phrases() -> dict[str, dict[str, Phrases]]:
    """What a subject, time, weather, style, color and ground can be called, by kind and name, each phrase once."""
    moods = {mood: (*_ALONE[mood], *_BEFORE[mood], *_AFTER[mood]) for mood in (*TIMES, *WEATHERS)}
    kinds = {
        "subjects": {subject: NAMES[subject] for subject in SUBJECTS},
        "times": {time: moods[time] for time in TIMES},
        "weathers": {weather: moods[weather] for weather in WEATHERS},
        "styles": {style: _STYLE_BACK[style] for style in STYLES if _STYLE_BACK[style]},
        "colors": {color: _COLOR_WORDS[color] for color in COLORS},
        "grounds": {ground: _GROUND_AFTER[ground] for ground in GROUNDS},
    }
    return {kind: {name: tuple(dict.fromkeys(said)) for name, said in of.items()} for kind, of in kinds.items()}
