"""Writes prompts of the starter's world, and what must be seen in each, for the tables that people judge.

    python benchmarks/prompts.py --count 100 --seed 100 benchmarks/prompts100.csv

The subjects come in shuffled rounds, so that all are asked for alike; every prompt names a time of day or a weather, a
quarter a color of the first subject, a fifth two subjects, and three in ten a style. They are written before a
training and not changed after it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.random import Generator

from vqclip.starter.captions import NAMES
from vqclip.starter.world import (
    COLORLESS,
    COLORS,
    STYLES,
    SUBJECT_GROUNDS,
    SUBJECTS,
    TIMES,
    TIMES_OF,
    WEATHERS,
    companions,
    relation_of,
)

COLUMNS = ("prompt", "subject", "other", "color", "time", "weather", "style")
MOODS: dict[str, tuple[str, ...]] = {
    "day": ("by day", "in daylight"),
    "sunset": ("at sunset", "at dusk", "in the evening"),
    "night": ("at night", "at midnight"),
    "dawn": ("at dawn", "at sunrise", "in the morning"),
    "fog": ("in fog", "in the mist"),
    "rain": ("in the rain", "in heavy rain"),
    "snow": ("in the snow", "in winter"),
    "storm": ("in a storm", "with lightning"),
    "rainbow": ("under a rainbow",),
    "aurora": ("under the northern lights", "under an aurora"),
    "autumn": ("in autumn", "in falling leaves"),
}
FRONTS: dict[str, str] = {
    "watercolor": "a watercolor of", "oil": "an oil painting of", "pencil": "a pencil drawing of",
    "ink": "an ink drawing of", "pixel": "pixel art of", "neon": "neon art of", "pastel": "a pastel drawing of",
    "poster": "a poster of", "mosaic": "a mosaic of", "glass": "a stained glass window of",
}  # fmt: skip
UNCOLORED = ("pencil", "ink", "neon")
"""Styles that do not show colors, or times of day but for the night."""


def _pick(rng: Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _named(subject: str, color: str) -> str:
    name = f"{color} {NAMES[subject][0]}".strip()
    scarf = {"snowman": "snowman", "penguin": "penguin"}.get(subject)
    if scarf and color:
        return f"a {scarf} with {_article(color)} scarf"
    return _article(name)


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def _subjects(rng: Generator) -> Iterator[str]:
    while True:
        yield from (SUBJECTS[i] for i in rng.permutation(len(SUBJECTS)))


def _one(subject: str, rng: Generator) -> dict[str, str]:
    """One prompt and the attributes it names."""
    style = _pick(rng, STYLES[1:]) if rng.random() < 0.3 else ""
    seen = tuple(mood for mood in MOODS if style not in UNCOLORED or mood not in TIMES or mood == "night")
    mood = _pick(rng, tuple(mood for mood in seen if (style, mood) != ("ink", "night")))
    kind = "time" if mood in TIMES else "weather"
    said = {"subject": subject, "style": style, kind: mood}
    if subject not in COLORLESS and style not in UNCOLORED and rng.random() < 0.42:
        said["color"] = _pick(rng, COLORS)
    ground = _pick(rng, SUBJECT_GROUNDS[subject])
    near = companions(subject, ground)
    text = _named(subject, said.get("color", ""))
    if near and rng.random() < 0.22:
        said["other"] = _pick(rng, near)
        text = f"{text} {relation_of(subject, said['other'], rng)} {_named(said['other'], '')}"
    said["prompt"] = (
        f"{FRONTS[style]} {text} {_pick(rng, MOODS[mood])}" if style else f"{text} {_pick(rng, MOODS[mood])}"
    )
    return {column: said.get(column, "") for column in COLUMNS}


def prompts(count: int, seed: int) -> list[dict[str, str]]:
    """`count` prompts; the same seed gives the same ones."""
    assert set(MOODS) == {*TIMES, *WEATHERS[1:]} and set(TIMES_OF) <= set(MOODS)
    rng = np.random.default_rng(seed)
    subjects = _subjects(rng)
    return [_one(next(subjects), rng) for _ in range(count)]


def main() -> None:
    """Reads the arguments and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=100)
    asked = parser.parse_args()
    with asked.out.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(prompts(asked.count, asked.seed))
    print(asked.out, file=sys.stderr)


if __name__ == "__main__":
    main()
