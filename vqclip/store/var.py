"""Reads VAR's tokenizer, which sums up codes found on grids of growing size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vqclip.configs import VQGANConfig
from vqclip.errors import ModelError
from vqclip.store.documents import wholes
from vqclip.store.keymaps import kept_parts, renamed
from vqclip.store.shapes import MOST_SCALES, infer_config
from vqclip.words import counted

SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
_HITS = "quantize.ema_vocab_hit_SV"
_SHARE = 0.5
_RULES = ((r"^quantize\.quant_resi\.qresi_ls\.", "quantize.mixers."),)
_MIXER = re.compile(r"quantize\.mixers\.\d+\.(weight|bias)$")


def read_var(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any] | None, label: str
) -> tuple[VQGANConfig, dict[str, Tensor]]:
    """VAR's tokenizer: its shape, and its weights under taming's names.

    The scales are the published ones unless the config lists others as v_patch_nums. Its smoothing is half the
    identity and half a convolution, which is one convolution. Raises: ModelError if the file was made for another
    number of scales.
    """
    document = document or {}
    params = document["params"] if isinstance(document.get("params"), dict) else document
    scales = wholes(params.get("v_patch_nums", SCALES), "v_patch_nums", 4096, label, most=MOST_SCALES)
    made_for = tensors[_HITS].shape[:1].numel() if _HITS in tensors else len(scales)
    if made_for != len(scales):
        raise ModelError(
            f"{label} works on {counted(made_for, 'scale')}, and which is not known",
            hint="name a config that lists them as v_patch_nums",
        )
    kept = {name: tensor for name, tensor in kept_parts(tensors).items() if name != _HITS}
    weights = _split(renamed(kept, _RULES))
    for name in [name for name in weights if _MIXER.match(name)]:
        weights[name] = _blended(weights[name])
    return infer_config(weights, label, quantizer="residual", scales=scales), weights


def _split(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value, stored as one weight, apart."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        head, joined, tail = name.partition(".qkv.")
        if joined and tensor.ndim:
            found |= {f"{head}.{part}.{tail}": piece for part, piece in zip("qkv", tensor.chunk(3), strict=False)}
        else:
            found[name] = tensor
    return found


def _blended(tensor: Tensor) -> Tensor:
    """The weight or bias of x + share * (conv(x) - x), as one convolution's."""
    blended = _SHARE * tensor.float()
    if tensor.ndim == 4 and tensor.shape[2:] == (3, 3):
        blended[:, :, 1, 1] += (1 - _SHARE) * torch.eye(*tensor.shape[:2])
    return blended
