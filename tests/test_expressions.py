import math
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqclip.errors import UsageError
from vqclip.expressions import FUNCTIONS, parse_expression, wander

VALUES = {"t": 1.5, "beat": 0.25}


def value(text):
    return parse_expression(text, VALUES).at(VALUES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.01 + 0.04 * beat", 1.02),
        ("-t ** 2", -2.25),
        ("7 % 4 - 3 / 2", 1.5),
        ("2 if t > 1 and beat < 0.5 else 3", 2),
        ("0 < beat < 1", 1),
        ("not t == 1.5 or beat != 0.25", 0),
        ("min(3, 1, 2) + max(1, 2)", 3),
        ("abs(-2) + sqrt(9) + floor(1.7) + round(0.6)", 7),
        ("sin(0) + cos(0)", 1),
        ("lerp(2, 4, 0.25)", 2.5),
        ("clamp(9, 0, 1)", 1),
        ("smoothstep(1, 2, t)", 0.5),
        ("pulse(3) + pulse(0.5)", 1),
        ("True", 1),
    ],
)
def test_a_formula_has_its_value(text, expected):
    assert value(text) == pytest.approx(expected)


HOSTILE = [
    "__import__('os').system('true')",
    "().__class__.__bases__[0].__subclasses__()",
    "t.__class__",
    "[1 for _ in (1,)]",
    "(lambda: 1)()",
    "open('/etc/passwd')",
    "eval('1')",
    "exec",
    "f'{t}'",
    "'a' * 9",
    "b'a'",
    "t[0]",
    "{1: 2}",
    "(1, 2)",
    "(x := 1)",
    "sin(*t)",
    "sin(t=1)",
    "sin.__self__",
    "min()",
    "lerp(1, 2)",
    "9 ** 9 ** 9 ** 9",
    "2 ** 65",
    "2 ** -65",
    "9" * 40,
    "1e999",
    "1e308 * 10",
    "1 / 0",
    "1 % 0",
    "sqrt(-1)",
    "(-8) ** (1 / 3)",
    "0 ** -1",
    "round(1e308 * 10)",
    "pulse(1e308 * 10)",
    "t // 2",
    "t @ t",
    "t << 2",
    "~t",
    "t is t",
    "t in t",
    "1j",
    "None",
    "...",
    "await t",
    "t; t",
    "t = 1",
    "import os",
    "",
    "\0",
    "# nothing",
    "-" * 390 + "1",
    "1" + " + 1" * 99,
    "(" * 199 + "1" + ")" * 199 + " + 1",
    "sin(" * 60 + "1" + ")" * 60,
    "1 if " * 30 + "1" + " else 1" * 30,
    "t" * 500,
    "nowhere",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:24])
def test_a_hostile_formula_is_refused_with_a_sentence_and_at_once(text):
    started = time.monotonic()
    with pytest.raises(UsageError) as caught:
        value(text)
    assert time.monotonic() - started < 0.5
    assert len(caught.value.message) > 10


def test_what_is_not_allowed_is_named_with_its_place():
    with pytest.raises(UsageError, match=r"'t\.real' \(letter 5 of"):
        value("1 + t.real")
    with pytest.raises(UsageError) as caught:
        value("1 + baet")
    assert caught.value.hint == "did you mean 'beat'?"
    with pytest.raises(UsageError) as caught:
        value("sni(t)")
    assert caught.value.hint == "did you mean 'sin'?"


def test_a_formula_knows_what_it_reads():
    assert parse_expression("sin(t) + 1", VALUES).names == {"t"}


@given(st.text("t123.+-*/%()<> ,absinmx", max_size=40))
def test_whatever_is_written_gives_a_number_or_a_sentence(text):
    try:
        assert math.isfinite(value(text))
    except UsageError as error:
        assert error.message


def test_no_function_reaches_anything_but_numbers():
    for name, (function, least, most) in FUNCTIONS.items():
        found = {count: function(*[0.5] * count) for count in range(least, most + 1)}
        assert all(isinstance(one, int | float) for one in found.values()), name


def test_wandering_is_smooth_bounded_and_always_the_same():
    walk = [wander(n / 50, 3) for n in range(2000)]
    assert walk == [wander(n / 50, 3) for n in range(2000)]
    assert max(map(abs, walk)) <= 1 and max(walk) > 0.5 and min(walk) < -0.5
    assert max(abs(a - b) for a, b in pairwise(walk)) < 0.07
    assert wander(0.3, 0) != wander(0.3, 1)
