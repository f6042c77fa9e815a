"""Reads flax's msgpack weight files, with limits and nothing but arrays, and lays their arrays out as torch's."""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqclip.errors import ModelError
from vqclip.words import counted

MOST_DEPTH = 16
MOST_ENTRIES = 100_000
_ARRAY = 1
_TYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
    "int32": torch.int32,
    "int64": torch.int64,
}
_CHUNKED = "__msgpack_chunked_array__"
_LEVEL = re.compile(r"\b(down|up)_(\d+)\.(?:(block|attn)_(\d+)\.)?")


class _Broken(ValueError):
    """The file is not what it says."""


def read_flax(path: Path) -> dict[str, Tensor]:
    """Reads a flax file into tensors under torch's names and layouts: kernel [kh, kw, in, out] -> weight.

    The arrays lie on the disk still: copy what is kept. Raises: ModelError if the file is damaged or holds anything
    but arrays by name.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        tree = _Cursor(memoryview(data)).document()
        tensors = _flattened(tree, "")
    except (ValueError, TypeError, OSError, struct.error, RecursionError, RuntimeError) as error:
        size = f"{counted(path.stat().st_size, 'byte', form=',')} here"
        raise ModelError(f"{path.name} is incomplete or not a flax file ({size})", hint="get the file again") from error
    return {torch_name(name): _torch_layout(name, tensor) for name, tensor in tensors.items()}


class _Cursor:
    """Walks over the bytes, and never past their end. Only what flax writes is understood."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.place, self.entries = data, 0, 0

    def document(self) -> Any:
        value = self.value(0)
        if self.place != len(self.data):
            raise _Broken("bytes after the end")
        return value

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.place:
            raise _Broken("the end comes too early")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, form: str) -> int:
        return struct.unpack(f">{form}", self.take(struct.calcsize(form)))[0]

    def value(self, depth: int) -> Any:
        self.entries += 1
        if depth > MOST_DEPTH or self.entries > MOST_ENTRIES:
            raise _Broken("too deep or too much")
        kind = self.number("B")
        if kind < 0x80 or kind >= 0xE0:
            return kind if kind < 0x80 else kind - 256
        if kind < 0x90 or kind in (0xDE, 0xDF):
            return self._map(self._count(kind, 0x80, {0xDE: "H", 0xDF: "I"}), depth)
        if kind < 0xA0 or kind in (0xDC, 0xDD):
            return [self.value(depth + 1) for _ in range(self._count(kind, 0x90, {0xDC: "H", 0xDD: "I"}))]
        if kind < 0xC0 or kind in (0xD9, 0xDA, 0xDB):
            size = kind - 0xA0 if kind < 0xC0 else self.number("BHI"[kind - 0xD9])
            return str(self.take(size), "utf-8")
        return self._rest(kind)

    def _count(self, kind: int, small: int, forms: dict[int, str]) -> int:
        return self.number(forms[kind]) if kind in forms else kind - small

    def _map(self, count: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(count):
            name = self.value(depth + 1)
            if not isinstance(name, str) or name in found:
                raise _Broken("a name that is no word, or twice")
            found[name] = self.value(depth + 1)
        return found

    def _rest(self, kind: int) -> Any:
        if kind in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[kind]
        if kind in (0xC4, 0xC5, 0xC6):
            return self.take(self.number("BHI"[kind - 0xC4]))
        if kind in (0xC7, 0xC8, 0xC9):
            size = self.number("BHI"[kind - 0xC7])
            return self._extension(self.number("b"), self.take(size))
        if 0xD4 <= kind <= 0xD8:
            return self._extension(self.number("b"), self.take(1 << (kind - 0xD4)))
        if kind in (0xCA, 0xCB):
            return struct.unpack(">f" if kind == 0xCA else ">d", self.take(4 if kind == 0xCA else 8))[0]
        if 0xCC <= kind <= 0xD3:
            return self.number("BHIQbhiq"[kind - 0xCC])
        raise _Broken(f"unknown byte {kind:#x}")

    def _extension(self, kind: int, data: memoryview) -> Tensor | None:
        if kind != _ARRAY:
            return None
        described = _Cursor(data).document()
        if not isinstance(described, list) or len(described) != 3:
            raise _Broken("an array without its shape")
        shape, dtype, numbers = described
        if dtype not in _TYPES or not isinstance(numbers, memoryview):
            raise _Broken(f"an array of {dtype}")
        flat = torch.frombuffer(numbers, dtype=_TYPES[dtype]) if len(numbers) else torch.empty(0, dtype=_TYPES[dtype])
        return flat.view(shape)


def _flattened(tree: Any, prefix: str) -> dict[str, Tensor]:
    """A tree of arrays as one table with dotted names; arrays that were cut into chunks are whole again."""
    if isinstance(tree, Tensor):
        return {prefix.removesuffix("."): tree}
    if not isinstance(tree, dict):
        return {}
    if _CHUNKED in tree:
        shape, chunks = (_ordered(tree.get(name)) for name in ("shape", "chunks"))
        return {prefix.removesuffix("."): torch.cat(chunks).view(shape)}
    found: dict[str, Tensor] = {}
    for name, branch in tree.items():
        found |= _flattened(branch, f"{prefix}{name}.")
    return found


def _ordered(value: Any) -> list[Any]:
    """A list, which flax writes as a mapping from its places."""
    if not isinstance(value, dict):
        raise _Broken("chunks that are no list")
    return [value[key] for key in sorted(value, key=int)]


def torch_name(name: str) -> str:
    """The name in torch of a flax array with its path joined by dots.

    down_0.block_1 is a list's item and becomes down.0.block.1; mid.block_1 is a name and stays.
    """
    name = _LEVEL.sub(lambda found: ".".join(part for part in found.groups() if part) + ".", name)
    head, dot, leaf = name.rpartition(".")
    return f"{head}{dot}{'weight' if leaf in ('kernel', 'scale', 'embedding') else leaf}"


def _torch_layout(name: str, tensor: Tensor) -> Tensor:
    if not name.endswith("kernel"):
        return tensor
    return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.mT if tensor.ndim == 2 else tensor
