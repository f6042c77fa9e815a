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
MOST_NAMES = 100  # torch goes through all foreign ones at every call
MOST_TANGLED = 2**22
PLAIN_BITS = 60  # larger whole numbers can share one hash

_FOREIGN_PREFIXES = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "typing.")
_FOREIGN = frozenset(
    {
        "argparse.Namespace",
        "collections.defaultdict",
        "builtins.frozenset",
        "torch.torch_version.TorchVersion",
        "pathlib.Path",
        "pathlib.PurePosixPath",
        "pathlib.PureWindowsPath",
        *(f"numpy.{name}" for name in ("bool", "bool_", "float16", "float32", "float64", "int32", "int64", "uint8")),
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
    """Stands for anything that a pickle makes: of what length, and under which name if it was asked for by one.

    plain says that as a key its hash is its own; odd is what the others in a list would cost as keys.
    """

    __slots__ = ("items", "length", "name", "odd", "plain", "weight")

    def __init__(
        self, length: int = 0, name: str = "", items: tuple[_Value, ...] | None = None, *, plain: bool = False
    ) -> None:
        self.length, self.name, self.items, self.plain = length, name, items, plain
        self.weight = 1 + sum(item.weight for item in items or ())
        self.odd: list[int] | None = None

    def as_key(self) -> int:
        """What comparing it with another one costs, if the hashes do not tell them apart."""
        return 0 if self.plain else self.weight + self.length


_NUMBER = _Value(plain=True)
_HASHED = frozenset({"builtins.set", "collections.Counter", "collections.OrderedDict"})


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
        if run.tangled > MOST_TANGLED:
            raise Unsafe("thousands of keys that are no words")
    return run.foreign


class _Run:
    """The stack and memory of one rehearsal, and how much would have been copied so far."""

    def __init__(self) -> None:
        self.stack: list[_Value] = []
        self.marks: list[int] = []
        self.memory: dict[int, _Value] = {}
        self.foreign: set[str] = set()
        self.copied = self.tangled = self.keys = self.names = 0

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
        self.names += 1
        if self.names > MOST_NAMES:
            raise Unsafe(f"more than {MOST_NAMES} names")
        module, name = words.split(" ", 1)
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        name = f"{module}.{name}"
        if name in _FOREIGN or name.startswith(_FOREIGN_PREFIXES):
            self.foreign.add(name)
        elif name not in _CALLED and not _TYPE.fullmatch(name):
            raise Unsafe(name)
        self.push(_Value(name=name, plain=True))

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
        if called.name in _HASHED:
            self.hash([cost for value in given for cost in value.odd or ()])
        self.push(_Value(length))

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        self.copied += state.length + sum(value.length for value in state.items or ())

    def grow(self, values: list[_Value]) -> None:
        if self.stack[-1] is _NUMBER:
            raise ValueError("a number does not grow")
        self.stack[-1].length += len(values)

    def extend(self, values: list[_Value]) -> None:
        self.grow(values)
        if costs := [cost for value in values if (cost := value.as_key())]:
            self.stack[-1].odd = self.stack[-1].odd or []
            self.stack[-1].odd += costs

    def fill(self, values: list[_Value]) -> None:
        self.grow(values)
        self.hash([cost for key in values[::2] if (cost := key.as_key())])

    def hash(self, costs: list[int]) -> None:
        """Takes these as keys: in the worst case each is compared with all before it."""
        for cost in costs:
            self.tangled += self.keys * cost
            self.keys += 1

    def take(self, count: int) -> list[_Value]:
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def store(self, _: Any) -> None:
        self.stack[-1] = _Value()


def _text(run: _Run, text: str) -> None:
    run.push(_Value(len(text), "'latin1'" if text == "latin1" else "", plain=True))


_STEPS: dict[str, Callable[[_Run, Any], Any]] = {
    **dict.fromkeys(
        ("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINFLOAT"),
        lambda run, _: run.push(_NUMBER),
    ),
    "LONG1": lambda run, number: run.push(_NUMBER if number.bit_length() <= PLAIN_BITS else _Value()),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINSTRING"), _text),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_DICT"), lambda run, _: run.push(_Value())),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), lambda run, place: run.memory.update({place: run.stack[-1]})),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Run.get),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Run.call),
    "APPENDS": lambda run, _: run.extend(run.popped()),
    "SETITEMS": lambda run, _: run.fill(run.popped()),
    **dict.fromkeys(("PROTO", "STOP"), lambda run, _: None),
    "APPEND": lambda run, _: run.extend(run.take(1)),
    "SETITEM": lambda run, _: run.fill(run.take(2)),
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
