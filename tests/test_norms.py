"""The group norm for inner channels is torch's, in value and gradient."""

import pytest
import torch
import torch.nn.functional as F

from vqclip.models.blocks import GroupNorm
from vqclip.ops.norms import group_norm_inner


@pytest.mark.parametrize("groups", [1, 4, 16])
def test_it_equals_torchs_group_norm_with_all_gradients(groups: int) -> None:
    rng = torch.Generator().manual_seed(groups)
    x, slope = (torch.randn(2, 16, 5, 7, generator=rng, dtype=torch.float64) * 2 + 1 for _ in range(2))
    weight, bias = (torch.randn(16, generator=rng, dtype=torch.float64) for _ in range(2))

    def inner(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        cells = group_norm_inner(x.permute(0, 2, 3, 1).reshape(2, 35, 16), groups, weight, bias, 1e-6)
        return cells.view(2, 5, 7, 16).permute(0, 3, 1, 2)

    results = []
    for norm in (inner, lambda x, w, b: F.group_norm(x, groups, w, b, 1e-6)):
        leaves = [leaf.clone().requires_grad_() for leaf in (x, weight, bias)]
        y = norm(*leaves)
        results.append([y.detach(), *torch.autograd.grad(y, leaves, slope)])
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_layout_does_not_change_what_a_block_answers() -> None:
    norm = GroupNorm(8, 16)
    x = torch.randn(1, 16, 6, 6)
    assert torch.allclose(norm(x), norm(x.contiguous(memory_format=torch.channels_last)), atol=1e-5)


def test_half_precision_gradients_stay_near_the_exact_ones() -> None:
    x = torch.randn(1, 32, 32, 32) + 0.5
    slope = torch.randn_like(x)
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        norm = GroupNorm(8, 32).to(dtype)
        leaf = x.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
        grads.append(torch.autograd.grad(norm(leaf), leaf, slope.to(dtype))[0].float().flatten())
    assert F.cosine_similarity(*grads, dim=0) > 0.999
