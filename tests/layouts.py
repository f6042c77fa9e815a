"""Writers of foreign layouts: a model of ours as other families' files have it, for tests of their readers."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]

_DIFFUSERS = (
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"^encoder\.down\.", "encoder.down_blocks."),
    (r"^decoder\.up\.", "decoder.up_blocks."),
    (r"\.block\.", ".resnets."),
    (r"\.attn\.", ".attentions."),
    (r"\.downsample\.", ".downsamplers.0."),
    (r"\.upsample\.", ".upsamplers.0."),
    (r"\.norm_out\.", ".conv_norm_out."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"(\.attentions\.\d+)\.norm\.", r"\1.group_norm."),
)
_NEW = (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0"))
_OLD = (("q", "query"), ("k", "key"), ("v", "value"), ("proj_out", "proj_attn"))


def as_taming(weights: Weights) -> dict[str, Tensor]:
    """As they are, with the leftovers of a training."""
    return {**weights, "loss.discriminator.main.0.weight": torch.zeros(1)}


def as_movq(weights: Weights) -> dict[str, Tensor]:
    """MOVQ in its authors' own names, which are taming's, beside other weights of its pipeline."""
    return {**weights, "scheduler.betas": torch.zeros(1)}


def as_first_stage(weights: Weights) -> dict[str, Tensor]:
    """Inside a larger model, beside another VQGAN that is not meant."""
    inside = {f"first_stage_model.{name}": tensor for name, tensor in weights.items()}
    other = {f"cond_stage_model.{name}": tensor + 1 for name, tensor in weights.items()}
    return {**other, **inside, "model.diffusion_model.out.weight": torch.zeros(1)}


def as_vitvqgan(weights: Weights) -> dict[str, Tensor]:
    """ViT-VQGAN: its own names around the codebook, and linear layers there in place of convolutions."""
    rules = ((r"^quant_conv\.", "pre_quant."), (r"^post_quant_conv\.", "post_quant."), (r"^quantize\.", "quantizer."))
    return {name: t.flatten(1) if t.shape[2:] == (1, 1) else t for name, t in renamed(weights, rules).items()}


def as_llamagen(weights: Weights) -> dict[str, Tensor]:
    """LlamaGen: levels of the decoder from the lowest on, the middle's layers numbered through."""
    last = "2" if "decoder.mid.attn_1.q.weight" in weights else "1"
    rules = (
        (r"\.mid\.block_1\.", ".mid.0."),
        (r"\.mid\.attn_1\.", ".mid.1."),
        (r"\.mid\.block_2\.", f".mid.{last}."),
        (r"^(encoder\.down|decoder\.up)\.(\d+)\.block\.", r"\1.\2.res."),
        (r"^encoder\.down\.", "encoder.conv_blocks."),
        (r"^decoder\.up\.", "decoder.conv_blocks."),
    )
    return {**renamed(upside_down(weights), rules), "quantize.codebook_used": torch.zeros(9)}


def as_janus(weights: Weights) -> dict[str, Tensor]:
    """Janus as transformers has it: taming's names in a larger model, levels of the decoder from the lowest on."""
    inside = {f"model.vqmodel.{name}": tensor for name, tensor in upside_down(weights).items()}
    return {**inside, "lm_head.weight": torch.zeros(2, 2)}


def as_diffusers(weights: Weights) -> dict[str, Tensor]:
    """diffusers of today: attention as matrices."""
    return _diffusers(weights, _NEW)


def as_old_diffusers(weights: Weights) -> dict[str, Tensor]:
    """diffusers of its first year."""
    return _diffusers(weights, _OLD)


def upside_down(weights: Weights) -> dict[str, Tensor]:
    """The decoder's levels counted from the other end."""
    last = max(int(found[1]) for name in weights if (found := re.match(r"decoder\.up\.(\d+)", name)))
    return {
        re.sub(r"^decoder\.up\.(\d+)", lambda m: f"decoder.up.{last - int(m[1])}", n): t for n, t in weights.items()
    }


def as_flax(weights: Weights) -> bytes:
    """A flax msgpack file; the largest array is cut into chunks."""
    tree: dict[str, Any] = {}
    largest = max(weights, key=lambda name: weights[name].numel())
    for name, tensor in weights.items():
        path = re.sub(r"\b(down|up|block|attn)\.(\d+)", r"\1_\2", name).split(".")
        leaf, array = path[-1], tensor
        if leaf == "weight":
            leaf = "embedding" if "embedding" in path else "scale" if tensor.ndim == 1 else "kernel"
            array = tensor.permute(2, 3, 1, 0).contiguous() if tensor.ndim == 4 else tensor
        branch = tree
        for step in path[:-1]:
            branch = branch.setdefault(step, {})
        branch[leaf] = chunked(array) if name == largest else array
    return packed(tree)


def chunked(array: Tensor) -> dict[str, Any]:
    """An array in two pieces, as flax writes those that are too large for one."""
    flat = array.flatten()
    halves = flat[: len(flat) // 2], flat[len(flat) // 2 :]
    shape = {str(place): side for place, side in enumerate(array.shape)}
    return {"__msgpack_chunked_array__": True, "shape": shape, "chunks": {"0": halves[0], "1": halves[1]}}


def packed(value: Any) -> bytes:
    """A value as msgpack; a tensor as flax's extension for arrays."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value)
    if isinstance(value, str):
        return struct.pack(">BH", 0xDA, len(value)) + value.encode()
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, list):
        return struct.pack(">BH", 0xDC, len(value)) + b"".join(map(packed, value))
    if isinstance(value, dict):
        return struct.pack(">BH", 0xDE, len(value)) + b"".join(packed(k) + packed(v) for k, v in value.items())
    inside = packed([list(value.shape), str(value.dtype).removeprefix("torch."), value.numpy().tobytes()])
    return struct.pack(">BIb", 0xC9, len(inside), 1) + inside


def _diffusers(weights: Weights, names: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    rules = [*_DIFFUSERS, *((rf"(\.attentions\.\d+)\.{ours}\.", rf"\1.{theirs}.") for ours, theirs in names)]
    found = renamed(upside_down(weights), rules)
    return {name: t.flatten(1) if ".attentions." in name and t.ndim == 4 else t for name, t in found.items()}


def renamed(weights: Weights, rules: Any) -> dict[str, Tensor]:
    found = {}
    for name, tensor in weights.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    return found
