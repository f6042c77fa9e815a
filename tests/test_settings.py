import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqclip.errors import UsageError
from vqclip.settings import Delivery, Settings


def test_an_unknown_key_names_its_neighbor():
    with pytest.raises(UsageError, match="unknown setting 'stpes'") as caught:
        Settings.make({"stpes": 3}, source="x.toml")
    assert caught.value.hint == "did you mean 'steps'?"
    assert caught.value.message.startswith("x.toml: ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", -1),
        ("steps", "3"),
        ("steps", 1.5),
        ("steps", True),
        ("seed", 2**32),
        ("width", 8),
        ("tv", float("nan")),
        ("learning_rate", 0),
        ("average", 1.0),
        ("optimizer", "adamm"),
        ("init", "Prior"),
        ("clip", "starter"),
        ("flip", 1),
        ("prompt", 3),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(key: str, value: object):
    with pytest.raises(UsageError, match=f"{key}"):
        Settings.make({key: value})


def test_settings_never_change_in_place():
    settings = Settings.make({"prompt": "x"})
    with pytest.raises(ValueError, match="frozen"):
        settings.steps = 3
    changed = settings.changed(steps=3)
    assert (settings.steps, changed.steps, changed.prompt) == (None, 3, "x")


def test_a_change_is_checked_too():
    with pytest.raises(UsageError, match="steps"):
        Settings.make({"prompt": "x"}).changed(steps=-1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "empty"),
        ({"prompt": "  "}, "empty"),
        ({"prompt": "x", "init": "image"}, "no init image"),
        ({"prompt": "x", "init": "codes", "init_image": "a.png"}, "init image is given too"),
        ({"prompt": "x", "clip": []}, "no CLIP"),
        ({"prompt": "x", "cutouts": 4, "cutouts_start": 5}, "more than the 4 cutouts"),
        ({"prompt": "x", "antithetic": True, "cutout_method": "crops"}, "pairs views"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values: dict, words: str):
    with pytest.raises(UsageError, match=words):
        Settings.make(values).check()


@pytest.mark.parametrize(
    "values", [{"image_prompts": ["a.png"]}, {"prompt": "x", "init_image": "a.png"}, {"prompt": "x", "steps": 0}]
)
def test_settings_that_make_sense_pass(values: dict):
    assert Settings.make(values).check() == Settings.make(values)


_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@given(st.integers(0, 1_000_000), st.floats(0, 1000), st.lists(st.text(_CHARACTERS), max_size=3))
def test_settings_survive_being_written_and_read(steps: int, tv: float, clip: list[str]):
    settings = Settings.make({"steps": steps, "tv": tv, "clip": clip})
    assert Settings.make(settings.model_dump(mode="json")) == settings
    assert settings.clip == tuple(clip)


def test_delivery_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="extra"):
        Delivery(outptu="x")


@pytest.mark.parametrize("values", [{"vqgan": "a\0b.ckpt"}, {"init_image": "\0"}, {"clip": ["starter", "x/y=\0"]}])
def test_a_nul_is_refused_where_the_setting_stands(values):
    with pytest.raises(UsageError, match=r"^x.toml: (vqgan|init_image|clip) holds a NUL"):
        Settings.make(values, source="x.toml")
