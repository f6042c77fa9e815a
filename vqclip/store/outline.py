"""The shapes of models without their weights and without torch: for plans that are made before anything is loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vqclip.configs import VQGANConfig
from vqclip.errors import ModelError
from vqclip.store.clipconfig import checked_clip_config
from vqclip.store.clips import clip_name
from vqclip.store.folder import in_folder
from vqclip.store.registry import Model, find, is_path
from vqclip.store.shapes import checked_config
from vqclip.store.starter import starter_path

MOST_HEADER_BYTES = 16 * 2**20
USUAL = {16: {}, 8: {"multipliers": (1, 1, 2, 4), "attention_levels": (3,), "codes": 8192, "quantizer": "gumbel"}}


def vqgan_outline(name: str) -> VQGANConfig | None:
    """The shape of a VQGAN by name or path: from the header of our own files, else the usual shape of a taming model.

    None where it shows only when the model is loaded. Raises: ModelError if that header makes no sense.
    """
    path = _file(name, "vqgan")
    header = _header(path) if path else {}
    if path is None or "config" not in header:
        return _usual(find(name))
    if "network" in header:
        return None  # a shape of another kind
    if not isinstance(header["config"], dict):
        raise ModelError(f"{path.name}: its header has no config")
    return checked_config(header["config"], path.name)


def clip_outline(name: str) -> Mapping[str, Any] | None:
    """open_clip's config of a CLIP by name or path, or None where it is not known beforehand.

    Raises: ModelError if it stands in the header of one of our own files, and makes no sense.
    """
    text = clip_name(name)
    path = _file(text, "clip")
    if path:
        header = _header(path)
        return checked_clip_config(header["config"], path.name) if "config" in header else None
    spec = find_spec("open_clip")  # finds the package without importing it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / "model_configs" / f"{Path(text.partition('/')[0]).name}.json"
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
    return None


def _usual(model: Model) -> VQGANConfig | None:
    if model.family != "taming" or model.stride not in USUAL:
        return None
    codes = model.name.rpartition("-")[2]
    return VQGANConfig(**{"codes": int(codes) if codes.isdigit() else 16384, **USUAL[model.stride]})


def _file(name: str, kind: str) -> Path | None:
    try:
        if name == "starter":
            return starter_path(kind)
        path = Path(os.path.expanduser(name)) if is_path(name) else None
        return path if path and path.is_file() else in_folder(name)
    except (ModelError, OSError):
        return None


def _header(path: Path) -> dict[str, Any]:
    """The `vqclip` entry of a safetensors header, or {}."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= MOST_HEADER_BYTES else b"{}"
        header = json.loads(json.loads(text).get("__metadata__", {}).get("vqclip", "{}"))
        return header if isinstance(header, dict) else {}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
