"""Quickened CLIP towers give the same embeddings and the same gradients at the pixels as open_clip's own."""

import copy

import pytest
import torch
from torch import nn

from vqclip.models import towers
from vqclip.models.towers import ClassAttentionPool, ClassTokenBlock, PatchProjection, SelfAttention, quicken
from vqclip.store.openclip import build_clip

TEXT = {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1}
RESNET = {"layers": [1, 2, 1, 1], "width": 16, "image_size": 64, "patch_size": None}
TRANSFORMER = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 64}


def tower(vision: dict, **options) -> nn.Module:
    model = build_clip({"embed_dim": 12, "vision_cfg": vision, "text_cfg": TEXT, **options}).visual.eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator))
                module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
    return model.requires_grad_(False)


def look(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(3, 3, 64, 64, generator=generator).requires_grad_(True)
    seen = model(image)
    return seen.detach(), torch.autograd.grad(seen[:, ::2].sum(), image)[0]


@pytest.mark.parametrize(
    ("vision", "options", "replaced"),
    [
        (RESNET, {}, (ClassAttentionPool, nn.Identity)),
        (TRANSFORMER, {}, (SelfAttention, PatchProjection, ClassTokenBlock)),
        (TRANSFORMER, {"quick_gelu": True}, (SelfAttention, PatchProjection, ClassTokenBlock, nn.SiLU)),
        ({**TRANSFORMER, "layers": 1, "final_ln_after_pool": True}, {}, (SelfAttention, ClassTokenBlock)),
        ({**TRANSFORMER, "pool_type": "avg"}, {}, (SelfAttention, PatchProjection)),
        ({**TRANSFORMER, "attentional_pool": True}, {"embed_dim": 32}, (SelfAttention, PatchProjection)),
        ({**TRANSFORMER, "ls_init_value": 0.1}, {}, (SelfAttention, ClassTokenBlock)),
    ],
    ids=["resnet", "transformer", "quick-gelu", "one-block", "average", "pooling-by-attention", "scaled"],
)
def test_a_quickened_tower_sees_the_same_and_pulls_the_same_way(vision, options, replaced):
    plain = tower(vision, **options)
    quick = quicken(copy.deepcopy(plain))
    kinds = {type(module) for module in quick.modules()}
    assert kinds >= set(replaced)
    assert nn.BatchNorm2d not in kinds
    assert (ClassTokenBlock in kinds) == (ClassTokenBlock in replaced)
    if "attentional_pool" not in vision:
        assert nn.MultiheadAttention not in kinds
    for before, after in zip(look(plain), look(quick), strict=True):
        assert float((before - after).abs().max() / before.abs().max()) < 1e-4


def test_norms_hand_their_factors_to_the_layers_after_them():
    quick = quicken(tower(TRANSFORMER))
    blocks = list(quick.transformer.resblocks)
    assert all(norm.weight is None and norm.bias is None for block in blocks for norm in (block.ln_1, block.ln_2))
    again = look(quick)
    assert all(torch.equal(before, after) for before, after in zip(again, look(quicken(quick)), strict=True))


@pytest.mark.parametrize("vision", [RESNET, TRANSFORMER], ids=["resnet", "transformer"])
def test_a_replacement_that_answers_otherwise_is_not_made(vision, monkeypatch):
    plain = tower(vision, quick_gelu=True)
    monkeypatch.setattr(towers, "_agree", lambda *_: False)
    left = quicken(copy.deepcopy(plain))
    assert [type(module) for module in left.modules()] == [type(module) for module in plain.modules()]
    assert all(torch.equal(before, after) for before, after in zip(look(plain), look(left), strict=True))


def test_layers_agree_only_if_their_numbers_do():
    torch.manual_seed(0)
    layer = nn.Linear(6, 6)
    assert towers._agree(layer, copy.deepcopy(layer), 6)
    assert not towers._agree(layer, lambda x: layer(x) * 1.01, 6)
    assert not towers._agree(layer, lambda x: layer(x) * float("nan"), 6)


def test_what_is_not_known_is_left_alone():
    other = nn.Sequential(nn.Conv2d(3, 4, 4, stride=2), nn.ReLU(), nn.MultiheadAttention(4, 2, batch_first=False))
    kinds = [type(module) for module in quicken(copy.deepcopy(other))]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.MultiheadAttention]


def test_a_tower_that_was_cast_is_left_as_it_is():
    plain = tower(TRANSFORMER).bfloat16()
    assert [type(module) for module in quicken(plain).modules()] == [
        type(module) for module in tower(TRANSFORMER).modules()
    ]
