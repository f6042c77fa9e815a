import pytest

from vqclip.errors import UsageError
from vqclip.keyframes import EASINGS, ease, parse_curve


def at(given, t, **more):
    return parse_curve(given, ("t", "s", *more)).at({"t": t, "s": t, **more})


def test_a_number_and_a_formula_are_curves():
    assert at(1.02, 7) == 1.02 and at("2 * t", 3) == 6


def test_keyframes_are_met_and_held_outside():
    keys = [[1, 10], [3, 20], [4, "t * 10", "hold"]]
    assert [at(keys, t) for t in (0, 1, 2, 3, 3.99, 4, 5)] == [10, 10, 15, 20, 20, 40, 50]


@pytest.mark.parametrize("name", EASINGS)
def test_every_easing_begins_and_ends_where_it_should(name):
    assert ease(name, 0) == pytest.approx(0, abs=1e-9) and ease(name, 1) == pytest.approx(1)
    assert ease(name, -1) == ease(name, 0) and ease(name, 2) == ease(name, 1)
    assert all(-0.2 < ease(name, n / 50) < 1.2 for n in range(51))
    key = [[0, 0], [2, 10, name]]
    assert at(key, 1) == pytest.approx(10 * ease(name, 0.5))


def test_easing_bends_the_way_its_name_says():
    assert ease("in", 0.5) < 0.5 < ease("out", 0.5)
    assert ease("smooth", 0.25) < 0.25 and ease("in-out", 0.25) < 0.25 and ease("back", 0.7) > 1


@pytest.mark.parametrize(
    "given",
    [
        True,
        None,
        [],
        [1, 2],
        [[0]],
        [[0, 1], [0, 2]],
        [[2, 1], [1, 2]],
        [[-1, 1]],
        [["0", 1]],
        [[0, 1, 2]],
        [[0, 1, "smoot"]],
        {"a": 1},
    ],
)
def test_what_is_no_curve_is_refused(given):
    with pytest.raises(UsageError):
        parse_curve(given, ("t",))
