"""Folders that diffusers and transformers save models in: which file in there holds the VQGAN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vqclip.errors import ModelError
from vqclip.words import clean

_PARTS = ("", "movq", "vqvae", "vqgan", "vae")
_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model", "flax_model")
_SUFFIXES = (".safetensors", ".fp16.safetensors", ".bin", ".msgpack")
_MOST_INDEX_BYTES = 16 * 2**20
_SIGN = "post_quant_conv.weight"


def weight_file(folder: Path) -> Path:
    """The weight file of a saved model or pipeline: of its VQGAN, wherever in the folder it lies.

    Of a model in several files it is the one with the VQGAN. Raises: ModelError if there is none.
    """
    names = [f"{stem}{suffix}" for stem in _STEMS for suffix in _SUFFIXES]
    candidates = (folder / part / name for part in _PARTS for name in names)
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        found = next((shard for index in sorted(folder.glob("*.index.json")) if (shard := _shard(index))), None)
    if found is None:
        raise ModelError(
            f"the folder {folder.name} holds no weights under a name that diffusers or transformers give them",
            hint="name the weight file itself",
        )
    return found


def _shard(index: Path) -> Path | None:
    """The file of a split model that an index says the VQGAN is in, if the index can be read and it is there."""
    try:
        with index.open("rb") as file:
            listed: Any = json.loads(file.read(_MOST_INDEX_BYTES))["weight_map"]
        named = {listed[name] for name in listed if name.endswith(_SIGN)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if len(named) != 1 or not isinstance(name := named.pop(), str) or Path(name).name != name:
        return None
    path = index.parent / name
    if not path.is_file():
        raise ModelError(f"{clean(name)[:80]}, which holds the VQGAN, is not in {index.parent.name}")
    return path
