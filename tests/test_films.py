import math

import pytest

from vqclip.errors import UsageError
from vqclip.films import (
    FilmSettings,
    film_values,
    frame_count,
    kept_film_values,
    loop_frames,
    renewals,
    speed,
    speeds,
    turns,
)


@pytest.mark.parametrize(
    ("text", "factor", "value"),
    [
        ("1.02", True, 1.02),
        ("2/s", True, 2 ** (1 / 24)),
        ("-2", False, -2.0),
        ("48/s", False, 2.0),
        (" .5 ", False, 0.5),
    ],
)
def test_speeds_are_per_frame_or_per_second(text, factor, value):
    assert speed(text, 24, flag="--zoom", factor=factor) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "1/m", "1e9999", "nan"])
def test_a_zoom_that_is_no_speed_is_refused(text):
    with pytest.raises(UsageError, match="--zoom"):
        speed(text, 24, flag="--zoom", factor=True)


def test_pairs_have_two_speeds_or_one():
    assert speeds("48/s,-1", 24, flag="--pan") == (2, -1)
    assert speeds("3", 24, flag="--pan") == (3, 0)
    with pytest.raises(UsageError, match="--pan"):
        speeds("1,2,3", 24, flag="--pan")


def test_the_length_is_said_once():
    assert [frame_count(None, None, 24), frame_count(None, 2.5, 10), frame_count(7, None, 24)] == [240, 25, 7]
    wrong = [(1, 1.0), (0, None), (None, 0.0), (-3, None), (None, 1e9), (None, math.nan), (None, math.inf)]
    for frames, seconds in wrong:
        with pytest.raises(UsageError):
            frame_count(frames, seconds, 24)


def test_a_story_is_told_in_turns():
    assert turns("a castle ^a | b ^ c") == ["a castle", "a | b", "c"]
    with pytest.raises(UsageError, match="empty prompt"):
        turns("a ^ ^ b")
    with pytest.raises(UsageError, match="at least one frame"):
        film_values({"story": ("fog",), "change_every": 0})


def test_film_settings_are_checked():
    assert film_values({"frames": 12, "loop": 4}).painted == 16
    for wrong in ({"zoom": 0.0}, {"frames": 0}, {"tilt": (0.6, 0.0)}, {"frames": 4, "loop": 3}, {"zom": 1.0}):
        with pytest.raises(UsageError):
            film_values(wrong)
    assert film_values(FilmSettings().model_dump()) == FilmSettings()
    assert film_values(FilmSettings().model_dump(mode="json")) == FilmSettings()


@pytest.mark.parametrize(
    ("zooms", "by", "when"),
    [
        ([1.02] * 240, 4.0, [71, 142, 213]),
        ([2.0] * 6, 4.0, [2, 4]),
        ([0.98] * 240, 4.0, []),
        ([1.5, 1.0, 1.0, 1.5, 1.5, 1.0], 2.0, [4]),
        ([1.5] * 9, 0.0, []),
        ([], 4.0, []),
    ],
)
def test_a_prompt_is_renewed_whenever_the_camera_has_gone_in_by_a_factor(zooms, by, when):
    found = renewals(zooms, by)
    assert [n for n, (times, ago) in enumerate(found) if times and not ago] == when
    assert len(found) == len(zooms)
    assert all(times == sum(n <= frame for n in when) for frame, (times, _) in enumerate(found))


def test_a_renewal_leaves_time_between():
    with pytest.raises(UsageError, match="leaves no time between"):
        film_values({"renew": 1.01})
    assert film_values({"renew": 0.0}).renew == 0 and film_values({}).renew is None
    assert kept_film_values({}).renew == 0 and kept_film_values({"renew": 3.0}).renew == 3


def test_a_loop_fades_for_a_second_or_a_third():
    assert [loop_frames(240, 24), loop_frames(30, 24), loop_frames(2, 24)] == [24, 10, 1]
