"""Small formulas such as `1.01 + 0.03 * beat`: read as a tree, checked, and worked out without running any code."""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from vqclip.errors import UsageError
from vqclip.words import counted, did_you_mean

MAX_LENGTH, MAX_NODES, MAX_DEPTH, MAX_POWER = 400, 120, 24, 64.0

Values = Mapping[str, float]
Formula = Callable[[Values], float]


class FormulaError(UsageError):
    """A formula that is not understood, not allowed, or has no finite value."""


@dataclass(frozen=True)
class Expression:
    """A checked formula. text is as it was written; names are the variables it reads."""

    text: str
    names: frozenset[str]
    formula: Formula

    def at(self, values: Values) -> float:
        """The value where the variables have these values. Raises: FormulaError if it is not a finite number."""
        try:
            result = self.formula(values)
        except ZeroDivisionError:
            raise FormulaError(f"{self.text!r} divides by zero") from None
        except (ArithmeticError, ValueError) as error:
            raise FormulaError(f"{self.text!r} has no value there: {error}") from None
        if not math.isfinite(result):
            raise FormulaError(f"{self.text!r} grows beyond all numbers")
        return result


def parse_expression(text: str, names: Collection[str]) -> Expression:
    """Reads a formula of numbers, the variables `names`, + - * / % **, comparisons, `a if b else c`, and functions.

    Nothing of it is ever run as Python: its tree is walked, and what is not on the list is refused. Length, depth and
    exponents are bounded, so that working it out is always quick.
    Raises: FormulaError with the place and what is wrong there.
    """
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"a formula of {len(text)} letters is too long", hint=f"at most {MAX_LENGTH}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        column = getattr(error, "offset", None)
        place = f" at letter {column}" if column else ""
        raise FormulaError(f"{text!r} is no formula{place}", hint=_HELP) from None
    nodes = list(ast.walk(tree))
    if len(nodes) > 3 * MAX_NODES or _depth(tree) > MAX_DEPTH:
        raise FormulaError(f"{text[:40]!r}... is too involved", hint="split it up, or use keyframes")
    formula = _build(tree, frozenset(names), text)
    return Expression(text, frozenset(n.id for n in nodes if isinstance(n, ast.Name)) - FUNCTIONS.keys(), formula)


def _depth(node: ast.AST) -> int:
    """How deep a tree is, level by level, so that a hostile one cannot exhaust the stack."""
    level, depth = [node], 0
    while level:
        level, depth = [child for one in level for child in ast.iter_child_nodes(one)], depth + 1
    return depth


def _build(node: ast.AST, names: frozenset[str], text: str) -> Formula:
    """The function of one part of the tree. Raises: FormulaError for a part that is not on the list."""
    build = partial(_build, names=names, text=text)
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return _constant(value, text)
        case ast.Name(id=name):
            return _variable(name, names, text)
        case ast.UnaryOp(op=op, operand=inner) if type(op) in _UNARY:
            return _apply(_UNARY[type(op)], build(inner))
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _BINARY:
            return _apply(_BINARY[type(op)], build(left), build(right))
        case ast.BoolOp(op=op, values=parts):
            return _logic(isinstance(op, ast.And), [build(part) for part in parts])
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARE for op in ops):
            return _comparison([_COMPARE[type(op)] for op in ops], [build(part) for part in (left, *rest)])
        case ast.IfExp(test=test, body=body, orelse=other):
            return _choice(build(test), build(body), build(other))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return _call(name, [build(arg) for arg in args], text)
    raise FormulaError(f"{_part(node, text)} is not allowed in a formula", hint=_HELP)


def _constant(value: float, text: str) -> Formula:
    if isinstance(value, int) and value.bit_length() > 64:
        raise FormulaError(f"a number in {text[:40]!r} is too large")
    number = float(value)
    return lambda _: number


def _variable(name: str, names: frozenset[str], text: str) -> Formula:
    if name not in names:
        raise FormulaError(f"{text!r} reads {name!r}, which is not known there", hint=did_you_mean(name, names))
    return lambda values: values[name]


def _apply(function: Callable[..., float], *parts: Formula) -> Formula:
    return lambda values: float(function(*(part(values) for part in parts)))


def _logic(every: bool, parts: list[Formula]) -> Formula:
    decide = all if every else any
    return lambda values: float(decide(part(values) for part in parts))


