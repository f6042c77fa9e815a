"""Configs of CLIPs from strangers, checked value by value; needs no torch."""

from __future__ import annotations

from typing import Any

from vqclip.errors import ModelError
from vqclip.words import clean

VOCABULARY = 49408
_FOREIGN = ("timm_model_name", "hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs", "act_kwargs", "norm_kwargs")
_LARGEST = {
    "layers": 64,
    "width": 4096,
    "heads": 64,
    "image_size": 1024,
    "context_length": 1024,
}


def checked_clip_config(config: Any, label: str) -> dict[str, Any]:
    """Lets through only a config that builds open_clip's own towers, of a bounded size. Raises: ModelError."""
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
        raise ModelError(f"{label}: its header has no CLIP config")
    for part in (config, config["vision_cfg"], config["text_cfg"]):
        if not isinstance(part, dict):
            raise ModelError(f"{label}: its CLIP config is damaged")
        for name, value in part.items():
            if name in _FOREIGN or not _bounded(name, value):
                raise ModelError(f"{label}: its CLIP config has {clean(repr((name, value)))[:100]}")
    return config


def _bounded(name: str, value: Any) -> bool:
    if isinstance(value, dict):
        return name in ("vision_cfg", "text_cfg")
    if isinstance(value, list):
        return len(value) <= 4 and all(_bounded(name, part) and not isinstance(part, list | dict) for part in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0 <= value <= _LARGEST.get(name, VOCABULARY)
    return value is None or isinstance(value, bool) or (isinstance(value, str) and len(value) <= 40)
