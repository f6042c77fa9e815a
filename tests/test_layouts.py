"""The same families with other types, containers, levels and places of attention, made by writers of their layouts."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import layouts
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from test_goldens_vqgans import FORWARD, golden, off

from vqclip.configs import AnyVQGANConfig, TransformerConfig, ViTVQGANConfig, VQGANConfig
from vqclip.errors import ModelError
from vqclip.models.vqgan import VQGAN
from vqclip.store.checkpoint import read_weights
from vqclip.store.vqgans import export_taming, load_vqgan, save_vqgan

GOLDENS = Path(__file__).parent / "goldens"
KINDS = {
    layouts.as_taming: ("l2", "gumbel"),
    layouts.as_first_stage: ("l2", "gumbel"),
    layouts.as_llamagen: ("unit",),
    layouts.as_janus: ("unit",),
    layouts.as_diffusers: ("l2",),
    layouts.as_old_diffusers: ("l2",),
    layouts.as_movq: ("l2",),
}


DTYPES = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])
CONTAINERS = st.sampled_from(["safetensors", "lightning", "zip", "legacy", "ema"])


def write(path: Path, weights: dict, container: str) -> None:
    whole = {name: tensor.contiguous() for name, tensor in weights.items()}
    if container == "safetensors":
        save_file(whole, path)
    else:
        layers = {"state_dict": whole} if container == "lightning" else {"model": whole}
        layers = {"model": {name: t + 1 for name, t in whole.items()}, "ema": whole} if container == "ema" else layers
        torch.save(layers | {"optimizer": {"state": {}}}, path, _use_new_zipfile_serialization=container != "legacy")


@st.composite
def shapes(draw: st.DrawFn, writer) -> VQGANConfig:
    levels = draw(st.integers(1, 3))
    places = st.lists(st.integers(0, levels - 1), unique=True).map(lambda chosen: tuple(sorted(chosen)))
    config = VQGANConfig(
        channels=draw(st.sampled_from([8, 32])),
        multipliers=(1, *draw(st.lists(st.integers(1, 3), min_size=levels - 1, max_size=levels - 1))),
        blocks=draw(st.integers(1, 2)),
        attention_levels=draw(places),
        middle_attention=draw(st.booleans()),
        latent_channels=draw(st.sampled_from([3, 6])),
        embedding_channels=draw(st.sampled_from([3, 6])),
        codes=draw(st.integers(3, 20)),
        quantizer=draw(st.sampled_from(KINDS[writer])),
    )
    if config.quantizer == "gumbel":
        config = replace(config, embedding_channels=config.latent_channels)
    if writer is layouts.as_movq:
        config = replace(config, variant="movq")
    if writer is layouts.as_diffusers:
        other = draw(places)
        config = replace(config, encoder_attention_levels=other if other != config.attention_levels else None)
    return config


@pytest.mark.parametrize("writer", KINDS, ids=lambda writer: writer.__name__)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_whatever_its_shape_type_and_container_a_file_gives_the_model_that_was_written(writer, data, tmp_path_factory):
    config = data.draw(shapes(writer))
    dtype, container = data.draw(DTYPES), data.draw(CONTAINERS)
    model = rounded(config, dtype, data.draw(st.integers(0, 99)))
    path = tmp_path_factory.mktemp("layout") / "weights.bin"
    write(path, {name: tensor.to(dtype) for name, tensor in writer(model.state_dict()).items()}, container)
    loaded = load_vqgan(path)
    assert loaded.config == config
    same(loaded, model)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_vit_vqgan_of_any_shape_type_and_container_gives_the_model_that_was_written(data, tmp_path_factory):
    sizes = [st.sampled_from([16, 32]), st.integers(1, 3), st.integers(1, 2), st.sampled_from([16, 48])]
    side = data.draw(st.integers(1, 4))
    config = ViTVQGANConfig(
        TransformerConfig(*map(data.draw, sizes)),
        TransformerConfig(*map(data.draw, sizes)),
        patch=data.draw(st.sampled_from([2, 4])),
        grid=(side, side),
        embedding_channels=data.draw(st.integers(2, 6)),
        codes=data.draw(st.integers(3, 20)),
    )
    dtype, container = data.draw(DTYPES), data.draw(CONTAINERS)
    model = rounded(config, dtype, data.draw(st.integers(0, 99)))
    path = tmp_path_factory.mktemp("tokens") / "weights.bin"
    write(path, {n: t.to(dtype) for n, t in layouts.as_vitvqgan(model.state_dict()).items()}, container)
    loaded = load_vqgan(path)
    assert loaded.config == config
    same(loaded, model)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_model_is_the_same_again_from_our_own_file_flax_and_an_export_to_taming(data, tmp_path_factory):
    config = data.draw(shapes(layouts.as_taming))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float16]))
    model, folder = rounded(config, dtype, data.draw(st.integers(0, 99))), tmp_path_factory.mktemp("again")
    same(load_vqgan(save_vqgan(model, folder / "own.safetensors", dtype=dtype)), model)
    if config.quantizer == "l2":
        numbers = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
        (folder / "x.msgpack").write_bytes(layouts.as_flax(numbers))
        same(load_vqgan(folder / "x.msgpack"), model)
    if config.middle_attention and config.channels % 32 == 0:
        exported = load_vqgan(*export_taming(model, folder / "export.ckpt"))
        assert exported.config == config
        same(exported, model)
    else:
        with pytest.raises(ModelError, match="taming cannot express"):
            export_taming(model, folder / "export.ckpt")


def rounded(config: AnyVQGANConfig, dtype: torch.dtype, seed: int) -> VQGAN:
    """A model of random weights, all of which `dtype` can hold."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VQGAN(config).eval()
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    model.load_state_dict({name: tensor.to(dtype).float() for name, tensor in model.state_dict().items()})
    return model


