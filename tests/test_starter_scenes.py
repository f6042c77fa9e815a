"""The scenes the starter learns from, and the captions that go with them."""

from dataclasses import replace

import numpy as np
import pytest

from vqclip.starter.captions import NAMES, caption, words
from vqclip.starter.scenes import render
from vqclip.starter.world import (
    COLORLESS,
    COLORS,
    RELATIONS,
    STYLES,
    SUBJECT_GROUNDS,
    SUBJECTS,
    TIMES,
    TIMES_OF,
    WEATHERS,
    WIDE,
    Scene,
    random_scene,
)

PLAIN = Scene("castle", None, "day", "clear", "plain", "meadow")


def painted(scene: Scene, size: int = 64, seed: int = 3) -> np.ndarray:
    return render(scene, size, np.random.default_rng(seed))


def test_same_seed_renders_the_same_picture_and_caption() -> None:
    for seed in range(20):
        first, second = np.random.default_rng(seed), np.random.default_rng(seed)
        scene, twin = random_scene(first), random_scene(second)
        assert scene == twin
        assert np.array_equal(render(scene, 64, first), render(twin, 64, second))
        assert caption(scene, first) == caption(twin, second)


def test_another_seed_renders_another_picture() -> None:
    assert not np.array_equal(painted(PLAIN, seed=1), painted(PLAIN, seed=2))


@pytest.mark.parametrize("size", [64, 128])
def test_every_subject_time_weather_and_style_renders(size: int) -> None:
    scenes = [replace(PLAIN, subject=s, ground=g) for s in SUBJECTS for g in SUBJECT_GROUNDS[s]]
    scenes += [replace(PLAIN, time=t, weather=w) for w in WEATHERS for t in TIMES_OF.get(w, TIMES)]
    scenes += [replace(PLAIN, other="tree", relation=r) for r in RELATIONS]
    scenes += [replace(PLAIN, style=s) for s in STYLES]
    for scene in scenes:
        picture = painted(scene, size)
        assert picture.shape == (size, size, 3) and picture.dtype == np.uint8
        assert picture.std() > 8, scene


def test_each_mood_and_style_changes_the_picture() -> None:
    plain = painted(PLAIN).astype(float)
    others = [replace(PLAIN, time=t) for t in TIMES[1:]]
    others += [replace(PLAIN, weather=w, time=TIMES_OF.get(w, TIMES)[0]) for w in WEATHERS[1:]]
    for scene in [*others, *(replace(PLAIN, style=s) for s in STYLES[1:])]:
        assert np.abs(painted(scene) - plain).mean() > 4, scene


def test_a_bound_color_changes_the_picture() -> None:
    for subject in set(SUBJECTS) - COLORLESS:
        bare = Scene(subject, None, "day", "clear", "plain", SUBJECT_GROUNDS[subject][0])
        pictures = [painted(replace(bare, color=color)) for color in COLORS]
        assert len({picture.tobytes() for picture in pictures}) == len(COLORS)


def test_captions_name_the_subject_and_know_all_their_words() -> None:
    rng, known = np.random.default_rng(5), {word for group in words().values() for word in group}
    for _ in range(2000):
        scene = random_scene(rng)
        text = caption(scene, rng)
        said = text.replace(",", "").split()
        assert text == text.lower() and set(said) <= known, text
        assert any(f" {name} " in f" {' '.join(said)} " for name in NAMES[scene.subject]), text


def test_scenes_are_spread_evenly_over_subjects() -> None:
    rng = np.random.default_rng(6)
    drawn = [random_scene(rng) for _ in range(6400)]
    for subject in SUBJECTS:
        assert 140 < sum(scene.subject == subject for scene in drawn) < 260
    assert 0.3 < sum(scene.color is not None for scene in drawn) / 6400 < 0.45


def test_a_scene_of_two_says_both_and_how_they_stand() -> None:
    rng = np.random.default_rng(7)
    drawn = [random_scene(rng) for _ in range(4000)]
    pairs = [scene for scene in drawn if scene.other]
    assert 0.12 < len(pairs) / len(drawn) < 0.25
    for scene in pairs:
        said = f" {caption(scene, rng).replace(',', '')} "
        assert scene.other is not None and scene.ground in SUBJECT_GROUNDS[scene.other]
        assert any(f" {name} " in said for name in NAMES[scene.other]), said
        assert not {scene.subject, scene.other} <= WIDE


def red_pixels(scene: Scene) -> int:
    picture = painted(scene, 96).astype(int)
    return int(((picture[..., 0] > 120) & (picture[..., 1:].max(-1) < 70)).sum())


def test_a_scene_of_two_shows_both() -> None:
    alone = Scene("tree", None, "day", "clear", "plain", "meadow")
    for relation in RELATIONS:
        pair = replace(alone, other="pumpkin", other_color="red", relation=relation)
        assert red_pixels(pair) > red_pixels(alone) + 80, relation


def test_weather_that_is_not_seen_at_all_times_is_drawn_at_its_own() -> None:
    rng = np.random.default_rng(8)
    for scene in (random_scene(rng) for _ in range(2000)):
        assert scene.time in TIMES_OF.get(scene.weather, TIMES)
