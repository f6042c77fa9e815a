"""The codebook: nearest rows, exact values, straight gradients, whatever kind it is and whatever it computes in."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vqclip.engine.canvas import Canvas, begin
from vqclip.engine.course import Course
from vqclip.models.quantizer import Quantizer, codebook

LOSS = Path(__file__).parent / "goldens" / "loss"


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(kind: str, codes: int = 50, channels: int = 6) -> Quantizer:
    quantizer = codebook(kind, codes, channels)
    with torch.no_grad():
        quantizer.weight.copy_(torch.randn(codes, channels, generator=rng()))
    return quantizer


@pytest.mark.parametrize("kind", ["l2", "gumbel", "unit"])
def test_every_cell_takes_the_row_that_is_nearest_by_brute_force(kind):
    quantizer, latent = make(kind), torch.randn(2, 6, 3, 5, generator=rng(1))
    quantized, codes = quantizer(latent)
    cells = latent.permute(0, 2, 3, 1).double()
    rows = quantizer.weight.double()
    if kind == "unit":
        cells, rows = cells / cells.norm(dim=-1, keepdim=True), rows / rows.norm(dim=-1, keepdim=True)
    expected = (cells.unsqueeze(-2) - rows).norm(dim=-1).argmin(-1)
    assert torch.equal(codes, expected)
    assert torch.allclose(quantized.permute(0, 2, 3, 1).double(), rows[expected], atol=1e-6)


def of_rows(rows: torch.Tensor) -> Quantizer:
    quantizer = codebook("l2", *rows.shape)
    quantizer.weight.data = rows
    return quantizer


def test_codes_values_and_gradient_agree_with_the_notebooks_vector_quantize():
    golden = load_file(LOSS / "vector_quantize.safetensors")
    latent = golden["x"].requires_grad_()
    quantized, codes = of_rows(golden["codebook"])(latent.permute(0, 3, 1, 2))
    out = quantized.permute(0, 2, 3, 1)
    assert torch.equal(codes, golden["indices"])
    torch.testing.assert_close(out, golden["out"], rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(out, latent, golden["grad_out"])
    assert torch.equal(gradient, golden["grad_x"])


def test_a_latent_is_held_to_the_codebooks_range_after_every_step_as_the_notebook_does():
    golden = load_file(LOSS / "latent_clamp.safetensors")
    canvas = Canvas(begin(golden["z"], [0]), Course(steps=1, learning_rate=0.1), of_rows(golden["codebook"]).reach())
    assert not torch.equal(golden["z"], golden["out"])
    canvas.move(torch.zeros_like(golden["z"]), torch.tensor([True]), rate=0.1)
    assert torch.equal(canvas.latent, golden["out"])


@pytest.mark.parametrize("kind", ["l2", "gumbel", "unit"])
def test_quantized_vectors_are_exactly_rows_of_the_codebook(kind):
    quantizer, latent = make(kind), torch.randn(1, 6, 4, 4, generator=rng(2), requires_grad=True) * 100
    quantized, codes = quantizer(latent)
    assert torch.equal(quantized.permute(0, 2, 3, 1), quantizer.rows[codes])


def test_the_gradient_goes_straight_through():
    latent = torch.randn(1, 6, 2, 3, generator=rng(3), requires_grad=True)
    pull = torch.randn(1, 6, 2, 3, generator=rng(4))
    (make("l2")(latent)[0] * pull).sum().backward()
    assert torch.equal(latent.grad, pull)


def test_the_gradient_of_a_unit_codebook_goes_through_the_normalization():
    latent = torch.randn(1, 6, 2, 3, generator=rng(3), requires_grad=True)
    pull = torch.randn(1, 6, 2, 3, generator=rng(4))
    (make("unit")(latent)[0] * pull).sum().backward()
    expected = torch.autograd.grad((torch.nn.functional.normalize(latent, dim=1) * pull).sum(), latent)[0]
    assert torch.allclose(latent.grad, expected)


@pytest.mark.parametrize("kind", ["l2", "unit"])
def test_fusing_and_autocast_change_no_code(kind):
    quantizer, latent = make(kind, codes=400), torch.randn(2, 6, 20, 20, generator=rng(5))
    codes = quantizer.nearest(latent)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(quantizer.nearest(latent), codes)
    quantizer.fuse()
    assert quantizer.norms is not None
    assert torch.equal(quantizer.nearest(latent), codes)


def test_stored_norms_that_lost_their_precision_are_not_used():
    quantizer, latent = make("l2", codes=400), torch.randn(1, 6, 20, 20, generator=rng(5))
    quantizer.fuse()
    quantizer.norms = torch.zeros(400, dtype=torch.bfloat16)
    assert torch.equal(quantizer.nearest(latent), make("l2", codes=400).nearest(latent))


def test_a_search_in_pieces_finds_the_same_codes(monkeypatch):
    quantizer, latent = make("l2"), torch.randn(2, 6, 5, 7, generator=rng(6))
    whole = quantizer.nearest(latent)
    monkeypatch.setattr("vqclip.models.quantizer.MOST_DISTANCES", 150)
    assert torch.equal(quantizer.nearest(latent), whole)


def test_a_gumbel_codebook_reads_pictures_by_its_projection_but_free_latents_by_distance():
    quantizer = make("gumbel")
    latent = torch.randn(1, 6, 4, 4, generator=rng(7))
    assert torch.equal(quantizer.read(latent)[1], quantizer.proj(latent).argmax(1))
    assert not torch.equal(quantizer.read(latent)[1], quantizer.nearest(latent))
    assert set(quantizer.state_dict()) == {"embed.weight", "proj.weight", "proj.bias"}


def test_looking_up_codes_and_quantizing_them_again_changes_nothing():
    quantizer = make("unit")
    codes = torch.randint(50, (2, 3, 4), generator=rng(8))
    assert torch.equal(quantizer.nearest(quantizer.lookup(codes)), codes)