def _comparison(ops: list[Callable[[float, float], bool]], parts: list[Formula]) -> Formula:
    def compare(values: Values) -> float:
        found = [part(values) for part in parts]
        return float(all(op(a, b) for op, a, b in zip(ops, found, found[1:], strict=False)))

    return compare


def _choice(test: Formula, body: Formula, other: Formula) -> Formula:
    return lambda values: body(values) if test(values) else other(values)


def _call(name: str, args: list[Formula], text: str) -> Formula:
    if name not in FUNCTIONS:
        raise FormulaError(f"{text!r} calls {name!r}, which is not known", hint=did_you_mean(name, FUNCTIONS))
    function, least, most = FUNCTIONS[name]
    if not least <= len(args) <= most:
        wanted = counted(least, "number") if least == most else f"{least} to {most} numbers"
        raise FormulaError(f"{name}() in {text!r} takes {wanted}, not {len(args)}")
    return _apply(function, *args)


def _part(node: ast.AST, text: str) -> str:
    """The part of the text that a node was read from, shortened, with its place."""
    column = getattr(node, "col_offset", 0)
    part = ast.get_source_segment(text.strip(), node) or text
    return f"{part if len(part) <= 30 else part[:29] + '…'!r} (letter {column + 1} of {text[:40]!r})"


def power(base: float, exponent: float) -> float:
    """base ** exponent, for exponents between -64 and 64. Raises: ValueError, OverflowError."""
    if not abs(exponent) <= MAX_POWER:
        raise ValueError(f"its exponent {exponent:g} is beyond {MAX_POWER:g}")
    return math.pow(base, exponent)


def smoothstep(low: float, high: float, x: float) -> float:
    """0 below low, 1 above high, and a soft step between them."""
    share = min(max((x - low) / (high - low), 0.0), 1.0) if high != low else float(x >= high)
    return share * share * (3 - 2 * share)


def pulse(x: float, sharpness: float = 4.0) -> float:
    """1 at every whole x, 0 half-way between; the higher the sharpness, the shorter the pulse."""
    return power((1 + math.cos(2 * math.pi * x)) / 2, min(max(sharpness, 0.0), MAX_POWER))


def wander(x: float, which: float = 0.0) -> float:
    """A smooth random walk between -1 and 1, the same every time; each whole `which` is another one."""
    whole = math.floor(x)
    low, high = _hashed(whole, int(which)), _hashed(whole + 1, int(which))
    return low + (high - low) * smoothstep(0.0, 1.0, x - whole)


def _hashed(place: int, which: int) -> float:
    """A number in [-1, 1] by two whole ones: a round of the finalizer of MurmurHash3 (Appleby, public domain)."""
    bits = (place * 0x9E3779B1 + which * 0x85EBCA77 + 0x27D4EB2F) & 0xFFFFFFFF
    bits = ((bits ^ (bits >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    bits = ((bits ^ (bits >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return (bits ^ (bits >> 16)) / 0x7FFFFFFF - 1


FUNCTIONS: dict[str, tuple[Callable[..., float], int, int]] = {
    "sin": (math.sin, 1, 1),
    "cos": (math.cos, 1, 1),
    "abs": (abs, 1, 1),
    "sqrt": (math.sqrt, 1, 1),
    "floor": (math.floor, 1, 1),
    "round": (round, 1, 1),
    "min": (lambda *values: min(values), 1, 8),
    "max": (lambda *values: max(values), 1, 8),
    "clamp": (lambda x, low, high: min(max(x, low), high), 3, 3),
    "lerp": (lambda a, b, share: a + (b - a) * share, 3, 3),
    "smoothstep": (smoothstep, 3, 3),
    "pulse": (pulse, 1, 2),
    "wander": (wander, 1, 2),
}
_UNARY: dict[type, Callable[[float], float]] = {
    ast.UAdd: lambda a: a,
    ast.USub: lambda a: -a,
    ast.Not: lambda a: not a,
}
_BINARY: dict[type, Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: power,
}
_COMPARE: dict[type, Callable[[float, float], bool]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
_HELP = f"a formula has numbers, + - * / % **, comparisons, `a if b else c`, and {', '.join(sorted(FUNCTIONS))}"
