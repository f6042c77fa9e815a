"""Every family against reference numbers: encode, codes, decode and gradient, small and at full size."""

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import vqclip
from vqclip.store.vqgans import load_vqgan

GOLDENS = Path(__file__).parent / "goldens"
FORWARD, GRADIENT = 1e-4, 1e-3
FAMILIES = sorted(folder.name for folder in (GOLDENS / "A").iterdir())
FULL = sorted(path.stem for path in (GOLDENS / "full").glob("*.safetensors"))
LONG = ("diffusers_amused", "diffusers_ldm_celebahq", "ldm_vq_f4", "ldm_vq_f8", "maskgit_vqgan_f16")


def off(ours: torch.Tensor, reference: torch.Tensor) -> float:
    assert ours.shape == reference.shape
    return float((ours.detach() - reference).abs().max() / reference.abs().max())


def golden(family: str):
    folder = GOLDENS / "A" / family
    with safe_open(folder / "expected.safetensors", "pt") as file:
        meta = json.loads(file.metadata()["meta"])
    config = folder / meta["config"] if meta["config"] else None
    return load_file(folder / "expected.safetensors"), folder / meta["checkpoint"], config, meta["image_range"]


class Ranged:
    """A model in the golden's own picture range."""

    def __init__(self, model, low: float) -> None:
        self.model, self.low = model, low

    def inward(self, image: torch.Tensor) -> torch.Tensor:
        return (image - self.low) / (1 - self.low)

    def decode(self, quantized: torch.Tensor) -> torch.Tensor:
        return self.model.decode(quantized) * (1 - self.low) + self.low


@pytest.fixture(params=FAMILIES, scope="module")
def family(request):
    expected, checkpoint, config, (low, _) = golden(request.param)
    return expected, Ranged(load_vqgan(checkpoint, config), low), request.param


def test_encoding_agrees_with_the_reference(family):
    expected, ranged, _ = family
    assert off(ranged.model.encode(ranged.inward(expected["x"])), expected["z_e"]) <= FORWARD


def test_the_codes_of_a_picture_agree_with_the_reference(family):
    expected, ranged, _ = family
    vectors, codes = ranged.model.tokenize(ranged.inward(expected["x"]))
    assert torch.equal(codes, expected["indices"])
    assert off(vectors, expected["z_q"]) <= 1e-6


def test_the_codes_of_a_free_latent_agree_with_the_reference(family):
    expected, ranged, name = family
    quantized, codes = ranged.model.quantize(expected["z_in"])
    assert torch.equal(codes, expected["z_in_indices"])
    assert off(quantized, expected["z_in_q"]) <= 1e-6
    if name == "taming_gumbel":
        assert torch.equal(ranged.model.quantize(expected["z_e"])[1], expected["z_e_nn_indices"])


def test_decoding_agrees_with_the_reference(family):
    expected, ranged, _ = family
    assert off(ranged.decode(expected["z_q"]), expected["rec"]) <= FORWARD
    assert off(ranged.decode(expected["z_in_q"]), expected["z_in_dec"]) <= FORWARD
    if "z_in_dec_unquantized" in expected:
        assert off(ranged.decode(expected["z_in"]), expected["z_in_dec_unquantized"]) <= FORWARD


def gradient(model, quantized: torch.Tensor, at: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
    image = model.decode(quantized)
    kept = cotangent * (image - image.clamp(0, 1)) >= 0
    return torch.autograd.grad(image, at, cotangent * kept)[0]


def test_the_gradient_agrees_with_the_reference_and_goes_straight_through_to_the_latent(family):
    expected, ranged, _ = family
    rows = expected["z_in_q"].clone().requires_grad_(True)
    assert off(gradient(ranged.model, rows, rows, expected["w"]), expected["grad_zq"]) <= GRADIENT
    latent = expected["z_in"].clone().requires_grad_(True)
    at_latent = gradient(ranged.model, ranged.model.quantize(latent)[0], latent, expected["w"])
    if ranged.model.config.quantizer != "unit":
        assert off(at_latent, expected["grad_zq"]) <= GRADIENT
    elif "grad_z_in" in expected:
        assert off(at_latent, expected["grad_z_in"]) <= GRADIENT


@pytest.mark.parametrize("name", FAMILIES)
def test_the_checkpoint_alone_is_as_good_as_with_its_config(name, tmp_path):
    expected, checkpoint, config, _ = golden(name)
    (tmp_path / "alone.ckpt").write_bytes(checkpoint.read_bytes())
    alone, both = load_vqgan(tmp_path / "alone.ckpt"), load_vqgan(checkpoint, config)
    assert alone.config == both.config
    assert torch.equal(alone.decode(expected["z_q"]), both.decode(expected["z_q"]))


def test_no_config_of_one_model_leaks_into_the_next():
    first = {name: load_vqgan(*golden(name)[1:3]) for name in FAMILIES}
    for name in [*FAMILIES[::-1], *FAMILIES[::3]]:
        again = load_vqgan(*golden(name)[1:3])
        latent = golden(name)[0]["z_in_q"]
        assert again.config == first[name].config
        assert torch.equal(again.decode(latent), first[name].decode(latent))


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


def full(name: str):
    """A real configuration: its weights made by the formula, what the reference computed from them, and its facts."""
    document = json.loads(gzip.decompress((GOLDENS / "full" / f"{name}.json.gz").read_bytes()))
    weights = {
        key: weight(f"full/{name}|{key}", entry["shape"], entry["amp"], entry["offset"])
        for key, entry in document["weights"].items()
        if "amp" in entry
    }
    config = document.get("config")
    if "params" in document:
        config = {"model": {"target": document["target"], "params": document["params"]}, **document["params"]}
    return weights, load_file(GOLDENS / "full" / f"{name}.safetensors"), document, config


def through_the_door(folder: Path, weights: dict[str, torch.Tensor], config: dict | None):
    """The model of these weights, as a user loads it: from a file, and a config if the family has one."""
    save_file(weights, folder / "weights.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    model = vqclip.load_vqgan(folder / "weights.safetensors", folder / "config.json" if config is not None else None)
    (folder / "weights.safetensors").unlink()
    return model


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long) if n in LONG else n for n in FULL])
def test_a_real_configuration_at_full_size_agrees_with_the_reference(name, tmp_path):
    weights, expected, document, config = full(name)
    model = through_the_door(tmp_path, weights, config)
    ranged = Ranged(model, document["image_range"][0])
    image = ranged.inward(expected["x"])
    assert model.stride == document["f"]
    assert off(model.encode(image), expected["z_e"]) <= FORWARD
    vectors, codes = model.tokenize(image)
    assert torch.equal(codes, expected.get("gumbel_indices", expected["indices"]))
    assert off(ranged.decode(vectors), expected.get("gumbel_rec", expected["rec"])) <= FORWARD
    quantized, codes = model.quantize(expected["z_in"])
    assert torch.equal(codes, expected["z_in_indices"])
    assert off(ranged.decode(quantized), expected["z_in_dec"]) <= FORWARD
