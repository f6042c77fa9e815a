"""Bands, lean decoding and tiles give the picture and the gradient of the whole map."""

import weakref

import pytest
import torch
import torch.nn.functional as F

from vqclip.configs import VQGANConfig
from vqclip.models.vqgan import VQGAN
from vqclip.ops import bands
from vqclip.ops.bands import norm_swish_conv

TINY = VQGANConfig(
    channels=32,
    multipliers=(1, 1, 2),
    blocks=1,
    attention_levels=(2,),
    latent_channels=12,
    embedding_channels=8,
    codes=40,
)
WRAPS = [(False, False), (True, False), (False, True), (True, True)]


def noise(*shape: int, seed: int = 1, **kind) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **kind)


def make(**changed) -> VQGAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VQGAN(VQGANConfig(**{**TINY.__dict__, **changed})).eval()


def seen(model: VQGAN, *, lean: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture and the gradient of a pull that favors no place."""
    latent = noise(1, 8, 9, 7).requires_grad_(True)
    image = model.decode(latent, lean=lean)
    (gradient,) = torch.autograd.grad((image * noise(*image.shape, seed=2)).sum(), latent)
    return image.detach(), gradient


def padded(features: torch.Tensor, wrap: tuple[bool, bool]) -> torch.Tensor:
    for wraps, sides in zip(wrap, ((1, 1, 0, 0), (0, 0, 1, 1)), strict=True):
        features = F.pad(features, sides, mode="circular" if wraps else "constant")
    return features


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("rows", [1, 3, 5, 100])
def test_any_bands_give_what_the_three_layers_give(wrap, rows):
    double = {"dtype": torch.float64}
    leaves = [noise(2, 16, 13, 9, seed=1, **double), noise(2, 24, 13, 9, seed=2, **double)]
    features, residual = (leaf.requires_grad_() for leaf in leaves)
    gain, offset = noise(16, seed=3, **double), noise(16, seed=4, **double)
    weight, bias, pull = (noise(*s, seed=5, **double) for s in ((24, 16, 3, 3), (24,), (2, 24, 13, 9)))
    swished = F.silu(F.group_norm(features, 4, gain, offset, 1e-6))
    plain = F.conv2d(padded(swished, wrap), weight, bias) + residual
    norm, conv = (4, gain, offset, 1e-6), (weight, bias)
    banded = norm_swish_conv(features, norm, conv, residual=residual, wrap=wrap, rows=rows)
    assert torch.allclose(banded, plain, atol=1e-4)
    for ours, theirs in zip(
        *(torch.autograd.grad(y, (features, residual), pull) for y in (banded, plain)), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("lean", [False, True])
def test_a_decoder_in_bands_paints_what_it_paints_whole(monkeypatch, lean):
    plain = seen(make())  # weights that learn take the layers one by one
    monkeypatch.setattr(bands, "band_rows", lambda *_: 3)
    for ours, theirs in zip(seen(make().fuse(), lean=lean), plain, strict=True):
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-4


LAYOUTS = [{}, {"variant": "movq"}, {"variant": "magvit"}, {"attention_levels": (0, 2), "blocks": 2}]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_lean_decoder_passes_the_same_gradient_on_whatever_its_norms_look_at(layout):
    model = make(**layout).requires_grad_(False)
    for ours, theirs in zip(seen(model.fuse(), lean=True), seen(model), strict=True):
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_lean_decoder_of_half_precision_wraps_and_paints_two_as_a_plain_one_does(wrap):
    model = make(multipliers=(1, 1, 1, 1, 2)).fuse().wrap_around(*wrap).cast(torch.bfloat16)
    model = model.to(memory_format=torch.channels_last)

    def gradient(lean):
        latent = noise(2, 8, 5, 4).requires_grad_(True)
        image = model.decode(latent, lean=lean)
        return torch.autograd.grad((image * noise(*image.shape, seed=2)).sum(), latent)[0]

    assert torch.allclose(gradient(True), gradient(False), rtol=1e-2, atol=1e-2)


def test_a_decoder_whose_weights_learn_is_not_lean():
    model = make().requires_grad_(True)
    model.decode(noise(1, 8, 5, 4).requires_grad_(True), lean=True).sum().backward()
    assert all(weight.grad is not None for weight in model.decoder.parameters())


def test_the_gradient_of_a_lean_decoder_is_there_once():
    latent = noise(1, 8, 5, 4).requires_grad_(True)
    image = make().requires_grad_(False).decode(latent, lean=True)
    torch.autograd.grad(image.sum(), latent, retain_graph=True)
    with pytest.raises(RuntimeError, match="asked for once"):
        torch.autograd.grad(image.sum(), latent)


def test_a_lean_decoder_keeps_little_but_the_smallest_map_of_each_level():
    model = make(blocks=2).fuse().requires_grad_(False)
    image = model.decode(noise(1, 8, 9, 7).requires_grad_(True), lean=True)
    nodes = [image.grad_fn]
    for node in nodes:
        nodes += [after for after, _ in node.next_functions if after is not None]
    (lean,) = (node for node in nodes if hasattr(node, "starts"))
    # the latent, the lowest level's three blocks with attention, each level, the last: in channels and cells
    kept = [(12, 1), *[(64, 1)] * 3, (64, 1), (32, 4), (32, 16)]
    assert [start.numel() for start in lean.starts] == [channels * cells * 9 * 7 for channels, cells in kept]


def test_a_lean_block_holds_one_map_beside_its_slopes(monkeypatch):
    block = make().decoder.up[0].block[0].requires_grad_(False)
    features, slope = (noise(1, 32, 16, 16, seed=n).to(memory_format=torch.channels_last) for n in (1, 2))
    made: list[weakref.ref] = []
    most = 0

    def empty(like: torch.Tensor, channels: int, real=bands._empty) -> torch.Tensor:
        nonlocal most
        made.append(weakref.ref(one := real(like, channels)))
        most = max(most, sum(ref() is not None for ref in made))
        return one

    monkeypatch.setattr(bands, "_empty", empty)
    with torch.no_grad():
        block.pulled(features, None, slope)
    assert len(made) == 3 and most == 2


def test_half_precision_in_bands_stays_near_the_exact_picture(monkeypatch):
    monkeypatch.setattr(bands, "band_rows", lambda *_: 3)
    exact, half = make().fuse(), make().fuse().cast(torch.bfloat16)
    (image, gradient), (rough, slope) = seen(exact), seen(half)
    assert float((image - rough).abs().max()) < 0.1
    assert float(F.cosine_similarity(gradient.flatten(), slope.flatten(), dim=0)) > 0.99


def test_half_precision_maps_are_normed_in_float32_and_rounded_once():
    features = (noise(1, 32, 9, 9) + 20 * noise(1, 32, 1, 1, seed=2)).bfloat16()
    weight, gain, offset = noise(8, 32, 3, 3, seed=3).bfloat16(), noise(32, seed=4), noise(32, seed=5)
    done = norm_swish_conv(features, (4, gain, offset, 1e-6), (weight, None), rows=4)
    swished = F.silu(F.group_norm(features.float(), 4, gain, offset, 1e-6)).bfloat16()
    exact = F.conv2d(swished.float(), weight.float(), padding=1)
    assert done.dtype is torch.bfloat16
    assert float((done - exact).abs().max() / exact.abs().max()) < 2**-8


def steps(image: torch.Tensor) -> torch.Tensor:
    """How far each row is from the one above it [H - 1]."""
    return image.diff(dim=2).abs().mean(dim=(0, 1, 3))


def test_no_seam_can_be_found_at_the_borders_of_bands(monkeypatch):
    monkeypatch.setattr(bands, "band_rows", lambda *_: 8)
    image, gradient = seen(make().fuse())
    whole, _ = seen(make())
    for picture in (image, gradient):
        assert torch.isfinite(picture).all()
    borders = steps(image)[7::8]
    assert float((image - whole).abs().max()) < 1 / 255
    # a seam is a border whose step is not what it is in the picture that has no bands
    assert torch.allclose(borders, steps(whole)[7::8], atol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("wrap", WRAPS[1:])
def test_a_tile_that_is_shifted_is_the_picture_shifted(wrap, fused):
    model = make().wrap_around(*wrap)
    model = model.fuse() if fused else model.requires_grad_(True)
    latent, cells = noise(1, 8, 9, 7), (2 * wrap[1], 3 * wrap[0])
    moved = model.decode(latent.roll(cells, (2, 3)))
    expected = model.decode(latent).roll([4 * cell for cell in cells], (2, 3))
    assert torch.allclose(moved, expected, atol=1e-4)
    encoded = model.encode(expected.clamp(0, 1))
    back = model.encode(expected.clamp(0, 1).roll([-4 * cell for cell in cells], (2, 3)))
    assert torch.allclose(encoded, back.roll(cells, (2, 3)), atol=1e-4)


def test_without_tiles_the_ends_do_not_meet():
    model, latent = make().fuse(), noise(1, 8, 9, 7)
    assert not torch.allclose(model.decode(latent.roll(2, 2)), model.decode(latent).roll(8, 2), atol=1e-2)
