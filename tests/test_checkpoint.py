"""Weight files from strangers: the benign load, the hostile and the broken end in one sentence and run nothing."""

import importlib
import json
import os
import pickle
import runpy
import shutil
import struct
import subprocess
import types
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from watch import small

from vqclip.errors import ModelError
from vqclip.store.checkpoint import read_header, read_weights, require_finite
from vqclip.store.documents import read_yaml
from vqclip.store.lookalikes import looks_like
from vqclip.store.shapes import checked_config
from vqclip.store.vqgans import load_vqgan, save_vqgan

FORMATS = Path(__file__).parent / "goldens" / "formats"
TAMING = Path(__file__).parent / "goldens" / "A" / "taming_vqgan"
MOST_MEGABYTES = 50
BENIGN = [
    "plain.ckpt",
    "legacy_nonzip.ckpt",
    "lightning2.ckpt",
    "bare_state_dict.pth",
    "ddp_module_prefix.pth",
    "plain.safetensors",
    "pl_callback_class.ckpt",
    "pl_callback_class_legacy_nonzip.ckpt",
    "omegaconf_hparams.ckpt",
    "argparse_namespace.pt",
    "numpy_scalar.ckpt",
    "numpy1_scalar.ckpt",
]


@pytest.mark.parametrize("name", BENIGN)
def test_a_benign_file_loads_the_same_weights_whatever_wraps_them(name):
    expected, got = load_file(FORMATS / "plain.safetensors"), read_weights(FORMATS / name)
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[key].float(), expected[key].float()) for key in expected)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("malicious_system_call.ckpt", "posix.system"),
        ("malicious_eval.ckpt", "builtins.eval"),
        ("truncated.ckpt", r"incomplete or not a weight file \(1,503 bytes"),
        ("html_error_page.ckpt", "a web page"),
        ("git_lfs_pointer.ckpt", "git-lfs pointer"),
        ("empty.ckpt", "empty"),
    ],
)
def test_a_bad_file_is_refused_with_a_sentence_that_says_what_happened(name, said):
    with pytest.raises(ModelError, match=said) as caught:
        read_weights(FORMATS / name)
    assert caught.value.exit_code == 4 and "\n" not in caught.value.message and caught.value.hint


class Payload:
    """Calls something when it is unpickled the ordinary way."""

    def __init__(self, call, *arguments):
        self.call = (call, arguments)

    def __reduce__(self):
        return self.call


