import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

from vqclip.ops.losses import LatentAnchor, TotalVariation, latent_distance, prompt_loss, total_variation

with safe_open(Path(__file__).parent / "goldens" / "loss" / "prompt_spherical.safetensors", "pt") as _file:
    GOLDEN = {name: _file.get_tensor(name) for name in _file.keys()}  # noqa: SIM118
    CASES = json.loads(_file.metadata()["meta"])["cases"]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_prompt_loss_and_its_gradient_agree_with_the_notebook(case):
    weight, stop = CASES[case]
    raw, targets = GOLDEN["input"].clone().requires_grad_(), F.normalize(GOLDEN["embed"], dim=-1)
    count = len(targets)
    weights = torch.full((count,), weight / count)
    stops = torch.full((count,), -torch.inf if stop is None else stop)
    loss = prompt_loss(F.normalize(raw, dim=-1), targets[None], weights, stops).mean()
    (gradient,) = torch.autograd.grad(loss, raw)
    torch.testing.assert_close(loss, GOLDEN[f"loss_{case}"].squeeze())
    torch.testing.assert_close(gradient, GOLDEN[f"grad_{case}"], rtol=1e-4, atol=1e-6)


def test_a_prompt_that_has_reached_its_stop_counts_but_no_longer_pulls():
    embeddings = F.normalize(torch.tensor([[1.0, 0.1], [0.0, 1.0]]), dim=-1).requires_grad_()
    target, weight = torch.tensor([[[1.0, 0.0]]]), torch.tensor([1.0])
    free = prompt_loss(embeddings, target, weight, torch.tensor([-torch.inf]))
    held = prompt_loss(embeddings, target, weight, torch.tensor([0.5]))
    assert torch.equal(free, held)
    (gradient,) = torch.autograd.grad(held.sum(), embeddings)
    assert gradient[0].eq(0).all() and gradient[1].ne(0).any()


def test_each_row_can_have_its_own_targets():
    embeddings = F.normalize(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), dim=-1)
    targets = F.normalize(torch.randn(4, 2, 6, generator=torch.Generator().manual_seed(1)), dim=-1)
    weights, stops = torch.tensor([1.0, -0.5]), torch.full((2,), -torch.inf)
    together = prompt_loss(embeddings, targets, weights, stops)
    for row in range(4):
        alone = prompt_loss(embeddings[row : row + 1], targets[row : row + 1], weights, stops)
        torch.testing.assert_close(together[row], alone[0])


def test_total_variation_is_the_mean_squared_step():
    ramp = (torch.arange(8.0) / 10).expand(1, 3, 6, 8)
    torch.testing.assert_close(total_variation(ramp), torch.tensor([0.01]))
    torch.testing.assert_close(total_variation(ramp.mT), torch.tensor([0.01]))
    assert total_variation(torch.full((2, 3, 4, 4), 0.3)).tolist() == [0.0, 0.0]
    assert TotalVariation()(torch.rand(1, 3, 1, 1), torch.zeros(1)).tolist() == [0.0]


def test_an_anchor_holds_each_picture_to_its_own_latent():
    target = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    anchor = LatentAnchor(target)
    assert anchor(torch.zeros(1), target).tolist() == [0.0, 0.0]
    torch.testing.assert_close(
        anchor(torch.zeros(1), target + torch.tensor([0.0, 2.0])[:, None, None, None])[1], torch.tensor(4.0)
    )


def test_an_anchor_of_another_size_is_resized():
    latent = torch.full((1, 4, 6, 6), 0.5)
    torch.testing.assert_close(latent_distance(latent, torch.full((1, 4, 3, 3), 0.5)), torch.zeros(1))


def test_the_ends_of_a_tile_are_neighbors():
    image = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    rough = total_variation(image, (True, True))
    assert torch.allclose(rough, total_variation(image.roll((2, 3), (2, 3)), (True, True)))
    assert not torch.allclose(rough, total_variation(image))
