"""What reading a pickle would do, found out step by step without doing it: no name is called, nothing is copied.

torch's weights-only reader keeps strange code out, but the names it allows by itself can still fill the memory from a
few bytes: `bytearray(10**9)`, hex of hex of hex, one list copied again and again. Here every value is only its length.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from typing import Any, BinaryIO

from torch._utils import IMPORT_MAPPING, NAME_MAPPING  # of Python 2, as torch's own reader applies them

MOST_STEPS = 500_000
MOST_COPIED = 2**18

_FOREIGN_PREFIXES = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "typing.")
_FOREIGN = frozenset(
    {
        "argparse.Namespace",
        "collections.defaultdict",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "numpy.dtype",
        "numpy.ndarray",
        *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
        *(f"builtins.{name}" for name in ("bool", "bytes", "dict", "float", "int", "list", "object", "str", "tuple")),
    }
)
_CALLED = frozenset(
    {
        "_codecs.encode",
        "builtins.complex",
        "builtins.set",
        "collections.Counter",
        "collections.OrderedDict",
        "torch.Size",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        *(f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")),
    }
)
_TYPE = re.compile(r"torch\.((cuda\.|storage\.)?\w+Storage|bool|(b?float|u?int|complex)\d\w*)")


class Unsafe(Exception):
    """A pickle asks for what weights never need; the text says for what."""


class _Value:
    """Stands for anything that a pickle makes: of what length, and under which name if it was asked for by one."""

    __slots__ = ("items", "length", "name", "weight")

    def __init__(self, length: int = 0, name: str = "", items: tuple[_Value, ...] | None = None) -> None:
        self.length, self.name, self.items = length, name, items
        self.weight = 1 + sum(item.weight for item in items or ())


_NUMBER = _Value()


def rehearse(file: BinaryIO) -> set[str]:
    """Follows one pickle to its end; returns the harmless foreign names in it, for which a stand-in is needed.

    Raises: Unsafe; or any error of a damaged pickle.
    """
    run = _Run()
    for count, (opcode, argument, place) in enumerate(pickletools.genops(file)):
        if count >= MOST_STEPS:
            raise Unsafe(f"more than {MOST_STEPS:,} steps in its index")
        if opcode.name not in _STEPS:
            raise Unsafe(f"{opcode.name} of pickle protocol {opcode.proto}")
        _STEPS[opcode.name](run, argument)
        if run.copied > MOST_COPIED + 2 * (place or 0):
            raise Unsafe("copies of its own parts again and again")
    return run.foreign


class _Run:
    """The stack and memory of one rehearsal, and how much would have been copied so far."""

    def __init__(self) -> None:
        self.stack: list[_Value] = []
        self.marks: list[int] = []
        self.memory: dict[int, _Value] = {}
        self.foreign: set[str] = set()
        self.copied = 0

    def push(self, value: _Value) -> None:
        self.stack.append(value)

    def popped(self) -> list[_Value]:
        """What lies above the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def ask(self, words: str) -> None:
        """Brings a name, if it may be in a weight file."""
        module, name = words.split(" ", 1)
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        name = f"{module}.{name}"
        if name in _FOREIGN or name.startswith(_FOREIGN_PREFIXES):
            self.foreign.add(name)
        elif name not in _CALLED and not _TYPE.fullmatch(name):
            raise Unsafe(name)
        self.push(_Value(name=name))

    def get(self, place: int) -> None:
        value = self.memory[place]
        self.copied += value.weight - 1  # a tuple of tuples of tuples takes as long to hash as if it were written out
        self.push(value)

    def join(self, values: list[_Value]) -> None:
        """Makes a tuple."""
        self.push(_Value(len(values), items=tuple(values)))

    def call(self, _: Any) -> None:
        """Calls a name: the result is as long as all that went in."""
        given, called = self.stack.pop().items, self.stack.pop()
        if given is None:
            raise ValueError("what a call is given is no tuple")
        if called.name not in _CALLED and called.name not in self.foreign:
            raise Unsafe(f"a call of {called.name or 'something that is no function'}")
        if called.name == "_codecs.encode" and [value.name for value in given[1:]] != ["'latin1'"]:
            raise Unsafe("_codecs.encode to something else than latin1")
        length = sum(value.length for value in given)
        self.copied += length
        self.push(_Value(length))

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        self.copied += state.length + sum(value.length for value in state.items or ())

    def grow(self, values: list[_Value]) -> None:
        if self.stack[-1] is _NUMBER:
            raise ValueError("a number does not grow")
        self.stack[-1].length += len(values)

    def take(self, count: int) -> list[_Value]:
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def store(self, _: Any) -> None:
        self.stack[-1] = _Value()


def _text(run: _Run, text: str) -> None:
    run.push(_Value(len(text), "'latin1'" if text == "latin1" else ""))


_STEPS: dict[str, Callable[[_Run, Any], Any]] = {
    **dict.fromkeys(
        ("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1"),
        lambda run, _: run.push(_NUMBER),
    ),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINSTRING"), _text),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_DICT"), lambda run, _: run.push(_Value())),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), lambda run, place: run.memory.update({place: run.stack[-1]})),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Run.get),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Run.call),
    **dict.fromkeys(("APPENDS", "SETITEMS"), lambda run, _: run.grow(run.popped())),
    **dict.fromkeys(("PROTO", "STOP"), lambda run, _: None),
    "APPEND": lambda run, _: run.grow(run.take(1)),
    "SETITEM": lambda run, _: run.grow(run.take(2)),
    "MARK": lambda run, _: run.marks.append(len(run.stack)),
    "EMPTY_TUPLE": lambda run, _: run.join([]),
    "TUPLE": lambda run, _: run.join(run.popped()),
    "TUPLE1": lambda run, _: run.join(run.take(1)),
    "TUPLE2": lambda run, _: run.join(run.take(2)),
    "TUPLE3": lambda run, _: run.join(run.take(3)),
    "BINPERSID": _Run.store,
    "BUILD": _Run.build,
    "GLOBAL": _Run.ask,
}