def payloads(canary: str):
    write = f"open({canary!r}, 'w').close()"
    return {
        "os.system": Payload(os.system, f"touch {canary}"),
        "os.popen": Payload(os.popen, f"touch {canary}"),
        "builtins.eval": Payload(eval, f"__import__('pathlib').Path({canary!r}).touch()"),
        "builtins.exec": Payload(exec, write),
        "builtins.open": Payload(open, canary, "w"),
        "builtins.getattr": Payload(getattr, "text", "upper"),
        "builtins.__import__": Payload(__import__, "os"),
        "subprocess.Popen": Payload(subprocess.Popen, ["touch", canary]),
        "subprocess.check_output": Payload(subprocess.check_output, ["touch", canary]),
        "runpy.run_path": Payload(runpy.run_path, canary),
        "importlib.import_module": Payload(importlib.import_module, "antigravity"),
        "pickle.loads": Payload(pickle.loads, pickle.dumps(Payload(os.system, f"touch {canary}"))),
        "shutil.copy": Payload(shutil.copy, __file__, canary),
        "types.SimpleNamespace": Payload(types.SimpleNamespace),
        "torch.load": Payload(torch.load, canary),
        "torch.hub.load": Payload(torch.hub.load, "someone/something", "model"),
        "pathlib.Path.touch": Payload(Path.touch, Path(canary)),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", list(payloads("x")))
def test_a_hostile_pickle_never_runs(name, zipped, tmp_path):
    canary = tmp_path / "canary"
    path = tmp_path / "evil.ckpt"
    document = {"state_dict": {"a": torch.zeros(2)}, "callbacks": payloads(str(canary))[name]}
    torch.save(document, path, _use_new_zipfile_serialization=zipped)
    with small(MOST_MEGABYTES), pytest.raises(ModelError, match="refused as unsafe: it asks for") as caught:
        read_weights(path)
    assert caught.value.exit_code == 4
    assert name.split(".")[-1] in caught.value.message or name == "pathlib.Path.touch"
    assert not canary.exists()


def test_the_name_a_hostile_file_asks_for_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "evil.ckpt"
    torch.save({"a": Payload(os.system, "true")}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes().replace(b"cposix\nsystem\n", b"cpo\x1b[31mx\nsystem\n")
    assert b"\x1b" in data
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        read_weights(path)
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize("source", ["plain.ckpt", "legacy_nonzip.ckpt", "plain.safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, -1])
def test_a_file_cut_off_anywhere_is_refused(source, kept, tmp_path):
    data = (FORMATS / source).read_bytes()
    path = tmp_path / source
    path.write_bytes(data[: -1 if kept == -1 else int(len(data) * kept)])
    with pytest.raises(ModelError, match=r"incomplete|empty|not a weight file"):
        read_weights(path)


def flipped(source: Path, target: Path, place: bytes) -> Path:
    data = bytearray(source.read_bytes())
    data[data.index(place) + len(place) + 70] ^= 4
    target.write_bytes(data)
    return target


def test_a_flipped_bit_in_a_zip_is_found_by_the_files_own_checksums(tmp_path):
    with pytest.raises(ModelError, match=r"flip.ckpt is damaged: .*data/0 does not fit its own checksum") as caught:
        read_weights(flipped(TAMING / "last.ckpt", tmp_path / "flip.ckpt", b"/data/0"))
    assert caught.value.exit_code == 4


def test_a_zip_without_checksums_of_its_own_is_read_as_it_is(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(3.0)}, tmp_path / "bare.ckpt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_weights(tmp_path / "bare.ckpt")["a"].tolist() == [0, 1, 2]


def rezip(source: Path, target: Path, compression: int = zipfile.ZIP_STORED, extra: dict | None = None) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
        for name, data in (extra or {}).items():
            new.writestr(name, data)
    return target


def test_a_zip_bomb_is_refused_without_unpacking_it(tmp_path):
    bomb = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", b"")
        with archive.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(256):
                member.write(bytes(2**20))
    with small(MOST_MEGABYTES), pytest.raises(ModelError, match="compressed"):
        read_weights(bomb)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"archive/evil.py": b"import os"}, "evil.py"),
        ({"../outside": b"x"}, "outside"),
        ({"archive/code/__torch__.py": b"x"}, "TorchScript"),
    ],
)
def test_a_zip_with_foreign_members_is_refused(extra, said, tmp_path):
    with pytest.raises(ModelError, match=said):
        read_weights(rezip(FORMATS / "plain.ckpt", tmp_path / "odd.ckpt", extra=extra))


