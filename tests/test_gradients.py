from pathlib import Path

import torch
from safetensors.torch import load_file

from vqclip.ops.gradients import clamp_with_gradient, spherical_distance, straight_through

GOLDENS = Path(__file__).parent / "goldens" / "loss"


def test_clamp_with_gradient_agrees_with_the_notebook():
    golden = load_file(GOLDENS / "clamp_with_grad.safetensors")
    x = golden["x"].requires_grad_()
    out = clamp_with_gradient(x)
    assert torch.equal(out, golden["out"])
    (gradient,) = torch.autograd.grad(out, x, golden["grad_out"])
    assert torch.equal(gradient, golden["grad_x"])


def test_replacing_a_gradient_agrees_with_the_notebook():
    golden = load_file(GOLDENS / "replace_grad.safetensors")
    source = golden["backward"].requires_grad_()
    out = straight_through(golden["forward"], source)
    assert torch.equal(out, golden["out"])
    (gradient,) = torch.autograd.grad(out, source, golden["grad_out"])
    torch.testing.assert_close(gradient, golden["grad_backward"])


def test_a_pixel_outside_the_range_can_come_back():
    x = torch.tensor([1.5, 1.5, -0.5, -0.5], requires_grad=True)
    (gradient,) = torch.autograd.grad(clamp_with_gradient(x), x, torch.tensor([1.0, -1.0, 1.0, -1.0]))
    assert gradient.tolist() == [1.0, 0.0, 0.0, -1.0]


def test_a_nan_gradient_stays_visible_through_the_clamp():
    x = torch.tensor([2.0, 0.5], requires_grad=True)
    (gradient,) = torch.autograd.grad(clamp_with_gradient(x), x, torch.tensor([torch.nan, torch.nan]))
    assert gradient.isnan().all()


def test_the_distance_is_half_the_squared_angle():
    angle = torch.linspace(0, torch.pi, 9, dtype=torch.float64)
    b = torch.stack([angle.cos(), angle.sin()], dim=-1)
    torch.testing.assert_close(spherical_distance(torch.tensor([1.0, 0.0], dtype=torch.float64), b), angle**2 / 2)


def test_equal_vectors_are_at_zero_and_nothing_pulls():
    a = torch.nn.functional.normalize(torch.randn(5, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    moved = a.clone().requires_grad_()
    distance = spherical_distance(moved, a)
    (gradient,) = torch.autograd.grad(distance.sum(), moved)
    assert distance.eq(0).all() and gradient.eq(0).all()


def test_opposite_vectors_have_a_finite_gradient():
    a = torch.nn.functional.normalize(torch.randn(5, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    raw = (3 * a).requires_grad_()
    distance = spherical_distance(torch.nn.functional.normalize(raw, dim=-1), -a)
    (gradient,) = torch.autograd.grad(distance.sum(), raw)
    torch.testing.assert_close(distance, torch.full((5,), torch.pi**2 / 2), rtol=1e-5, atol=1e-5)
    assert gradient.isfinite().all()
