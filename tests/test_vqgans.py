"""VQGANs by path: yaml found beside, parts left on the disk, half precision, and the way back to taming."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from vqclip.configs import VQGANConfig
from vqclip.errors import ModelError, OutputError
from vqclip.models.vqgan import VQGAN
from vqclip.store.checkpoint import read_weights
from vqclip.store.convert import convert
from vqclip.store.documents import read_yaml
from vqclip.store.taming import config_from_yaml
from vqclip.store.vqgans import export_taming, load_vqgan, save_vqgan

GOLDENS = Path(__file__).parent / "goldens" / "A"


@pytest.mark.parametrize("name", ["last.yaml", "last.yml", "model.yaml", "config.yaml"])
def test_a_yaml_beside_the_checkpoint_is_found_and_must_fit(name, tmp_path):
    shutil.copy(GOLDENS / "taming_vqgan" / "last.ckpt", tmp_path)
    shutil.copy(GOLDENS / "taming_gumbel" / "model.yaml", tmp_path / name)
    with pytest.raises(ModelError, match="do not belong together"):
        load_vqgan(tmp_path / "last.ckpt")


def test_in_the_model_folder_a_config_belongs_only_to_the_file_of_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("vqclip.store.vqgans.model_folder", lambda: tmp_path / "." / "models" / ".." / "models")
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "flowers.ckpt"
    shutil.copy(GOLDENS / "taming_vqgan" / "last.ckpt", path)
    for name in ("model.yaml", "config.yaml", "project.yaml"):
        shutil.copy(GOLDENS / "taming_gumbel" / "model.yaml", path.with_name(name))
    assert load_vqgan(path).config.quantizer == "l2"
    shutil.copy(GOLDENS / "taming_gumbel" / "model.yaml", path.with_suffix(".yaml"))
    with pytest.raises(ModelError, match="do not belong together"):
        load_vqgan(path)


def test_the_encoder_can_stay_on_the_disk(tmp_path):
    model = load_vqgan(GOLDENS / "taming_vqgan" / "last.ckpt", encoder=False)
    assert not model.can_encode
    saved = save_vqgan(model, tmp_path / "decoder.safetensors")
    assert not any(name.startswith("encoder.") for name in read_weights(saved))
    assert not load_vqgan(saved).can_encode


def test_half_precision_halves_the_file_and_computes_in_half(tmp_path):
    model = load_vqgan(GOLDENS / "taming_vqgan" / "last.ckpt")
    full = save_vqgan(model, tmp_path / "full.safetensors")
    half = save_vqgan(model, tmp_path / "half.safetensors", dtype=torch.float16)
    assert half.stat().st_size < 0.55 * full.stat().st_size
    loaded = load_vqgan(half, dtype=torch.bfloat16)
    assert loaded.dtype is torch.bfloat16
    assert loaded.codebook.dtype is torch.float32
    assert torch.allclose(loaded.codebook, model.codebook, atol=1e-3)


def test_weights_go_straight_to_the_number_format_that_a_cast_gives_them(tmp_path):
    config = VQGANConfig(channels=32, multipliers=(1,) * 5, blocks=1, latent_channels=8, embedding_channels=8, codes=40)
    path = save_vqgan(VQGAN(config), tmp_path / "deep.safetensors")
    loaded, cast = load_vqgan(path, dtype=torch.bfloat16), load_vqgan(path).cast(torch.bfloat16)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32, torch.bfloat16}
    for (name, ours), (_, theirs) in zip(loaded.named_parameters(), cast.named_parameters(), strict=True):
        assert ours.dtype is theirs.dtype and torch.equal(ours, theirs), name


def test_numbers_too_large_for_half_precision_are_not_written_and_the_original_stays(tmp_path):
    model = load_vqgan(GOLDENS / "taming_vqgan" / "last.ckpt")
    model.decoder.conv_in.weight[0, 0, 0, 0] = 1e6
    full = save_vqgan(model, tmp_path / "full.safetensors")
    with pytest.raises(ModelError, match=r"decoder.conv_in.weight holds numbers too large for 16 bits") as caught:
        convert(str(full), tmp_path / "half.safetensors", half=True, replace=True)
    assert "--half" in caught.value.hint and {path.name for path in tmp_path.iterdir()} == {full.name}


@pytest.mark.parametrize("kind", ["l2", "gumbel", "unit"])
def test_an_export_to_taming_reads_back_as_the_same_model(kind, tmp_path):
    source = load_vqgan(GOLDENS / "taming_vqgan" / "last.ckpt").config
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = VQGAN(replace(source, quantizer=kind, latent_channels=12)).eval()
    checkpoint, config = export_taming(model, tmp_path / "export.ckpt")
    again = load_vqgan(checkpoint, config)
    target = read_yaml(config)["model"]["target"]
    assert target == f"taming.models.vqgan.{'GumbelVQ' if kind == 'gumbel' else 'VQModel'}"
    assert (
        config_from_yaml(read_yaml(config), "x")
        == again.config
        == replace(model.config, quantizer="gumbel" if kind == "gumbel" else "l2")
    )
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        (vectors, codes), (vectors_again, codes_again) = model.tokenize(image), again.tokenize(image)
        assert torch.equal(codes, codes_again)
        assert torch.allclose(model.decode(vectors), again.decode(vectors_again), atol=1e-5)


def test_what_taming_cannot_express_is_not_exported(tmp_path):
    config = load_vqgan(GOLDENS / "taming_vqgan" / "last.ckpt").config
    with pytest.raises(ModelError, match="cannot express"):
        export_taming(VQGAN(replace(config, middle_attention=False)), tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match="without its encoder"):
        export_taming(VQGAN(config, encoder=False), tmp_path / "x.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path):
    model = load_vqgan(GOLDENS / "taming_vqgan" / "last.ckpt")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        save_vqgan(model, tmp_path / "file" / "x.safetensors")


def test_a_yaml_without_attention_means_none_in_the_middle_either():
    document = yaml.safe_load((GOLDENS / "taming_vqgan" / "model.yaml").read_text())
    document["model"]["params"]["ddconfig"]["attn_type"] = "none"
    config = config_from_yaml(document, "x")
    assert not config.middle_attention and config.attention_levels == ()


def test_only_the_vqgan_of_a_transformer_file_is_kept():
    model = load_vqgan(GOLDENS / "taming_net2net" / "last.ckpt")
    stored = read_weights(GOLDENS / "taming_net2net" / "last.ckpt")
    assert any(name.startswith(("transformer.", "cond_stage_model.", "first_stage_model.loss.")) for name in stored)
    assert model.config.in_channels == model.config.out_channels == 3
    assert {f"first_stage_model.{name}" for name in model.state_dict()} <= stored.keys()
