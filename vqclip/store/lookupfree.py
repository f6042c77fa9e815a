"""Reads the lookup-free VQGANs, whose codes are signs: Open-MAGVIT2's and Show-o's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vqclip.configs import VQGANConfig
from vqclip.errors import ModelError
from vqclip.store.keymaps import kept_parts, padded, renamed, with_biases
from vqclip.store.shapes import MOST_BITS, infer_config, shape_of

SIGN_POWERS = "quantize.powers"
_MAGVIT = (
    (r"\.mid_block\.(\d+)\.", r".mid_\1."),
    (r"\.downsample\.(weight|bias)$", r".downsample.conv.\1"),
    (r"\.upsample\.conv1\.", ".upsample.conv."),
    (r"^decoder\.adaptive\.(\d+)\.", r"decoder.up.\1.adaptive."),
)
_SHOWO = ((r"^encoder\.quant_conv\.", "quant_conv."), (r"^decoder\.post_quant_conv\.", "post_quant_conv."))


def read_magvit(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any] | None, label: str
) -> tuple[VQGANConfig, dict[str, Tensor]]:
    """An Open-MAGVIT2 VQGAN: its shape, and its weights under taming's names. Its first channel is the lowest bit.

    Raises: ModelError if the shapes make no sense.
    """
    weights = renamed(_without_codebook(tensors), _MAGVIT)
    weights = renamed(weights, [(rf"\.mid_{number}\.", f".mid.block_{number + 1}.") for number in range(16)])
    for name in [name for name in weights if ".upsample.conv." in name]:
        weights[name] = _cells_innermost(weights[name])
    if "encoder.conv_out.weight" in weights:
        weights["encoder.conv_out.weight"] = padded(weights["encoder.conv_out.weight"])
    bits = _bits(weights, label)
    weights = with_biases(weights) | {SIGN_POWERS: 2 ** torch.arange(bits)}
    return infer_config(weights, label, **_facts(bits)), weights


def read_showo(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any] | None, label: str
) -> tuple[VQGANConfig, dict[str, Tensor]]:
    """Show-o's VQGAN: its shape, and its weights under taming's names. Its first channel is the highest bit.

    Raises: ModelError if the shapes make no sense.
    """
    weights = renamed(_without_codebook(tensors), _SHOWO)
    bits = _bits(weights, label)
    weights[SIGN_POWERS] = 2 ** torch.arange(bits).flip(0)
    return infer_config(weights, label, **_facts(bits)), weights


def _without_codebook(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Signs need no table, though some files list all of them."""
    return {name: tensor for name, tensor in kept_parts(tensors).items() if not name.startswith("quantize.")}


def _bits(weights: Mapping[str, Tensor], label: str) -> int:
    bits = shape_of(weights, "decoder.conv_in.weight", label, 4)[1]
    if bits > MOST_BITS:
        raise ModelError(f"{label}: codes of {bits} bits are more than the {MOST_BITS} that vqclip takes")
    return bits


def _facts(bits: int) -> dict[str, Any]:
    return {"quantizer": "sign", "codes": 2**bits, "embedding_channels": bits}


def _cells_innermost(tensor: Tensor) -> Tensor:
    """A weight or bias [4C, ...] with the four cells of each channel together, and not the channels of each cell."""
    if not tensor.numel() or not tensor.ndim or tensor.shape[0] % 4:
        return tensor  # the shape check will say what is wrong
    return tensor.unflatten(0, (4, -1)).transpose(0, 1).flatten(0, 1)