def test_a_zip_with_the_same_member_twice_is_refused(tmp_path):
    with zipfile.ZipFile(FORMATS / "plain.ckpt") as archive:
        first = archive.namelist()[0]
    with pytest.warns(UserWarning, match="Duplicate"):
        path = rezip(FORMATS / "plain.ckpt", tmp_path / "twice.ckpt", extra={first: b"x"})
    with pytest.raises(ModelError, match="doubled"):
        read_weights(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_tensor_that_claims_more_than_the_file_has_is_refused(zipped, tmp_path):
    path = tmp_path / "huge.ckpt"
    torch.save({"a": torch.zeros(1).expand(10**12)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match="claims more numbers"):
        read_weights(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_storage_that_lies_about_its_size_is_refused(zipped, tmp_path):
    honest, lying = tmp_path / "honest.ckpt", tmp_path / "lying.ckpt"
    torch.save({"a": torch.arange(77.0)}, honest, _use_new_zipfile_serialization=zipped)
    lie = (b"K\x4d", b"J" + struct.pack("<i", 2**31 - 1))
    if zipped:
        with zipfile.ZipFile(honest) as old, zipfile.ZipFile(lying, "w") as new:
            for member in old.infolist():
                new.writestr(member.filename, old.read(member).replace(*lie))
    else:
        lying.write_bytes(honest.read_bytes().replace(*lie))
    with pytest.raises(ModelError, match="incomplete"):
        read_weights(lying)


def test_the_averaged_weights_of_a_training_file_are_preferred(tmp_path):
    path = tmp_path / "training.pt"
    torch.save(
        {"model": {"a": torch.zeros(2)}, "ema": {"a": torch.ones(2)}, "optimizer": {"state": {}}, "epoch": 3}, path
    )
    assert read_weights(path)["a"].tolist() == [1, 1]


def test_a_document_that_contains_itself_ends(tmp_path):
    loop: dict = {}
    loop["model"] = loop
    torch.save(loop, tmp_path / "loop.pt")
    with pytest.raises(ModelError, match="no weights"):
        read_weights(tmp_path / "loop.pt")


@pytest.mark.parametrize(
    "data", [b'{"error": "rate limited"}', b"\x00" * 100, "Überall".encode(), b"<?xml version='1.0'?>"]
)
def test_bytes_that_are_no_weights_at_all_are_said_so(data, tmp_path):
    (tmp_path / "odd.ckpt").write_bytes(data)
    with pytest.raises(ModelError, match=r"not a weight file|web page"):
        read_weights(tmp_path / "odd.ckpt")


def test_a_missing_file_and_a_folder_are_said_so(tmp_path):
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        read_weights(tmp_path / "none.ckpt")
    with pytest.raises(ModelError, match="is a folder"):
        read_weights(tmp_path)


def test_a_safetensors_file_is_known_by_its_header_whatever_its_length(tmp_path):
    for extra in range(120, 136):
        path = tmp_path / f"{extra}.safetensors"
        save_file({"a": torch.zeros(1)}, path, metadata={"x": "y" * extra})
        assert read_weights(path)["a"].tolist() == [0]


def test_a_crowd_of_empty_weights_is_refused_by_its_number(tmp_path):
    save_file({f"w{number}": torch.zeros(0) for number in range(20_001)}, tmp_path / "crowd.safetensors")
    with pytest.raises(ModelError, match="20,001 weights in one file"):
        read_weights(tmp_path / "crowd.safetensors")


def test_damaged_headers_of_our_own_files_are_refused(tmp_path):
    tensors = {"a": torch.zeros(1)}
    for number, text in enumerate(["{", "[]", "[" * 5000, "null"]):
        path = tmp_path / f"{number}.safetensors"
        save_file(tensors, path, metadata={"vqclip": text})
        with pytest.raises(ModelError, match="header is damaged"):
            read_header(path)
    save_file(tensors, tmp_path / "foreign.safetensors", metadata={"format": "pt"})
    assert read_header(tmp_path / "foreign.safetensors") == {}


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"b holds NaN"):
        require_finite({"a": torch.zeros(2), "b": torch.tensor([1.0, float("inf")])}, "x.ckpt")
    tensors = read_weights(TAMING / "last.ckpt")
    tensors["decoder.conv_out.bias"] = tensors["decoder.conv_out.bias"] * float("nan")
    torch.save({"state_dict": tensors}, tmp_path / "nan.ckpt")
    with pytest.raises(ModelError, match=r"nan.ckpt is damaged: decoder.conv_out.bias"):
        load_vqgan(tmp_path / "nan.ckpt")


BILLION = "a: &a [x, x, x, x]\n" + "\n".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x: !!python/object/apply:os.system ['true']", "not a plain yaml config"),
        ("x: !!python/name:os.system", "not a plain yaml config"),
        (BILLION, "aliases are not allowed"),
        ("a: &a {x: 1}\nb:\n  <<: *a", "aliases are not allowed"),
        ("[" * 60_000, "not a plain yaml config"),
        ("x: " + "y" * 70_000, "larger than 64 KB"),
        ("just words", "holds no settings"),
        ("a: b: c: d", "not a plain yaml config"),
        ("x: \x00", "not a plain yaml config"),
    ],
)
def test_a_hostile_yaml_is_refused(text, said, tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=said):
        read_yaml(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("n_embed: 64", "n_embed: 1000000000000", "codes is 1000000000000"),
        ("ch: 32", "ch: ${oc.env:SECRET}", "channels is"),
        ("resolution: 32", "resolution: 99999", "resolution is 99999"),
        ("num_res_blocks: 1", "num_res_blocks: true", "blocks is True"),
        ("num_res_blocks: 1", "num_res_blocks: 2", "blocks is 1 here, but 2 in the yaml"),
        ("n_embed: 64", "n_embed: 128", "codes is 64 here, but 128 in the yaml"),
        ("ddconfig:", "otherconfig:", "no model.params.ddconfig"),
    ],
)
def test_a_yaml_out_of_range_or_of_another_model_is_refused(old, new, said, tmp_path):
    text = (TAMING / "model.yaml").read_text()
    assert old in text
    (tmp_path / "model.yaml").write_text(text.replace(old, new))
    shutil.copy(TAMING / "last.ckpt", tmp_path)
    with pytest.raises(ModelError, match=said):
        load_vqgan(tmp_path / "last.ckpt")


