"""Quicker equivalents of the layers in a frozen picture tower: the same numbers, in less time and memory."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vqclip.models.blocks import attend

QUICK = 1.702
SMALLEST_PATCH = 8
CLOSE = 1e-4
_PROBE_TOKENS, _PROBE_SIDE = 5, 9


class SelfAttention(nn.Module):
    """Takes the place of a batch-first nn.MultiheadAttention that looks at itself.

    torch's own turns the tokens around first, after which every linear layer copies its weights once for each picture.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        self.in_proj_weight = attention.in_proj_weight
        self.in_proj_bias = attention.in_proj_bias
        self.out_proj = attention.out_proj

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **_: Any) -> tuple[Tensor, None]:
        """Tokens [B, N, C], given three times over -> (mixed tokens [B, N, C], None)."""
        return self._mixed(self._parts(query, 0, 3)), None

    def first(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, C] -> the first of the mixed tokens [B, 1, C], without working out the others."""
        return self._mixed([*self._parts(tokens[:, :1], 0, 1), *self._parts(tokens, 1, 3)])

    def _parts(self, tokens: Tensor, start: int, end: int) -> list[Tensor]:
        """Those of query, key and value from the `start`-th to before the `end`-th, each [B, heads, N, C / heads]."""
        batch, count, channels = tokens.shape
        rows = slice(start * channels, end * channels)
        bias = None if self.in_proj_bias is None else self.in_proj_bias[rows]
        made = F.linear(tokens.reshape(-1, channels), self.in_proj_weight[rows], bias)
        shape = (batch, count, end - start, self.heads, channels // self.heads)
        return list(made.view(shape).permute(2, 0, 3, 1, 4).unbind(0))

    def _mixed(self, parts: list[Tensor]) -> Tensor:
        mixed = attend(*parts).transpose(1, 2)
        batch, count = mixed.shape[:2]
        return self.out_proj(mixed.reshape(batch * count, -1)).view(batch, count, -1)


class ClassTokenBlock(nn.Module):
    """Takes the place of the last block of a tower that answers with its class token: only that is worked out."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ls_1 = block.ln_1, block.attn, block.ls_1
        self.ln_2, self.mlp, self.ls_2 = block.ln_2, block.mlp, block.ls_2

    def forward(self, tokens: Tensor, **_: Any) -> Tensor:
        """Tokens [B, N, C] -> the class token [B, 1, C]."""
        first = tokens[:, :1] + self.ls_1(self.attn.first(self.ln_1(tokens)))
        return first + self.ls_2(self.mlp(self.ln_2(first)))


