"""The taming family against reference numbers: encode, codes, decode and gradient, small and at full size."""

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from vqclip.store.taming import read_taming
from vqclip.store.vqgans import build_vqgan, load_vqgan

GOLDENS = Path(__file__).parent / "goldens"
FORWARD, GRADIENT = 1e-4, 1e-3
FAMILIES = ["taming_vqgan", "taming_gumbel", "taming_net2net"]


def off(ours: torch.Tensor, reference: torch.Tensor) -> float:
    assert ours.shape == reference.shape
    return float((ours.detach() - reference).abs().max() / reference.abs().max())


def golden(family: str):
    folder = GOLDENS / "A" / family
    with safe_open(folder / "expected.safetensors", "pt") as file:
        meta = json.loads(file.metadata()["meta"])
    return load_file(folder / "expected.safetensors"), folder / meta["checkpoint"], folder / meta["config"]


@pytest.fixture(params=FAMILIES)
def family(request):
    expected, checkpoint, config = golden(request.param)
    return expected, load_vqgan(checkpoint, config), request.param


def test_encoding_agrees_with_the_reference(family):
    expected, model, _ = family
    assert off(model.encode((expected["x"] + 1) / 2), expected["z_e"]) <= FORWARD


def test_the_codes_of_a_picture_agree_with_the_reference(family):
    expected, model, _ = family
    vectors, codes = model.tokenize((expected["x"] + 1) / 2)
    assert torch.equal(codes, expected["indices"])
    assert off(vectors, expected["z_q"]) <= 1e-6


def test_the_codes_of_a_free_latent_agree_with_the_reference(family):
    expected, model, name = family
    quantized, codes = model.quantize(expected["z_in"])
    assert torch.equal(codes, expected["z_in_indices"])
    assert off(quantized, expected["z_in_q"]) <= 1e-6
    if name == "taming_gumbel":
        assert torch.equal(model.quantize(expected["z_e"])[1], expected["z_e_nn_indices"])


def test_decoding_agrees_with_the_reference(family):
    expected, model, _ = family
    assert off(model.decode(expected["z_q"]) * 2 - 1, expected["rec"]) <= FORWARD
    assert off(model.decode(expected["z_in_q"]) * 2 - 1, expected["z_in_dec"]) <= FORWARD


def test_the_gradient_at_the_latent_agrees_with_the_reference(family):
    expected, model, _ = family
    latent = expected["z_in"].clone().requires_grad_(True)
    image = model.decode(model.quantize(latent)[0])
    outside = expected["w"] * (image - image.clamp(0, 1)) >= 0
    gradient = torch.autograd.grad(image, latent, expected["w"] * outside)[0]
    assert off(gradient, expected["grad_zq"]) <= GRADIENT


@pytest.mark.parametrize("name", FAMILIES)
def test_the_checkpoint_alone_is_as_good_as_with_its_yaml(name, tmp_path):
    expected, checkpoint, config = golden(name)
    (tmp_path / "alone.ckpt").write_bytes(checkpoint.read_bytes())
    alone, both = load_vqgan(tmp_path / "alone.ckpt"), load_vqgan(checkpoint, config)
    assert alone.config == both.config
    assert torch.equal(alone.decode(expected["z_q"]), both.decode(expected["z_q"]))


def weight(tag: str, shape: list[int], amp: float, offset: float) -> torch.Tensor:
    """The goldens' weight formula: splitmix64 of (crc32(tag) << 32) + i, its top 24 bits as a number in [0, 1)."""
    with np.errstate(over="ignore"):
        seed = np.uint64(zlib.crc32(tag.encode())) << np.uint64(32)
        bits = seed + np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = bits ^ (bits >> np.uint64(31))
    unit = (bits >> np.uint64(40)).astype(np.float64) * 2.0**-24
    return torch.from_numpy((offset + amp * (2 * unit - 1)).astype(np.float32)).reshape(shape)


@pytest.mark.parametrize("name", ["taming_imagenet_f16_16384", "taming_gumbel_f8_8192"])
def test_a_real_configuration_at_full_size_agrees_with_the_reference(name):
    document = json.loads(gzip.decompress((GOLDENS / "full" / f"{name}.json.gz").read_bytes()))
    expected = load_file(GOLDENS / "full" / f"{name}.safetensors")
    weights = {
        key: weight(f"full/{name}|{key}", entry["shape"], entry["amp"], entry["offset"])
        for key, entry in document["weights"].items()
    }
    yaml = {"model": {"target": document["target"], "params": document["params"]}}
    config, kept = read_taming(weights, yaml, name)
    model = build_vqgan(config, kept, name).fuse()
    image = (expected["x"] + 1) / 2
    assert model.stride == document["f"]
    assert off(model.encode(image), expected["z_e"]) <= FORWARD
    assert torch.equal(model.tokenize(image)[1], expected.get("gumbel_indices", expected["indices"]))
    quantized, codes = model.quantize(expected["z_in"])
    assert torch.equal(codes, expected["z_in_indices"])
    assert off(model.decode(quantized) * 2 - 1, expected["z_in_dec"]) <= FORWARD
