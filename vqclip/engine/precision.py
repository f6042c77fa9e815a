"""In which numbers to compute: bfloat16 where the hardware multiplies it fast, float32 elsewhere."""

from __future__ import annotations

from typing import Literal

import torch

_FAST_BF16 = ("avx512_bf16", "amx_bf16")


def choose_dtype(device: torch.device | str, wanted: Literal["auto", "float32", "bfloat16"] = "auto") -> torch.dtype:
    """The number format for the models on a device; "auto" looks at what the hardware is fast at.

    What of a VQGAN stays float32 even so is said by `VQGAN.cast`.
    """
    if wanted != "auto":
        return torch.float32 if wanted == "float32" else torch.bfloat16
    return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32


def capability() -> str:
    """What this processor's fast paths are made for, in a word: on another kind the last bits of a picture differ."""
    known = torch.cpu.get_capabilities()
    return "+".join([torch.backends.cpu.get_cpu_capability(), *(name for name in _FAST_BF16 if known.get(name))])


def has_fast_bfloat16(device: torch.device | str) -> bool:
    """Whether a device multiplies bfloat16 faster than float32 (CPU: avx512_bf16 or amx)."""
    kind = torch.device(device).type
    if kind == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in _FAST_BF16)
    return kind == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