def same(loaded: VQGAN, model: VQGAN) -> None:
    generator = torch.Generator().manual_seed(7)
    latent = torch.randn(1, model.config.embedding_channels, 2, 3, generator=generator)
    image = torch.rand(1, 3, 8, 8, generator=generator)
    with torch.no_grad():
        quantized, codes = model.quantize(latent)
        assert torch.equal(loaded.quantize(latent)[1], codes)
        assert off(loaded.decode(quantized), model.decode(quantized)) <= FORWARD
        assert off(loaded.encode(image), model.encode(image)) <= FORWARD


SMALL = VQGANConfig(
    channels=16, multipliers=(1, 2), blocks=1, attention_levels=(), latent_channels=4, embedding_channels=4, codes=16
)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (
            replace(SMALL, variant="movq", attention_levels=(1,)),
            "decoder.mid.block_1.norm1.norm_layer.weight decoder.mid.attn_1.norm.conv_y.weight "
            "decoder.up.1.attn.1.norm.conv_b.bias decoder.up.0.block.0.nin_shortcut.weight "
            "decoder.norm_out.conv_y.weight encoder.down.1.attn.0.norm.weight",
        ),
        (SMALL, "decoder.mid.attn_1.q.weight encoder.mid.attn_1.norm.bias quantize.embedding.weight"),
    ],
    ids=["MOVQ", "Chameleon"],
)
def test_a_checkpoint_in_its_authors_own_names_is_read_without_a_config(config, names, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = VQGAN(config).eval()
    weights = model.state_dict()
    assert set(names.split()) <= weights.keys()
    write(tmp_path / "last.ckpt", layouts.as_taming(weights), "lightning")
    loaded = load_vqgan(tmp_path / "last.ckpt")
    assert loaded.config == config
    latent = torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert off(loaded.decode(latent), model.decode(latent)) <= FORWARD


def test_a_flax_file_holds_the_arrays_that_flax_wrote():
    tensors = read_weights(GOLDENS / "formats" / "flax_model_tiny.msgpack")
    expected = load_file(GOLDENS / "formats" / "flax_model_tiny.expected.safetensors")
    kernel = expected["decoder/conv_in/kernel"].permute(3, 2, 0, 1)
    assert torch.equal(tensors["decoder.conv_in.weight"], kernel)
    assert torch.equal(tensors["decoder.conv_in.bias"], expected["decoder/conv_in/bias"])
    assert torch.equal(tensors["quantize.embedding.weight"], expected["quantize/embedding/embedding"])


def test_a_model_rewritten_as_a_flax_file_agrees_with_the_reference(tmp_path):
    expected, checkpoint, _, _ = golden("taming_vqgan")
    parts = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
    weights = {name: t for name, t in read_weights(checkpoint).items() if name.startswith(parts)}
    (tmp_path / "flax_model.msgpack").write_bytes(layouts.as_flax(weights))
    model = load_vqgan(tmp_path)
    assert torch.equal(model.quantize(expected["z_in"])[1], expected["z_in_indices"])
    assert off(model.decode(expected["z_q"]) * 2 - 1, expected["rec"]) <= FORWARD
    assert off(model.encode((expected["x"] + 1) / 2), expected["z_e"]) <= FORWARD


def test_every_name_of_the_published_flax_file_is_a_name_of_our_model():
    from vqclip.store.flax import torch_name

    keys = GOLDENS / "full" / "flax_vqgan_f16_16384_keys.json.gz"
    names = json.loads(gzip.decompress(keys.read_bytes()))["weights"]
    with torch.device("meta"):
        wanted = VQGAN(VQGANConfig()).state_dict().keys()
    assert {torch_name(re.sub("/", ".", name)) for name in names} == wanted


def test_every_weight_of_the_published_vit_vqgan_is_one_of_our_model():
    from vqclip.store.vitvqgan import read_vitvqgan

    keys = GOLDENS / "full" / "vitvqgan_small_keys.json.gz"
    shapes = json.loads(gzip.decompress(keys.read_bytes()))["weights"]
    config, weights = read_vitvqgan({n: torch.empty(s["shape"], device="meta") for n, s in shapes.items()}, None, "x")
    assert (config.stride, config.grid, config.encoder.heads, config.decoder.depth) == (8, (32, 32), 8, 8)
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in VQGAN(config).state_dict().items()}
    assert {name: tensor.shape for name, tensor in weights.items()} == wanted


@pytest.mark.parametrize(
    "data",
    [
        layouts.packed({"a": torch.zeros(9)})[:-1],
        layouts.packed({"a": torch.zeros(9)}) + b"\x00",
        b"\x81\xa1a" * 5000,
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1a\xdd\xff\xff\xff\xff",
        layouts.packed({"a": 1}).replace(b"\xd3", b"\xc1"),
        b"\x81\xa1a" + layouts.packed(torch.zeros(3)).replace(b"float32", b"object_"),
        b"\x81\xa1a" + layouts.packed(torch.zeros(3)).replace(b"\x03\xda", b"\x04\xda"),
        layouts.packed({"a": {"__msgpack_chunked_array__": True, "chunks": 1}}),
    ],
    ids=["cut", "more", "deep", "many", "long", "unknown", "object", "shape", "chunks"],
)
def test_a_damaged_or_hostile_flax_file_is_refused(data, tmp_path):
    (tmp_path / "x.msgpack").write_bytes(data)
    with pytest.raises(ModelError, match=r"x.msgpack is incomplete or not a flax file|holds no weights"):
        read_weights(tmp_path / "x.msgpack")
