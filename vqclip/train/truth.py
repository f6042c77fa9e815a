"""Which captions are true of which pictures: known exactly, since the scenes are our own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import torch
from numpy.random import Generator
from torch import Tensor

from vqclip.starter.captions import caption, words
from vqclip.starter.world import COLORLESS, COLORS, STYLES, SUBJECTS, TIMES, TIMES_OF, WEATHERS, Scene

NO_COLOR = "none"
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "time": TIMES,
    "weather": WEATHERS,
    "style": STYLES,
    "color": (NO_COLOR, *COLORS),
}
OF_SUBJECTS = ("subject", "color")
"""What belongs to one subject; a scene of two has no single answer."""
UNDECIDED = -100
"""The label of what has no single answer: cross entropy passes over it."""
TRIES = 6
"""How often a false caption is drawn again that does not say what is false in it."""
COMMON = 3
"""A word that this many groups use (in, the, sky) tells nothing about any of them."""


def attribute(scene: Scene, name: str) -> str:
    """The value of one of ATTRIBUTES in a scene; of two subjects, the first one's."""
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


def false_caption(scene: Scene, rng: Generator) -> str:
    """Says a scene as it would be said if one thing in it were another: the snow rain, or the castle a ship.

    Source: captions that differ in a word make a CLIP look at that word (Yuksekgonul et al., 2023).
    """
    names = tuple(ATTRIBUTES)
    for _ in range(TRIES):
        name = names[int(rng.integers(len(names)))]
        changed = _changed(scene, name, rng)
        if changed is not None:
            said = caption(changed, rng)
            if name in named(changed, said):
                return said
    other = _changed(replace(scene, other=None, other_color=None, relation=None), "subject", rng)
    assert other is not None
    return caption(other, rng)


def _changed(scene: Scene, name: str, rng: Generator) -> Scene | None:
    """The scene with another value of one attribute, or None if that makes no sense."""
    values = [value for value in ATTRIBUTES[name] if value not in (attribute(scene, name), NO_COLOR, scene.other)]
    changed = replace(scene, **{name: values[int(rng.integers(len(values)))]})
    colored = scene.color is not None and changed.subject not in COLORLESS
    if name == "color" and not colored:
        return None
    if name == "subject" and scene.color is not None and not colored:
        changed = replace(changed, color=None)
    return changed if changed.time in TIMES_OF.get(changed.weather, TIMES) else None


def truth_table(scenes: Sequence[Scene], captions: Sequence[str]) -> Tensor:
    """Scenes and one caption of each -> bool [B, B]: is caption (column) true of picture (row)?

    What a caption says of one subject is true of a picture of two that shows it too; what it says of two, only of
    pictures of the same two that stand in the same way. Always true on the diagonal.
    """
    claims = [named(scene, caption) for scene, caption in zip(scenes, captions, strict=True)]
    table = _subjects_fit(scenes, claims)
    for name, values in ATTRIBUTES.items():
        if name in OF_SUBJECTS:
            continue
        have = torch.tensor([values.index(attribute(scene, name)) for scene in scenes])
        want = torch.tensor([values.index(claim[name]) if name in claim else -1 for claim in claims])
        table &= (want[None] < 0) | (have[:, None] == want[None])
    return table | torch.eye(len(scenes), dtype=torch.bool)


def _subjects_fit(scenes: Sequence[Scene], claims: Sequence[Mapping[str, str]]) -> Tensor:
    """Which captions' subjects, with their colors, are in which pictures: bool [B, B]."""
    color = torch.tensor([_number("color", claim.get("color")) for claim in claims])
    subject = torch.tensor([_number("subject", scene.subject) for scene in scenes])
    fits = torch.zeros(len(scenes), len(scenes), dtype=torch.bool)
    for shown, painted in (("subject", "color"), ("other", "other_color")):
        have = torch.tensor([_number("subject", getattr(scene, shown)) for scene in scenes])
        tint = torch.tensor([_number("color", getattr(scene, painted)) for scene in scenes])
        fits |= (have[:, None] == subject[None]) & ((color[None] < 0) | (tint[:, None] == color[None]))
    pairs = [_pair(scene) for scene in scenes]
    single = torch.tensor([pair is None for pair in pairs])
    same = torch.tensor([[mine is not None and mine == theirs for theirs in pairs] for mine in pairs])
    return torch.where(single[None], fits, same)


def _pair(scene: Scene) -> tuple[object, ...] | None:
    """Two subjects, their colors and how they stand, said in one way: `behind` is `in front of` turned round."""
    if scene.other is None:
        return None
    first, second = (scene.subject, scene.color), (scene.other, scene.other_color)
    if scene.relation == "in front of" or (scene.relation == "beside" and scene.other < scene.subject):
        first, second = second, first
    return first, second, scene.relation == "beside"


def _number(name: str, value: str | None) -> int:
    return -1 if value is None else ATTRIBUTES[name].index(value)


def labels_of(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """Scenes -> the class [B] of each attribute; UNDECIDED where two subjects give two answers."""
    return {
        name: torch.tensor(
            [
                UNDECIDED if scene.other and name in OF_SUBJECTS else values.index(attribute(scene, name))
                for scene in scenes
            ]
        )
        for name, values in ATTRIBUTES.items()
    }