def test_a_config_header_is_checked_value_by_value():
    assert checked_config({"channels": 64, "multipliers": [1, 2], "attention_levels": []}, "x").stride == 2
    for wrong in (
        {"channels": 10**9},
        {"multipliers": []},
        {"multipliers": [0]},
        {"codes": -1},
        {"quantizer": "magic"},
        {"quantizer": "sign", "embedding_channels": 4096},
        {"quantizer": "sign", "embedding_channels": 5, "codes": 31},
        {"quantizer": "residual"},
        {"quantizer": "residual", "scales": [1, 0]},
        {"quantizer": "gumbel", "latent_channels": 4},
        {"quant_kernel": 0, "latent_channels": 4},
    ):
        with pytest.raises(ModelError):
            checked_config(wrong, "x")
    with pytest.raises(ModelError, match="unknown entry 'colour'"):
        checked_config({"colour": 1}, "x")


def keep(tensors: dict, **changes) -> dict:
    return {**{name: tensor for name, tensor in tensors.items() if name not in changes}, **changes}


def test_a_file_of_another_family_is_called_by_its_name(tmp_path):
    for names, kind in [
        (["visual.conv1.weight", "positional_embedding"], "a CLIP"),
        (["model.diffusion_model.input_blocks.0.0.weight"], "a Stable Diffusion checkpoint"),
        (["lora_unet_down_blocks_0.lora_up.weight"], "a LoRA"),
        (["decoder.mid.block_1.norm1.weight", "quant_conv.weight"], "without a codebook"),
        (["something.else"], "none of the models known here"),
    ]:
        assert kind in looks_like(names)
        torch.save({name: torch.zeros(2) for name in names}, tmp_path / "other.ckpt")
        with pytest.raises(ModelError, match="is no VQGAN of a known family: it looks like"):
            load_vqgan(tmp_path / "other.ckpt")


def test_missing_misshapen_and_foreign_parts_are_named(tmp_path):
    tensors = read_weights(TAMING / "last.ckpt")
    path = tmp_path / "vqgan.ckpt"

    def refused(changed: dict, said: str) -> None:
        torch.save({"state_dict": changed}, path)
        with pytest.raises(ModelError, match=said):
            load_vqgan(path)

    gone = dict(tensors)
    del gone["decoder.up.0.block.0.conv2.bias"]
    refused(gone, r"not whole: decoder.up.0.block.0.conv2.bias is missing")
    refused(keep(tensors, **{"post_quant_conv.weight": torch.zeros(3, 3, 1, 1)}), "has the shape")
    refused(keep(tensors, **{"decoder.mid.block_9.weight": torch.zeros(3)}), "parts that its family does not")
    refused(keep(tensors, **{"decoder.conv_in.weight": torch.zeros(3)}), "has the shape")
    for dtype in (torch.int64, torch.bool, torch.complex64):
        changed = {"decoder.conv_out.weight": tensors["decoder.conv_out.weight"].to(dtype)}
        refused(keep(tensors, **changed), "which no weight has")


def test_our_own_file_gives_the_same_model_again(tmp_path):
    model = load_vqgan(TAMING / "last.ckpt")
    path = save_vqgan(model, tmp_path / "own.safetensors", {"note": "made for a test"})
    again = load_vqgan(path)
    assert again.config == model.config
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert read_header(path)["recipe"] == {"note": "made for a test"}
    assert not list(tmp_path.glob(".vqclip-*"))


def test_an_own_file_of_the_future_or_of_another_kind_is_refused(tmp_path):
    for header, said in [
        ({"format": "vqclip-vqgan", "schema": 99, "config": {}}, "newer version"),
        ({"format": "vqclip-clip", "schema": 1}, "is no VQGAN"),
        ({"format": "vqclip-vqgan", "schema": 1}, "no config"),
    ]:
        save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", metadata={"vqclip": json.dumps(header)})
        with pytest.raises(ModelError, match=said):
            load_vqgan(tmp_path / "x.safetensors")
