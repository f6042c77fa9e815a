"""Families of VQGANs: told from the file whatever its place and shape, refused for what they are, painted with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from test_goldens_vqgans import FAMILIES, golden

from vqclip.cli.main import main
from vqclip.configs import VQGANConfig
from vqclip.errors import ModelError
from vqclip.models.vqgan import VQGAN
from vqclip.store.checkpoint import read_weights
from vqclip.store.diffusers import read_diffusers
from vqclip.store.families import recognize
from vqclip.store.llamagen import read_janus
from vqclip.store.lookalikes import looks_like
from vqclip.store.lookupfree import read_magvit
from vqclip.store.maskgit import read_maskgit
from vqclip.store.var import read_var
from vqclip.store.vitvqgan import read_vitvqgan
from vqclip.store.vqgans import build_vqgan, load_vqgan, save_vqgan

GOLDENS = Path(__file__).parent / "goldens"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_paints_from_the_command_line(name, tiny_models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, checkpoint, _, _ = golden(name)
    flags = ["--clip", str(tiny_models.clip), "--device", "cpu", "--threads", "1", "--size", "32x32"]
    code = main(["a castle", "--vqgan", str(checkpoint), *flags, "--steps", "1", "--cutouts", "2", "--seed", "5"])
    said = capsys.readouterr()
    assert (code, said.out) == (0, "outputs/a-castle-5.png\n"), said.err


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_the_same_model_again_in_our_own_file(name, tmp_path):
    expected, checkpoint, config, _ = golden(name)
    model = load_vqgan(checkpoint, config)
    again = load_vqgan(save_vqgan(model, tmp_path / "own.safetensors"))
    assert again.config == model.config
    assert torch.equal(again.decode(expected["z_in_q"]), model.decode(expected["z_in_q"]))
    assert torch.equal(again.quantize(expected["z_in"])[1], expected["z_in_indices"])


@pytest.mark.parametrize("inside", ["", "movq", "vqvae"])
def test_a_folder_of_diffusers_is_a_model(inside, tmp_path):
    (tmp_path / "kandinsky" / inside).mkdir(parents=True)
    for file in (GOLDENS / "A" / "movq").iterdir():
        shutil.copy(file, tmp_path / "kandinsky" / inside)
    assert load_vqgan(tmp_path / "kandinsky").config.variant == "movq"


def test_a_folder_without_weights_is_said_so(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no weights under a name"):
        load_vqgan(tmp_path)


def test_of_a_split_model_the_file_with_the_vqgan_is_read(tmp_path):
    weights = load_file(GOLDENS / "A" / "janus_hf" / "model.safetensors")
    mine = {name: tensor for name, tensor in weights.items() if "vqmodel" in name}
    save_file(mine, tmp_path / "model-2-of-2.safetensors")
    save_file({"lm_head.weight": torch.zeros(2)}, tmp_path / "model-1-of-2.safetensors")
    places = {"lm_head.weight": "model-1-of-2.safetensors"} | dict.fromkeys(mine, "model-2-of-2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    assert load_vqgan(tmp_path).config.quantizer == "unit"
    for hostile in (dict.fromkeys(mine, "../outside.safetensors"), [1], dict.fromkeys(mine, 1), "x", None):
        index.write_text(json.dumps({"weight_map": hostile}))
        with pytest.raises(ModelError, match="holds no weights under a name"):
            load_vqgan(tmp_path)


BLOCK = "decoder.up.0.block.0."
LONG = "9" * 5000
DAMAGED = [
    (read_maskgit, {"nin_shortcut": (2, 2, 3, 3), "conv1": (2, 2, 3, 3), "conv2": (2, 2, 3, 3)}),
    (read_maskgit, {"nin_shortcut": (2, 2, 1, 1), "conv1": (2, 2, 3, 3), "conv2": (2,)}),
    (read_maskgit, {"nin_shortcut": (2, 2, 1, 1), "conv1": (10**6, 10**6, 0, 1), "conv2": (2, 2, 3, 3)}),
    (read_maskgit, {"nin_shortcut": (), "conv1": (2, 2, 3, 3), "conv2": ()}),
    (read_maskgit, {f"encoder.down.{level}.block.0.conv2": (10**5, 1, 1, 1) for level in (0, 1)}),
    (read_maskgit, {f"decoder.mid.{LONG}.conv1": (1,)}),
    (read_var, {"decoder.mid.attn_1.qkv": ()}),
    (read_var, {"quantize.quant_resi.qresi_ls.0": (10**6, 10**6, 0, 0)}),
    (read_var, {"quantize.quant_resi.qresi_ls.0": (2, 2, 1, 3)}),
    (read_magvit, {"decoder.up.1.upsample.conv1": ()}),
    (read_magvit, {"decoder.up.1.upsample.conv1": (0, 2, 3, 3)}),
    (read_diffusers, {}),
    (read_janus, {f"decoder.up.{LONG}.block.0.conv1": (1,)}),
    (read_vitvqgan, {"decoder.to_pixel.1": (0, 3, 8, 8)}),
]


@pytest.mark.parametrize(
    ("reader", "shapes"), DAMAGED, ids=[f"{reader.__name__}{n}" for n, (reader, _) in enumerate(DAMAGED)]
)
def test_a_weight_of_an_impossible_shape_is_refused_and_costs_nothing(reader, shapes):
    weights = {f"{name if '.' in name else BLOCK + name}.weight": torch.zeros(side) for name, side in shapes.items()}
    with pytest.raises(ModelError):
        reader(weights, None, "x")


def test_a_var_of_scales_that_are_no_list_is_refused():
    with pytest.raises(ModelError, match="works on 1 scale, and which is not known"):
        read_var({"quantize.ema_vocab_hit_SV": torch.zeros(())}, None, "x")


def test_signs_whose_bits_are_no_bits_are_refused():
    config = VQGANConfig(
        8, (1, 1), 1, (), False, 3, 3, 8, quantizer="sign", quant_kernel=0, middle_blocks=1, norm_groups=8
    )
    weights = VQGAN(config).state_dict()
    assert build_vqgan(config, {**weights, "quantize.powers": torch.tensor([4, 2, 1])}, "x").config == config
    for powers in ([0, 1, 2], [1, 2, 3], [1, 1, 4]):
        with pytest.raises(ModelError, match="is no order of bits"):
            build_vqgan(config, {**weights, "quantize.powers": torch.tensor(powers)}, "x")


def test_a_config_of_var_that_is_none_is_no_bug():
    for document in ({"params": [1]}, {"params": {"v_patch_nums": [0]}}, {"v_patch_nums": []}, {"params": None}):
        with pytest.raises(ModelError):
            read_var({}, document, "x")


def test_the_original_janus_is_a_llamagen_inside_a_larger_model(tmp_path):
    weights = read_weights(GOLDENS / "A" / "llamagen" / "vq_ds2_c2i.pt")
    inside = {f"gen_vision_model.{name}": tensor for name, tensor in weights.items()}
    torch.save(inside | {"lm_head.weight": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    assert load_vqgan(tmp_path).config == load_vqgan(GOLDENS / "A" / "llamagen" / "vq_ds2_c2i.pt").config


def test_running_averages_are_preferred_and_tell_an_ibq_unless_its_yaml_says_otherwise(tmp_path):
    weights = read_weights(GOLDENS / "A" / "taming_vqgan" / "last.ckpt")
    halves = {f"model_ema.{name.replace('.', '')}": tensor / 2 for name, tensor in weights.items()}
    path = tmp_path / "ibq.ckpt"
    torch.save({"state_dict": weights | halves | {"model_ema.decay": torch.tensor(0.9)}}, path)
    model = load_vqgan(path)
    assert model.config.quantizer == "inner"
    assert torch.equal(model.codebook, weights["quantize.embedding.weight"] / 2)
    shutil.copy(GOLDENS / "A" / "taming_vqgan" / "model.yaml", tmp_path / "ibq.yaml")
    assert load_vqgan(path).config.quantizer == "l2"
    text = (tmp_path / "ibq.yaml").read_text().replace("taming.models.vqgan.VQModel", "src.IBQ.models.ibqgan.IBQ")
    (tmp_path / "ibq.yaml").write_text(text)
    assert load_vqgan(path).config.quantizer == "inner"
    model = yaml.safe_load(text)["model"]
    published = {"seed_everything": True, "model": {"class_path": model["target"], "init_args": model["params"]}}
    (tmp_path / "ibq.yaml").write_text(yaml.safe_dump(published))
    assert load_vqgan(path).config.quantizer == "inner"


@pytest.mark.parametrize(
    ("key", "value"), [("num_vq_embeddings", 99), ("vq_embed_dim", 5), ("norm_num_groups", "many")]
)
def test_a_config_of_another_model_is_refused(key, value, tmp_path):
    folder = shutil.copytree(GOLDENS / "A" / "diffusers_vqmodel", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(ModelError, match=r"do not belong together|norm_groups is 'many'"):
        load_vqgan(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not a json config"):
        load_vqgan(folder)


def test_an_activation_that_is_not_known_is_refused(tmp_path):
    folder = shutil.copytree(GOLDENS / "A" / "diffusers_vqmodel", tmp_path / "model")
    (folder / "config.json").write_text(json.dumps({"act_fn": "gelu"}))
    with pytest.raises(ModelError, match="activation 'gelu'"):
        load_vqgan(folder)


def test_amused_is_known_by_its_config_or_by_having_no_attention_at_all():
    weights = {
        f"{half}.{place}.resnets.0.conv1.weight": torch.zeros(32, 32, 3, 3)
        for half, place in (("encoder", "down_blocks.0"), ("decoder", "up_blocks.0"))
    }
    weights |= {
        f"{half}.mid_block.resnets.0.conv1.weight": torch.zeros(32, 32, 3, 3) for half in ("encoder", "decoder")
    }
    weights |= {"decoder.conv_out.weight": torch.zeros(3, 32, 3, 3), "encoder.conv_in.weight": torch.zeros(32, 3, 3, 3)}
    weights |= {"quantize.embedding.weight": torch.zeros(9, 64), "decoder.conv_in.weight": torch.zeros(32, 64, 3, 3)}
    family, plain = recognize(weights, "x")
    assert family.name == "diffusers"
    assert family.read(plain, None, "x")[0].picture_range == "unit"
    assert family.read(plain, {"lookup_from_codebook": False}, "x")[0].picture_range == "signed"
    assert family.read(plain, {"lookup_from_codebook": True}, "x")[0].picture_range == "unit"


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.conv_in.weight"], "Stable Diffusion's VAE"),
        (["model.vqmodel.encoder.conv_in.weight"], "Chameleon"),
        (["double_blocks.0.img_attn.qkv.weight"], "a diffusion network"),
        (["image_proj.proj.weight"], "an IP-Adapter"),
        (["string_to_param.*"], "a textual inversion"),
        (["decoder.blocks.input.w"], "DALL-E"),
        (["text_model.embeddings.token_embedding.weight"], "a CLIP"),
        (["unet.lora_A.weight"], "a LoRA"),
        (["encoder.block.0.layer.0.SelfAttention.q.weight"], "T5"),
        (["quantize.something", "decoder.x"], "a VQGAN of a family that is not known here"),
    ],
)
def test_what_is_no_vqgan_is_called_what_it_is(names, kind):
    assert kind in looks_like(names)
    with pytest.raises(ModelError, match="is no VQGAN of a known family"):
        recognize(dict.fromkeys(names, torch.zeros(1)), "x.ckpt")
