"""Quicker equivalents of the layers in a frozen picture tower: the same numbers, in less time and memory."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vqclip.models.blocks import attend

QUICK = 1.702
SMALLEST_PATCH = 8


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
        batch, count, channels = query.shape
        tokens = F.linear(query.reshape(-1, channels), self.in_proj_weight, self.in_proj_bias)
        parts = tokens.view(batch, count, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        mixed = attend(*parts.unbind(0)).transpose(1, 2).reshape(-1, channels)
        return F.linear(mixed, self.out_proj.weight, self.out_proj.bias).view(batch, count, channels), None


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
    """Replaces what it can in a frozen tower, in place, and returns it: attention, patches, QuickGELU and batch norms.

    Call it in float32, before any cast. What it does not know it leaves alone.
    """
    for parent in list(tower.modules()):
        _fold_quick_gelu(parent)
        _fold_batch_norms(parent)
        for name, child in list(parent.named_children()):
            if _looks_at_itself(child):
                setattr(parent, name, SelfAttention(child))
            elif _is_patchwise(child):
                setattr(parent, name, PatchProjection(child))
            elif type(child).__name__ == "AttentionPool2d" and hasattr(child, "positional_embedding"):
                setattr(parent, name, ClassAttentionPool(child))
    return tower


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


def _fold_quick_gelu(block: nn.Module) -> None:
    """x sigmoid(1.702 x) = silu(1.702 x) / 1.702: the factors go into the layers before and after."""
    parts = dict(block.named_children())
    if list(parts) != ["c_fc", "gelu", "c_proj"] or type(parts["gelu"]).__name__ != "QuickGELU":
        return
    parts["c_fc"].weight.mul_(QUICK)
    parts["c_fc"].bias.mul_(QUICK)
    parts["c_proj"].weight.div_(QUICK)
    block.gelu = nn.SiLU()


def _fold_batch_norms(block: nn.Module) -> None:
    """A batch norm that no longer learns is a factor and an offset: both go into the convolution before it."""
    parts = dict(block.named_children())
    pairs = [(f"conv{n}", f"bn{n}") for n in (1, 2, 3)] + [("0", "1")]
    for conv, norm in pairs:
        if type(parts.get(conv)) is nn.Conv2d and type(parts.get(norm)) is nn.BatchNorm2d:
            setattr(block, conv, fuse_conv_bn_eval(parts[conv].eval(), parts[norm].eval()))
            setattr(block, norm, nn.Identity())
