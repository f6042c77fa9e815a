"""Weight names of other families, turned into taming's: what the readers of single families share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

_PARTS = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
_NO_MATTER = re.compile(r"quantize\.(used|codebook_used|embedding\.(cluster_size|embed_avg|initted)|cluster_size)$")
_AVERAGES = "model_ema."
_UP = re.compile(r"decoder\.up\.(\d{1,3})\.")

Rules = Iterable[tuple[str, str]]


def kept_parts(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Only what a picture needs: encoder, decoder, codebook and the convolutions around it."""
    return {name: t for name, t in tensors.items() if name.startswith(_PARTS) and not _NO_MATTER.match(name)}


def renamed(tensors: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """The tensors under new names: each rule (pattern, replacement) is applied in turn, where it matches."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    found = {}
    for name, tensor in tensors.items():
        for pattern, replacement in compiled:
            name = pattern.sub(replacement, name)
        found[name] = tensor
    return found


def reversed_up(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The decoder's levels counted from the other end: taming counts from the highest resolution, others do not."""
    last = max((int(found[1]) for name in tensors if (found := _UP.match(name))), default=0)
    return {_UP.sub(lambda found: f"decoder.up.{last - int(found[1])}.", name): t for name, t in tensors.items()}


def averaged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each in its running average where the file holds one: those are what the families judge by."""
    if not any(name.startswith(_AVERAGES) for name in tensors):
        return dict(tensors)
    return {name: tensors.get(_AVERAGES + name.replace(".", ""), tensor) for name, tensor in tensors.items()}


def squares(tensors: Mapping[str, Tensor], names: str) -> dict[str, Tensor]:
    """Matrices whose name matches become 1x1 convolutions."""
    pattern = re.compile(names)
    return {
        name: tensor[:, :, None, None] if tensor.ndim == 2 and pattern.search(name) else tensor
        for name, tensor in tensors.items()
    }


def padded(kernel: Tensor) -> Tensor:
    """A 1x1 kernel [O, I, 1, 1] as a 3x3 kernel that does the same; any other tensor as it is."""
    return torch.nn.functional.pad(kernel, (1, 1, 1, 1)) if kernel.shape[2:] == (1, 1) else kernel


def with_biases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convolutions without a bias get one of zeros."""
    found = dict(tensors)
    for name, tensor in tensors.items():
        bias = name.removesuffix("weight") + "bias"
        if name.endswith(".weight") and tensor.ndim == 4 and bias not in found:
            found[bias] = tensor.new_zeros(tensor.shape[0])
    return found
