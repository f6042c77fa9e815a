import torch
import torch.nn.functional as F

from vqclip.models.quantizer import GumbelQuantizer, SignQuantizer
from vqclip.train.codebook import LiveCodebook, nearest_rows
from vqclip.train.quantizing import quantize, quantize_fixed, quantize_gumbel


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(seed: int, count: int = 400) -> torch.Tensor:
    centers = 5 * torch.eye(4)
    which = torch.randint(4, (count,), generator=generator(seed))
    return centers[which] + 0.1 * torch.randn(count, 4, generator=generator(seed + 1))


def test_a_codebook_of_plain_vectors_finds_the_means_of_what_it_is_given():
    codebook = LiveCodebook(clusters(9)[:4].clone(), decay=0.5, unit=False)
    codebook.begin(clusters(0), generator(0), rounds=10)
    for step in range(20):
        codebook.update(clusters(step), codebook.nearest(clusters(step)), generator(step))
    found = codebook.rows[codebook.rows.argmax(0)]
    assert torch.allclose(found, 5 * torch.eye(4), atol=0.1)


def test_kmeans_begins_nearer_to_the_vectors_than_chance_does():
    def error(rounds: int) -> float:
        codebook = LiveCodebook(torch.zeros(8, 4), unit=False)
        codebook.begin(clusters(0), generator(3), rounds=rounds)
        rows = codebook.rows[codebook.nearest(clusters(0))]
        return float(F.mse_loss(rows, clusters(0)))

    assert error(10) < 0.7 * error(0)


def test_a_codebook_larger_than_a_batch_is_not_restarted_for_that():
    rows = F.normalize(torch.randn(512, 4, generator=generator(0)), dim=1)
    codebook = LiveCodebook(rows.clone())
    for step in range(300):
        unit = F.normalize(torch.randn(16, 4, generator=generator(step)), dim=1)
        before = codebook.rows.clone()
        codes = codebook.nearest(unit)
        codebook.update(unit, codes, generator(step))
        untouched = torch.ones(512, dtype=torch.bool)
        untouched[codes] = False
        changed = (codebook.rows - before)[untouched].norm(dim=1) > 1e-3
        assert changed.sum() <= 8


def test_usage_is_the_share_of_codes_chosen_lately():
    codebook = LiveCodebook(torch.eye(4))
    vectors = torch.eye(4)[:2].repeat(8, 1)
    assert codebook.usage == 1
    for step in range(30):
        codebook.count(codebook.nearest(vectors))
        del step
    assert codebook.usage == 0.5
    assert 1.9 < codebook.perplexity < 3.9


def test_an_older_state_without_the_count_of_idle_steps_is_taken_up():
    codebook = LiveCodebook(torch.eye(4))
    state = codebook.state()
    del state["idle"]
    codebook.load(state)
    assert codebook.usage == 1


def test_the_nearest_row_is_found_in_parts_as_at_once(monkeypatch):
    vectors, rows = (torch.randn(n, 4, generator=generator(n)) for n in (50, 20))
    whole = nearest_rows(vectors, rows, unit=False)
    monkeypatch.setattr("vqclip.train.codebook.MOST_DISTANCES", 64)
    assert torch.equal(nearest_rows(vectors, rows, unit=False), whole)
    assert torch.equal(whole, torch.cdist(vectors, rows).argmin(1))


def test_gradients_go_straight_through_to_the_latent():
    codebook = LiveCodebook(torch.eye(4), unit=False)
    latent = torch.rand(1, 4, 2, 2, generator=generator(1), requires_grad=True)
    found = quantize(latent, codebook)
    found.latent.sum().backward()
    assert torch.equal(latent.grad, torch.ones_like(latent))
    assert torch.equal(found.latent.detach().sum(1), torch.ones(1, 2, 2))
    assert found.codes.shape == (4,) and found.vectors.shape == (4, 4)


def test_a_gumbel_codebook_is_drawn_from_and_learns_by_gradients():
    quantizer = GumbelQuantizer(8, 4, 4)
    latent = torch.randn(1, 4, 3, 3, generator=generator(1), requires_grad=True)
    one, again, other = (quantize_gumbel(latent, quantizer, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.codes, again.codes) and not torch.equal(one.codes, other.codes)
    rows = quantizer.weight[one.codes].detach()
    assert torch.allclose(one.vectors, rows, atol=1e-6)
    (one.latent.square().sum() + one.commitment).backward()
    assert quantizer.weight.grad.abs().sum() > 0 and quantizer.proj.weight.grad.abs().sum() > 0


def test_a_codebook_without_a_table_stays_as_it_is_and_passes_gradients_on():
    latent = torch.randn(1, 3, 2, 2, generator=generator(1), requires_grad=True)
    found = quantize_fixed(latent, SignQuantizer(3))
    (found.latent.sum() + found.commitment).backward()
    assert torch.equal(found.latent.detach(), latent.detach().sign())
    assert found.codes.shape == (4,) and latent.grad.abs().min() > 0
