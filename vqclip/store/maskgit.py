"""Reads MaskGIT's VQGAN: no attention, no biases, and an odd shortcut that folds into its convolutions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor

from vqclip.configs import VQGANConfig
from vqclip.store.keymaps import kept_parts, padded, renamed, with_biases
from vqclip.store.shapes import infer_config

_LEVEL = re.compile(r"encoder\.down\.(\d{1,3})\.block\.(\d+)\.conv2\.weight$")


def read_maskgit(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any] | None, label: str
) -> tuple[VQGANConfig, dict[str, Tensor]]:
    """A MaskGIT VQGAN: its shape, and its weights as a taming decoder needs them to do the same.

    Its shortcut acts on the block's output, h + W h, and not on its input: that is one convolution, with nothing left
    for a shortcut to do. Its average pooling is a strided convolution of fixed weights. Pictures are in [0, 1].
    Raises: ModelError if the shapes make no sense.
    """
    weights = renamed(kept_parts(tensors), [(r"\.upsample_conv\.", ".upsample.conv.")])
    middle = sorted({int(found[1]) for name in weights if (found := re.match(r"decoder\.mid\.(\d{1,3})\.", name))})
    weights = renamed(weights, [(rf"\.mid\.{number}\.", f".mid.block_{number + 1}.") for number in middle])
    weights |= _folded(weights) | _pooling(weights)
    if "encoder.conv_out.weight" in weights:
        weights["encoder.conv_out.weight"] = padded(weights["encoder.conv_out.weight"])
    weights = with_biases(weights)
    return infer_config(weights, label, picture_range="unit"), weights


def _folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For each shortcut W after conv2: conv2 + W conv2 in its place, and a shortcut that adds nothing."""
    found = {}
    for name, shortcut in weights.items():
        if not name.endswith(".nin_shortcut.weight"):
            continue
        block = name.removesuffix("nin_shortcut.weight")
        first, second = weights.get(f"{block}conv1.weight"), weights.get(f"{block}conv2.weight")
        if not (_is_kernel(first) and _is_kernel(second)) or shortcut.shape != (*second.shape[:1] * 2, 1, 1):
            continue  # the shape check will say what is wrong
        mix = shortcut.flatten(1).double() + torch.eye(len(shortcut), dtype=torch.float64)
        found[f"{block}conv2.weight"] = torch.einsum("om,miyx->oiyx", mix, second.double()).float()
        found[name] = shortcut.new_zeros(first.shape[0], first.shape[1], 1, 1)
    return found


def _is_kernel(tensor: Tensor | None) -> TypeGuard[Tensor]:
    """Whether this is a 3x3 kernel: what is made from its shape is then no larger than itself."""
    return tensor is not None and tensor.ndim == 4 and tensor.shape[2:] == (3, 3) and tensor.numel() > 0


def _pooling(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean of 2x2 pixels as a 3x3 convolution of stride 2, for every level of the encoder but the last."""
    levels = {int(found[1]): len(t) for name, t in weights.items() if (found := _LEVEL.match(name)) and _is_kernel(t)}
    pooling = {}
    for level in sorted(levels)[:-1]:
        kernel = torch.zeros(levels[level], levels[level], 3, 3)
        kernel[:, :, :2, :2] = torch.eye(levels[level])[:, :, None, None] / 4
        pooling[f"encoder.down.{level}.downsample.conv.weight"] = kernel
    return pooling
