"""Curves over a film's time: a number, a formula, or keyframes with easing."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise

from vqclip.errors import UsageError
from vqclip.expressions import Expression, Values, parse_expression
from vqclip.words import did_you_mean


@dataclass(frozen=True)
class Key:
    """One keyframe: from `time` (seconds) on the curve has this value; easing is how it gets there from the last."""

    time: float
    value: Expression
    easing: str = "linear"


@dataclass(frozen=True)
class Curve:
    """A value that changes with time: keyframes in order of time, one alone being a plain number or formula.

    clock is the variable that keyframes are timed by: t for a whole film, s for a scene.
    """

    keys: tuple[Key, ...]
    clock: str = "t"

    @property
    def names(self) -> frozenset[str]:
        """The variables it reads."""
        return frozenset[str]().union(*(key.value.names for key in self.keys))

    def at(self, values: Values) -> float:
        """The value where the variables have these values. Raises: FormulaError."""
        now = values[self.clock]
        after = bisect_right([key.time for key in self.keys], now)
        if after == 0 or after == len(self.keys):
            return self.keys[max(after - 1, 0)].value.at(values)
        before, key = self.keys[after - 1], self.keys[after]
        share = EASINGS[key.easing]((now - before.time) / (key.time - before.time))
        start = before.value.at(values)
        return start + (key.value.at(values) - start) * share


def parse_curve(value: object, names: Collection[str], *, clock: str = "t") -> Curve:
    """Reads a curve from what TOML gives: 1.02, "1 + beat", or [[0, 1], [2, 1.05, "smooth"]].

    A keyframe is [seconds, value] or [seconds, value, easing]; a value may be a formula too.
    Raises: UsageError (FormulaError) saying what is wrong.
    """
    if isinstance(value, list | tuple):
        if not value:
            raise UsageError("it has no keyframes", hint=_HELP)
        keys = tuple(_key(one, names) for one in value)
        late = [key.time for before, key in pairwise(keys) if key.time <= before.time]
        if late:
            raise UsageError(f"the keyframe at {late[0]:g} s does not come after the one before it")
        return Curve(keys, clock)
    return Curve((Key(0.0, _value(value, names)),), clock)


def ease(name: str, share: float) -> float:
    """How far a change has come (0 to 1) when this share of its time is over. Raises: UsageError for no such easing."""
    if name not in EASINGS:
        raise UsageError(f"there is no easing {name!r}", hint=did_you_mean(name, EASINGS))
    return EASINGS[name](min(max(share, 0.0), 1.0))


def _key(value: object, names: Collection[str]) -> Key:
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= 3:
        raise UsageError(f"{value!r} is no keyframe", hint=_HELP)
    time, easing = value[0], value[2] if len(value) == 3 else "linear"
    if not _is_number(time) or time < 0:
        raise UsageError(f"{time!r} is no time of a keyframe", hint="give seconds from the start, such as 2.5")
    if not isinstance(easing, str) or easing not in EASINGS:
        raise UsageError(f"there is no easing {easing!r}", hint=did_you_mean(str(easing), EASINGS))
    return Key(float(time), _value(value[1], names), easing)


def _value(value: object, names: Collection[str]) -> Expression:
    if _is_number(value):
        number = float(value)
        return Expression(repr(value), frozenset(), lambda _: number)
    if isinstance(value, str):
        return parse_expression(value, names)
    raise UsageError(f"{value!r} is no number, formula or list of keyframes", hint=_HELP)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _back(share: float) -> float:
    """Beyond the goal by a tenth, and back (Penner's overshoot)."""
    return 1 + 2.70158 * (share - 1) ** 3 + 1.70158 * (share - 1) ** 2


def _bounce(share: float) -> float:
    """A ball that falls on the goal and bounces three times (Penner's parabolas)."""
    for end, middle, base in ((1, 0.0, 0.0), (2, 1.5, 0.75), (2.5, 2.25, 0.9375), (2.75, 2.625, 0.984375)):
        if share <= end / 2.75:
            return 7.5625 * (share - middle / 2.75) ** 2 + base
    return 1.0


EASINGS: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "hold": lambda x: math.floor(x),
    "smooth": lambda x: x * x * (3 - 2 * x),
    "in": lambda x: x**3,
    "out": lambda x: 1 - (1 - x) ** 3,
    "in-out": lambda x: 4 * x**3 if x < 0.5 else 1 - (2 - 2 * x) ** 3 / 2,
    "sine": lambda x: (1 - math.cos(math.pi * x)) / 2,
    "back": _back,
    "bounce": _bounce,
}
_HELP = 'write a number, a formula in quotes, or keyframes: [[0, 1.0], [2.5, 1.05, "smooth"]]'
