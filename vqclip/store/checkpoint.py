"""Any weight file, read safely into plain tensors: safetensors, pickles through `pickles`, msgpack through `flax`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vqclip.errors import ModelError
from vqclip.store.containers import sniff
from vqclip.store.flax import read_flax
from vqclip.store.pickles import read_pickled
from vqclip.store.publish import published
from vqclip.words import counted

OWN_HEADER = "vqclip"
MOST_HEADER_BYTES = 4 * 2**20
MOST_TENSORS = 20_000
_LAYERS = ("ema", "model_ema", "params_ema", "state_dict", "model", "params", "module")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Reads the weights of a file by name; a training file's other contents are left out, and its EMA is preferred.

    The tensors may lie on the disk still: copy what is kept. Raises: ModelError, one sentence for each way in which a
    file can be wrong.
    """
    path = Path(path)
    container = sniff(path)
    if container == "safetensors":
        return _read_safetensors(path)
    document = read_flax(path) if container == "msgpack" else read_pickled(path, zipped=container == "zip")
    tensors = _unwrap(document)
    if not tensors:
        raise ModelError(f"{path.name} holds no weights")
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or _overclaims(tensor):
            raise ModelError(f"{path.name} is refused: {name[:80]!r} claims more numbers than the file has")
    if _held(tensors) > path.stat().st_size:
        raise ModelError(f"{path.name} is refused: its weights claim more numbers than the file has")
    return tensors


def write_own(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Path:
    """Writes one of our own files, whole or not at all: safetensors with the header as its `vqclip` entry.

    Raises: OutputError.
    """

    def write(part: Path) -> None:
        try:
            save_file(dict(tensors), part, metadata={OWN_HEADER: json.dumps(header)})
        except SafetensorError as error:  # how its writer tells of a full disk
            raise OSError(str(error)) from error

    return published(Path(path), write)


def read_header(path: str | Path) -> dict[str, Any]:
    """The `vqclip` entry in the header of one of our own safetensors files, or {} for any other file.

    Raises: ModelError if the file is missing, damaged, or its entry is not a mapping.
    """
    path = Path(path)
    if sniff(path) != "safetensors":
        return {}
    with _opened(path) as file:
        text = (file.metadata() or {}).get(OWN_HEADER)
    if text is None:
        return {}
    try:
        header = json.loads(text) if len(text) <= MOST_HEADER_BYTES else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise ModelError(f"{path.name}: its {OWN_HEADER} header is damaged")
    return header


def require_finite(tensors: Mapping[str, Tensor], label: str) -> None:
    """Refuses weights that hold NaN or infinity, without a copy. Raises: ModelError naming the first such tensor."""
    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise ModelError(f"{label} is damaged: {name} holds NaN or infinity", hint="get the file again")


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    values = tensor if tensor.element_size() > 1 else tensor.float()  # of 8-bit floats torch finds no least and most
    return all(bool(end.isfinite()) for end in values.aminmax())  # NaN is both the least and the most


def strip_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name begins with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def some(names: Iterable[str]) -> str:
    """The first name of several, and how many more there are, for a sentence."""
    ordered = sorted(names)
    more = f" (and {len(ordered) - 1} more)" if len(ordered) > 1 else ""
    return f"{ordered[0][:120]}{more}" if ordered else "nothing"


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        size = f"{counted(path.stat().st_size, 'byte', form=',')} here"
        raise ModelError(f"{path.name} is incomplete or damaged ({size})", hint="get the file again") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with _opened(path) as file:
        names = file.keys()
        if len(names) > MOST_TENSORS:
            raise ModelError(f"{path.name} is refused: {len(names):,} weights in one file")
        tensors = {name: file.get_tensor(name) for name in names}
    if not tensors:
        raise ModelError(f"{path.name} holds no weights")
    return tensors


def _unwrap(document: Any) -> dict[str, Tensor]:
    """Digs the weights out of what training scripts wrap around them."""
    for _ in range(4):
        inner = next((document[key] for key in _LAYERS if _has_weights(document, key)), None)
        if inner is None:
            break
        document = inner
    if not isinstance(document, Mapping):
        return {}
    tensors = {name: value for name, value in document.items() if isinstance(name, str) and isinstance(value, Tensor)}
    while tensors and all(name.startswith("module.") for name in tensors):
        tensors = strip_prefix(tensors, "module.")
    return tensors


def _has_weights(document: Any, key: str, depth: int = 0) -> bool:
    if depth > 3 or not (isinstance(document, Mapping) and isinstance(document.get(key), Mapping)):
        return False
    inner = document[key]
    return any(isinstance(value, Tensor) for value in inner.values()) or any(
        _has_weights(inner, name, depth + 1) for name in _LAYERS
    )


def _held(tensors: Mapping[str, Tensor]) -> int:
    """The bytes of all storages, each counted once."""
    storages = (tensor.untyped_storage() for tensor in tensors.values())
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _overclaims(tensor: Tensor) -> bool:
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
