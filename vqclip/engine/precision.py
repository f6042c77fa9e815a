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
    """Whether a device multiplies bfloat16 faster than float32.

    CPU: by amx, or by avx512_bf16 where that is more than a convenience: Intel's alone takes twice the time of float32.
    """
    kind = torch.device(device).type
    if kind == "cpu":
        known = torch.cpu.get_capabilities()
        by_vectors = known.get("avx512_bf16", False) and not str(known.get("cpu_name", "")).startswith("Intel")
        return known.get("amx_bf16", False) or by_vectors
    return kind == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
