"""Which captions are true of which pictures: known exactly, since the scenes are our own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from vqclip.starter.captions import words
from vqclip.starter.world import COLORS, STYLES, SUBJECTS, TIMES, WEATHERS, Scene

NO_COLOR = "none"
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "time": TIMES,
    "weather": WEATHERS,
    "style": STYLES,
    "color": (NO_COLOR, *COLORS),
}
COMMON = 3
"""A word that this many groups use (in, the, sky) tells nothing about any of them."""


def attribute(scene: Scene, name: str) -> str:
    """The value of one of ATTRIBUTES in a scene."""
    return getattr(scene, name) or NO_COLOR


@cache
def telling_words() -> Mapping[str, frozenset[str]]:
    """For each value of each attribute, the words that name it."""
    groups = words()
    uses = Counter(word for group in groups.values() for word in set(group))
    return {value: frozenset(w for w in group if uses[w] < COMMON) for value, group in groups.items()}


def named(scene: Scene, caption: str) -> dict[str, str]:
    """The attributes of its own scene that a caption names: a castle in fog -> {subject: castle, weather: fog}."""
    said = set(caption.replace(",", " ").split())
    values = {name: attribute(scene, name) for name in ATTRIBUTES}
    return {name: value for name, value in values.items() if said & telling_words().get(value, frozenset())}


def truth_table(scenes: Sequence[Scene], captions: Sequence[str]) -> Tensor:
    """Scenes and one caption of each -> bool [B, B]: is caption (column) true of picture (row)?

    Always true on the diagonal.
    """
    claims = [named(scene, caption) for scene, caption in zip(scenes, captions, strict=True)]
    table = torch.eye(len(scenes), dtype=torch.bool)
    for name, values in ATTRIBUTES.items():
        have = torch.tensor([values.index(attribute(scene, name)) for scene in scenes])
        want = torch.tensor([values.index(claim[name]) if name in claim else -1 for claim in claims])
        fits = (want[None] < 0) | (have[:, None] == want[None])
        table = fits if name == "subject" else table & fits
    return table | torch.eye(len(scenes), dtype=torch.bool)


def labels_of(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """Scenes -> the class [B] of each attribute."""
    return {
        name: torch.tensor([values.index(attribute(scene, name)) for scene in scenes])
        for name, values in ATTRIBUTES.items()
    }
