"""Writers of the later families' layouts: for each, what its files cannot hold is first taken out of a model."""

from __future__ import annotations

import re

import torch
from layouts import Weights, renamed
from torch import Tensor

_NO_BIAS = re.compile(r"(\.block\.\d+|\.mid\.block_\d+)\.(conv1|conv2|nin_shortcut)\.bias$|^encoder\.conv_in\.bias$")
_MIDDLE = [(rf"\.mid\.block_{number + 1}\.", number) for number in range(4)]


def centered(kernel: Tensor) -> Tensor:
    """A 3x3 kernel that looks at its middle only."""
    middle = torch.zeros_like(kernel)
    middle[:, :, 1, 1] = kernel[:, :, 1, 1]
    return middle


def without_biases(weights: Weights) -> dict[str, Tensor]:
    """A model as MaskGIT and Open-MAGVIT2 know it: few biases, and an encoder that ends in a 1x1 convolution."""
    found = {name: torch.zeros_like(t) if _NO_BIAS.search(name) else t for name, t in weights.items()}
    return found | {"encoder.conv_out.weight": centered(weights["encoder.conv_out.weight"])}


def of_maskgit(weights: Weights) -> dict[str, Tensor]:
    """A model that MaskGIT's files can hold: also nothing beside a block, and averages between the levels."""
    found = without_biases(weights)
    for name, tensor in weights.items():
        if ".nin_shortcut." in name or name.endswith(".downsample.conv.bias"):
            found[name] = torch.zeros_like(tensor)
        elif name.endswith(".downsample.conv.weight"):
            found[name] = torch.zeros_like(tensor)
            found[name][:, :, :2, :2] = torch.eye(len(tensor))[:, :, None, None] / 4
    return found


def as_maskgit(weights: Weights) -> dict[str, Tensor]:
    """MaskGIT: a shortcut W that acts on the block's output, here so that h + W h turns the channels round, doubled."""
    found = {name: t for name, t in weights.items() if not _NO_BIAS.search(name) and ".downsample." not in name}
    for name in [name for name in weights if name.endswith(".nin_shortcut.weight")]:
        second = f"{name.removesuffix('nin_shortcut.weight')}conv2.weight"
        size = len(weights[second])
        found[name] = (2 * torch.eye(size).flip(0) - torch.eye(size))[:, :, None, None]
        found[second] = weights[second].flip(0) / 2
    found["encoder.conv_out.weight"] = found["encoder.conv_out.weight"][:, :, 1:2, 1:2]
    rules = [(r"\.upsample\.conv\.", ".upsample_conv."), *((old, f".mid.{n}.") for old, n in _MIDDLE)]
    return renamed(found, rules)


def as_magvit(weights: Weights) -> dict[str, Tensor]:
    """Open-MAGVIT2: no codebook, and the four cells of an upsampling one after the other."""
    found = {n: t for n, t in weights.items() if not _NO_BIAS.search(n) and not n.startswith("quantize.")}
    for name in [name for name in found if ".upsample.conv." in name]:
        found[name] = found[name].unflatten(0, (-1, 4)).transpose(0, 1).flatten(0, 1)
    found["encoder.conv_out.weight"] = found["encoder.conv_out.weight"][:, :, 1:2, 1:2]
    rules = [
        (r"\.downsample\.conv\.", ".downsample."),
        (r"\.upsample\.conv\.", ".upsample.conv1."),
        (r"^decoder\.up\.(\d+)\.adaptive\.", r"decoder.adaptive.\1."),
        *((old, f".mid_block.{n}.") for old, n in _MIDDLE),
    ]
    return renamed(found, rules)


def of_showo(weights: Weights) -> dict[str, Tensor]:
    """A model whose first channel is the highest bit, as Show-o's is."""
    return {**weights, "quantize.powers": weights["quantize.powers"].flip(0)}


def as_showo(weights: Weights) -> dict[str, Tensor]:
    """Show-o: no codebook, and the convolutions around it inside the halves."""
    found = {name: tensor for name, tensor in weights.items() if not name.startswith("quantize.")}
    rules = [(r"^quant_conv\.", "encoder.quant_conv."), (r"^post_quant_conv\.", "decoder.post_quant_conv.")]
    return renamed(found, rules)


def as_ibq(weights: Weights) -> dict[str, Tensor]:
    """IBQ: every weight twice, raw and averaged, the averages under names without dots."""
    raw = {name: tensor + 1 for name, tensor in weights.items()}
    means = {f"model_ema.{name.replace('.', '')}": tensor for name, tensor in weights.items()}
    return raw | means | {"model_ema.decay": torch.tensor(0.999)}


def of_var(weights: Weights, dtype: torch.dtype) -> dict[str, Tensor]:
    """A model whose smoothing is half of what `dtype` can hold and half nothing, as VAR's is."""
    return {n: _half(_whole(t).to(dtype).float()) if ".mixers." in n else t for n, t in weights.items()}


def as_var(weights: Weights) -> dict[str, Tensor]:
    """VAR: attention's three matrices in one, and the whole of each smoothing."""
    found = {name: _whole(t) if ".mixers." in name else t for name, t in weights.items()}
    for name in [name for name in found if re.search(r"attn[._]\d+\.q\.", name)]:
        parts = [found.pop(re.sub(r"\.q\.", f".{part}.", name)) for part in "qkv"]
        found[re.sub(r"\.q\.", ".qkv.", name)] = torch.cat(parts)
    return renamed(found, [(r"^quantize\.mixers\.", "quantize.quant_resi.qresi_ls.")])


def _identity(tensor: Tensor) -> Tensor:
    same = torch.zeros_like(tensor)
    if tensor.ndim == 4:
        same[:, :, 1, 1] = torch.eye(len(tensor))
    return same


def _whole(tensor: Tensor) -> Tensor:
    return 2 * tensor - _identity(tensor)


def _half(tensor: Tensor) -> Tensor:
    return (tensor + _identity(tensor)) / 2
