"""The VQGAN as a part: ranges, sizes, an optional encoder, and the fused decoder against the plain one."""

import pytest
import torch

from vqclip.configs import VQGANConfig
from vqclip.engine.precision import has_fast_bfloat16
from vqclip.errors import ModelError
from vqclip.models.blocks import MOST_PLAIN_TOKENS, Upsample, attend, group_norm
from vqclip.models.interfaces import ImageDecoder, ImageEncoder
from vqclip.models.vqgan import VQGAN

TINY = VQGANConfig(
    channels=32,
    multipliers=(1, 2, 2),
    blocks=1,
    attention_levels=(2,),
    latent_channels=12,
    embedding_channels=8,
    codes=40,
)


def make(config: VQGANConfig = TINY, **options) -> VQGAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VQGAN(config, **options).eval()


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_pictures_become_latents_of_the_stride_and_come_back_at_their_size():
    model = make()
    latent = model.encode(noise(2, 3, 16, 24).sigmoid())
    assert model.stride == 4
    assert latent.shape == (2, 8, 4, 6)
    assert model.decode(model.quantize(latent)[0]).shape == (2, 3, 16, 24)
    assert isinstance(model, ImageDecoder) and isinstance(model, ImageEncoder)


def test_a_side_that_is_no_multiple_of_the_stride_is_refused():
    with pytest.raises(ValueError, match="multiples of the stride 4"):
        make().encode(noise(1, 3, 16, 18))


def test_without_its_encoder_it_decodes_but_says_that_it_cannot_read_pictures():
    model = make(encoder=False)
    assert not any(name.startswith(("encoder", "quant_conv")) for name in model.state_dict())
    assert model.decode(noise(1, 8, 2, 2)).shape == (1, 3, 8, 8)
    with pytest.raises(ModelError, match="without its encoder"):
        model.encode(noise(1, 3, 8, 8))


def test_the_latent_range_is_that_of_the_codebook_per_channel():
    model = make()
    low, high = model.latent_range()
    assert torch.equal(low, model.codebook.min(0).values) and torch.equal(high, model.codebook.max(0).values)
    unit = make(VQGANConfig(**{**TINY.__dict__, "quantizer": "unit"}))
    assert torch.allclose(unit.codebook.norm(dim=1), torch.ones(40))


def test_fusing_changes_neither_picture_nor_gradient():
    plain, fused = make(), make().fuse()
    results = []
    for model in (plain, fused):
        latent = noise(1, 8, 3, 5).requires_grad_(True)
        image = model.decode(latent)
        gradient = torch.autograd.grad((image * noise(*image.shape, seed=2)).sum(), latent)[0]
        results.append((image.detach(), gradient))
    for before, after in zip(*results, strict=True):
        assert float((before - after).abs().max() / before.abs().max()) < 1e-5
    assert fused.state_dict().keys() == plain.state_dict().keys()
    assert not any(parameter.requires_grad for parameter in fused.parameters())


def test_the_fused_upsampling_is_exact_up_to_the_edges():
    layer = Upsample(5).double()
    features = noise(2, 5, 4, 7).double()
    plain = layer(features)
    layer.fuse()
    assert torch.allclose(layer(features), plain, atol=1e-12)


def test_in_half_precision_latents_pictures_and_codes_stay_float32():
    model, exact = make().fuse().cast(torch.bfloat16), make().fuse()
    latent = noise(1, 8, 3, 4)
    quantized, codes = model.quantize(latent)
    assert model.dtype is torch.bfloat16
    assert model.quantize.weight.dtype is torch.float32
    assert torch.equal(codes, exact.quantize(latent)[1])
    image = model.decode(quantized)
    assert image.dtype is torch.float32
    assert float((image - exact.decode(quantized)).abs().max()) < 0.1
    assert model.encode(noise(1, 3, 8, 8)).dtype is torch.float32


def kinds(*parts: torch.nn.Module) -> set[torch.dtype]:
    return {weight.dtype for part in parts for weight in (*part.parameters(), *part.buffers())}


@pytest.mark.parametrize("multipliers", [(1, 1, 2, 2), (1, 1, 1, 2, 2)])
def test_norms_are_never_cast_and_a_deep_decoder_keeps_what_comes_before_its_levels(multipliers):
    deep = len(multipliers) == 5
    model = make(VQGANConfig(**{**TINY.__dict__, "multipliers": multipliers})).fuse().cast(torch.bfloat16)
    first = (model.post_quant_conv, model.decoder.conv_in, model.decoder.mid)
    plain = [part for part in model.modules() if isinstance(part, torch.nn.Conv2d)]
    kept = {id(inner) for part in first for inner in part.modules()} if deep else set()
    assert kinds(*(norm for norm in model.modules() if isinstance(norm, torch.nn.GroupNorm))) == {torch.float32}
    assert kinds(*(part for part in plain if id(part) not in kept)) == {torch.bfloat16}
    assert kinds(*(level.upsample for level in model.decoder.up if level.upsample)) == {torch.bfloat16}
    assert (kinds(*first) == {torch.float32}) == deep
    assert model.dtype is torch.bfloat16


def pull(model: VQGAN) -> torch.Tensor:
    """The gradient of a pull that favors no place."""
    latent = noise(1, 8, 2, 2).requires_grad_()
    image = model.decode(latent)
    return torch.autograd.grad((image * noise(*image.shape, seed=2)).sum(), latent)[0].flatten()


@pytest.mark.skipif(not has_fast_bfloat16("cpu"), reason="bfloat16 is not chosen here, and rounds otherwise")
def test_what_stays_float32_keeps_the_direction_of_a_deep_decoders_gradient():
    config = VQGANConfig(**{**TINY.__dict__, "multipliers": (1, 1, 1, 2, 2), "blocks": 2, "attention_levels": (4,)})
    exact = pull(make(config).fuse())
    kept = make(config).fuse().cast(torch.bfloat16)
    half = make(config).fuse().cast(torch.bfloat16)
    for part in (half.post_quant_conv, half.decoder):
        part.to(torch.bfloat16)
    lost, lost_of_all = (1 - torch.cosine_similarity(pull(model), exact, dim=0) for model in (kept, half))
    assert lost < lost_of_all / 2


def test_both_ways_of_attending_agree():
    query, key, value = (noise(2, 30, 16, seed=seed) for seed in (1, 2, 3))
    fused = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    assert query.shape[1] < MOST_PLAIN_TOKENS
    assert torch.allclose(attend(query, key, value), fused, atol=1e-5)


def test_channels_that_are_no_multiple_of_32_get_the_largest_fitting_groups():
    assert [group_norm(channels).num_groups for channels in (128, 48, 8)] == [32, 16, 8]


def test_the_middle_may_do_without_attention():
    keys = make(VQGANConfig(**{**TINY.__dict__, "middle_attention": False, "attention_levels": ()})).state_dict()
    assert not any("attn" in key for key in keys)