class PatchProjection(nn.Module):
    """Takes the place of a convolution whose patches do not overlap: one matrix product, and one again backwards."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight
        self.bias = conv.bias

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, 3, H, W] -> features [B, C, H/patch, W/patch]."""
        batch, channels, height, width = image.shape
        side = self.weight.shape[-1]
        grid = image.reshape(batch, channels, height // side, side, width // side, side)
        patches = grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels * side * side)
        features = F.linear(patches, self.weight.flatten(1), self.bias)
        return features.view(batch, height // side, width // side, -1).permute(0, 3, 1, 2)


class ClassAttentionPool(nn.Module):
    """Takes the place of open_clip's AttentionPool2d, whose answer is its first token: only that is asked."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.heads = pool.num_heads
        self.positional_embedding = pool.positional_embedding
        self.q_proj, self.k_proj, self.v_proj, self.c_proj = pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, h, w] -> pooled [B, D]."""
        tokens = features.flatten(2).mT
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + self.positional_embedding
        query = self._split(self.q_proj(tokens[:, :1]))
        mixed = attend(query, self._split(self.k_proj(tokens)), self._split(self.v_proj(tokens)))
        return self.c_proj(mixed.flatten(1))

    def _split(self, tokens: Tensor) -> Tensor:
        batch, count, channels = tokens.shape
        return tokens.view(batch, count, self.heads, channels // self.heads).transpose(1, 2)


@torch.no_grad()
def quicken(tower: nn.Module) -> nn.Module:
    """Replaces what it can in a frozen tower, in place, and returns it: attention, patches, QuickGELU, norms that are
    but factors, and all of the last block that the answer does not need.

    Each replacement first has to give the numbers of what it replaces, on tokens or maps made up for that. What does
    not, and what is not known, is left alone, as is a tower that was cast already. Call it while it is on the CPU.
    """
    if any(parameter.dtype is not torch.float32 for parameter in tower.parameters()):
        return tower
    _fold_batch_norms(tower)
    for name in [name for name, _ in tower.named_children()]:  # no list of layers: each goes when it is replaced
        child = tower.get_submodule(name)
        quicker = _quicker(child)
        if quicker is not None:
            setattr(tower, name, quicker)
        elif type(child).__name__ != "AttentionalPooler":  # its attention looks from few tokens at others
            quicken(child)
    _keep_class_token(tower)
    return tower


def _quicker(layer: nn.Module) -> nn.Module | None:
    """A quicker layer that was seen to give the same numbers, or None."""
    if _looks_at_itself(layer):
        quick: nn.Module = SelfAttention(layer)
        return quick if _agree(lambda x: layer(x, x, x)[0], lambda x: quick(x, x, x)[0], layer.embed_dim) else None
    if _is_patchwise(layer):
        quick, sides = PatchProjection(layer), (layer.in_channels, *(2 * layer.kernel_size[0],) * 2)
    elif type(layer).__name__ == "AttentionPool2d" and hasattr(layer, "positional_embedding"):
        count, channels = layer.positional_embedding.shape
        quick, sides = ClassAttentionPool(layer), (channels, *(math.isqrt(count - 1),) * 2)
    elif _has_quick_gelu(layer):
        quick, sides = _without_quick_gelu(layer), (layer.c_fc.in_features,)
    elif _is_block(layer) and not hasattr(layer, "ln_1_kv") and _looks_at_itself(layer.attn):
        quick, sides = _without_factors(layer), (layer.ln_1.normalized_shape[0],)
    else:
        return None
    return quick if _agree(layer, quick, *sides) else None


def _agree(old: Callable[[Tensor], Tensor], new: Callable[[Tensor], Tensor], *sides: int) -> bool:
    """Whether two layers answer alike to made-up maps [1, C, H, W] of these sides, or tokens [1, 5, C]."""
    shape = (1, *sides) if len(sides) > 1 else (1, _PROBE_TOKENS, *sides)
    probe = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, after = old(probe), new(probe)
    return bool((before - after).abs().max() <= CLOSE * before.abs().max())


def _keep_class_token(tower: nn.Module) -> None:
    """Lets the last block of open_clip's own ViTs work out the class token alone, where nothing else is asked for."""
    if type(tower).__name__ != "VisionTransformer" or tower.pool_type != "tok" or tower.output_tokens:
        return
    blocks = tower.transformer.resblocks
    last = blocks[-1]
    if tower.attn_pool is None and _is_block(last) and type(last.attn) is SelfAttention:
        quick = ClassTokenBlock(last)
        if _agree(lambda x: last(x)[:, :1], quick, last.ln_1.normalized_shape[0]):
            blocks[-1] = quick


def _without_factors(block: nn.Module) -> nn.Module:
    """A copy of a transformer's block, quickened, its norms' factors and offsets gone into the layers after them."""
    made = quicken(copy.deepcopy(block))
    if type(made.attn) is SelfAttention and made.attn.in_proj_bias is not None:
        _fold_norm(made.ln_1, made.attn.in_proj_weight, made.attn.in_proj_bias)
        _fold_norm(made.ln_2, made.mlp.c_fc.weight, made.mlp.c_fc.bias)
    return made


def _fold_norm(norm: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """W (x g + b) + c = (W g) x + (W b + c)."""
    bias.add_(weight @ norm.bias)
    weight.mul_(norm.weight)
    norm.weight = norm.bias = None


def _looks_at_itself(module: nn.Module) -> bool:
    return (
        type(module) is nn.MultiheadAttention
        and module.batch_first
        and module.in_proj_weight is not None
        and module.bias_k is None
        and not module.add_zero_attn
    )


def _is_patchwise(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == module.stride
        and module.kernel_size[0] == module.kernel_size[1] >= SMALLEST_PATCH
        and module.padding == (0, 0)
        and module.dilation == (1, 1)
        and module.groups == 1
    )


def _is_block(layer: nn.Module) -> bool:
    return type(layer).__name__ == "ResidualAttentionBlock"


def _has_quick_gelu(layer: nn.Module) -> bool:
    parts = dict(layer.named_children())
    return list(parts) == ["c_fc", "gelu", "c_proj"] and type(parts["gelu"]).__name__ == "QuickGELU"


def _without_quick_gelu(layer: nn.Module) -> nn.Module:
    """x sigmoid(1.702 x) = silu(1.702 x) / 1.702: the factors go into the layers before and after, in a copy."""
    made = copy.deepcopy(layer)
    made.c_fc.weight.mul_(QUICK)
    made.c_fc.bias.mul_(QUICK)
    made.c_proj.weight.div_(QUICK)
    made.gelu = nn.SiLU()
    return made


def _fold_batch_norms(block: nn.Module) -> None:
    """A batch norm that no longer learns is a factor and an offset: both go into the convolution before it."""
    parts = dict(block.named_children())
    pairs = [(f"conv{n}", f"bn{n}") for n in (1, 2, 3)] + [("0", "1")]
    for conv, norm in pairs:
        if type(parts.get(conv)) is nn.Conv2d and type(parts.get(norm)) is nn.BatchNorm2d:
            old, fused = nn.Sequential(parts[conv], parts[norm]).eval(), fuse_conv_bn_eval(parts[conv], parts[norm])
            if _agree(old, fused, old[0].in_channels, _PROBE_SIDE, _PROBE_SIDE):
                setattr(block, conv, fused)
                setattr(block, norm, nn.Identity())
