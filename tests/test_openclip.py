"""CLIPs: our own files, open_clip's by name and local file, the right activation, no network unless wanted."""

import json
import socket
import subprocess
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from vqclip.errors import ModelError
from vqclip.models.interfaces import Perceptor
from vqclip.store import openclip, torchscript, torchvision
from vqclip.store.checkpoint import read_weights
from vqclip.store.clipfile import ELSE, VOCABULARY, read_clip, write_clip
from vqclip.store.folder import digest, record
from vqclip.store.openclip import build_clip, fetch_notice, load_clip, make_tokenizer, torchvision_health
from vqclip.store.ownlist import OwnList

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32, "patch_size": None},
    "text_cfg": {"context_length": 12, "vocab_size": VOCABULARY, "width": 16, "heads": 2, "layers": 1},
}
WORDS = ("castle", "fog", "in", "a", "hot-air balloon")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def ids():
    tokenizer = make_tokenizer(12)
    tokens = {token for word in WORDS for token in tokenizer.encode(word)}
    return [ELSE, tokenizer.sot_token_id, tokenizer.eot_token_id, *sorted(tokens)]


@pytest.fixture(scope="module")
def model():
    return build_clip(CONFIG).eval()


@pytest.fixture(scope="module")
def file(model, ids, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "tiny.safetensors"
    write_clip(
        path,
        model.state_dict(),
        CONFIG,
        ids=ids,
        words=WORDS,
        mean=MEAN,
        std=STD,
        recipe={"note": 1},
        dtype=torch.float32,
    )
    return path


def images(seed: int = 0, size: int = 32) -> torch.Tensor:
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_a_model_written_in_our_format_sees_and_reads_as_before(model, file):
    perceptor = load_clip(file)
    normalized = (images() - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    texts = ["a castle in fog", "hot-air balloon"]
    with torch.no_grad():
        seen = model.encode_image(normalized, normalize=True)
        read = model.encode_text(make_tokenizer(12)(texts), normalize=True)
    assert isinstance(perceptor, Perceptor)
    assert torch.allclose(perceptor.embed_image(images()), seen, atol=1e-5)
    assert torch.allclose(perceptor.embed_text(texts), read, atol=1e-5)
    assert (perceptor.image_size, perceptor.name) == (32, "tiny")
    assert len(perceptor.digest) == 64
    assert perceptor.mean == pytest.approx(MEAN) and perceptor.std == pytest.approx(STD)


def test_only_the_rows_in_use_are_stored_and_all_others_read_as_one(model, file, ids):
    stored, table = load_file(file), read_clip(file).weights["token_embedding.weight"]
    original = model.state_dict()["token_embedding.weight"]
    assert stored["token_embedding.rows"].shape == (len(ids), 16)
    assert table.shape == (VOCABULARY, 16)
    assert torch.equal(table[ids[1:]], original[ids[1:]])
    others = [number for number in (0, 777, 40_000) if number not in ids]
    assert all(torch.equal(table[number], table[others[0]]) for number in others)
    assert torch.allclose(table[others[0]], original[ids[1:]].mean(0), atol=1e-6)
    perceptor = load_clip(file)
    same = perceptor.embed_text(["a zebra", "a quokka"])
    assert same.shape == (2, 16)


def test_a_table_with_one_row_for_each_id_is_stored_as_it_is(model, ids, tmp_path):
    state = model.state_dict()
    state["token_embedding.weight"] = torch.arange(float(len(ids) * 16)).view(len(ids), 16)
    path = write_clip(tmp_path / "x.safetensors", state, CONFIG, ids=ids, words=(), mean=MEAN, std=STD)
    assert torch.equal(load_file(path)["token_embedding.rows"], state["token_embedding.weight"].half())
    with pytest.raises(ValueError, match="-1"):
        write_clip(path, state, CONFIG, ids=ids[1:], words=(), mean=MEAN, std=STD)


def test_it_is_frozen_but_gradients_reach_the_picture(file):
    perceptor, image = load_clip(file), images().requires_grad_(True)
    assert not any(parameter.requires_grad for parameter in perceptor.model.parameters())
    assert not perceptor.model.training
    perceptor.embed_image(image)[:, 0].sum().backward()
    assert float(image.grad.abs().max()) > 0
    assert not perceptor.embed_text(["fog"]).requires_grad


def test_in_half_precision_embeddings_are_float32_of_length_one_and_nearly_the_same(file):
    exact, half = load_clip(file), load_clip(file, dtype=torch.bfloat16)
    embedded = half.embed_image(images())
    assert embedded.dtype is torch.float32
    assert torch.allclose(embedded.norm(dim=1), torch.ones(3), atol=1e-5)
    assert float(F.cosine_similarity(embedded, exact.embed_image(images())).min()) > 0.98
    assert torch.equal(half.embed_text(["fog"]), exact.embed_text(["fog"]))


def test_pictures_of_another_size_are_refused(file):
    with pytest.raises(ValueError, match="32 px squares"):
        load_clip(file).embed_image(images(size=40))


def test_loading_and_building_draw_no_random_numbers(file):
    before = torch.random.get_rng_state()
    load_clip(file)
    build_clip(CONFIG)
    build_clip(CONFIG, filled=False)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_prompt_longer_than_the_window_is_said_so(file):
    perceptor = load_clip(file)
    assert perceptor.window_warning("a castle in fog") is None
    assert perceptor.window_warning("fog " * 10) is None
    warning = perceptor.window_warning("castle " * 9 + "fog in hot air")
    assert "first 10 of the prompt's 13 tokens" in warning and warning.endswith("castle fog'")


def test_words_it_never_saw_are_named_once_and_in_order(file):
    perceptor = load_clip(file)
    assert perceptor.unknown_words("A Castle in FOG, a hot air BALLOON") == []
    assert perceptor.unknown_words("a zebra in fog, zebra's castle, 3 dragons") == ["zebra", "zebra's", "dragons"]


def rewritten(file, target, header_changes=(), tensor_changes=()):
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        header = json.loads(opened.metadata()["vqclip"])
    header.update(header_changes)
    tensors = {**load_file(file), **dict(tensor_changes)}
    save_file(tensors, target, metadata={"vqclip": json.dumps(header)})
    return target


@pytest.mark.parametrize(
    ("header", "tensors", "said"),
    [
        ({"schema": 9}, {}, "newer version"),
        ({"format": "vqclip-vqgan"}, {}, "does not say which CLIP"),
        ({"std": [0, 1, 1]}, {}, "std is not positive"),
        ({"mean": [0.5]}, {}, "mean is not three numbers"),
        ({"words": [1]}, {}, "list of words"),
        ({"config": {}}, {}, "no CLIP config"),
        ({"config": {**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], "width": 10**9}}}, {}, "width"),
        ({"config": {**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], "width": 16}}}, {}, "does not fit"),
        ({"config": {**CONFIG, "vision_cfg": {"timm_model_name": "x"}}}, {}, "timm_model_name"),
        ({"config": {**CONFIG, "text_cfg": {**CONFIG["text_cfg"], "hf_model_name": "x/y"}}}, {}, "hf_model_name"),
        ({"config": {**CONFIG, "nonsense": 1}}, {}, "cannot build"),
        ({}, {"token_embedding.ids": torch.zeros(3, dtype=torch.int32)}, "token rows"),
        ({}, {"visual.conv1.weight": torch.full((4, 3, 3, 3), float("nan"))}, "NaN"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(header, tensors, said, file, tmp_path):
    with pytest.raises(ModelError, match=said):
        load_clip(rewritten(file, tmp_path / "wrong.safetensors", header, tensors))


def test_a_file_that_is_no_clip_of_ours_is_told_how_to_be_named(tmp_path):
    torch.save({"visual.proj": torch.zeros(2)}, tmp_path / "open_clip.pt")
    with pytest.raises(ModelError, match="it looks like a CLIP") as caught:
        load_clip(tmp_path / "open_clip.pt")
    assert "ViT-B-32/openai=" in caught.value.hint
    with pytest.raises(ModelError, match=r"there is no file none\.pt"):
        load_clip("none.pt")


@pytest.fixture
def small_architectures(monkeypatch):
    """open_clip's table of architectures, with everything tiny; the tags and their training stay open_clip's own."""
    own = openclip._open_clip()
    real = own.get_model_config

    def tiny(name):
        return {**CONFIG, **({"quick_gelu": True} if "quickgelu" in name else {})} if real(name) else None

    monkeypatch.setattr(own, "get_model_config", tiny)
    return own


@pytest.mark.parametrize(
    ("name", "quick"),
    [
        ("ViT-B-32/openai", True),
        ("ViT-B/32", True),
        ("ViT-B-32-quickgelu/openai", True),
        ("ViT-B-32/laion400m_e32", True),
        ("ViT-B-32/laion2b_s34b_b79k", False),
    ],
)
def test_each_tag_gets_the_activation_it_was_trained_with(
    name, quick, small_architectures, model, tmp_path, monkeypatch
):
    weights = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), weights)
    if name == "ViT-B/32":
        monkeypatch.setattr(openclip, "_cached", lambda training: weights)
        perceptor = load_clip(name, offline=True)
    else:
        perceptor = load_clip(f"{name}={weights}")
    tokens = make_tokenizer(12)(["a castle in fog"])
    reads = {}
    for activation in (True, False):
        twin = build_clip({**CONFIG, "quick_gelu": activation}).eval()
        twin.load_state_dict(model.state_dict())
        reads[activation] = twin.encode_text(tokens, normalize=True).detach()
    read = perceptor.embed_text(["a castle in fog"])
    assert torch.allclose(read, reads[quick], atol=1e-6)
    assert not torch.allclose(read, reads[not quick], atol=1e-6)


def test_mean_and_std_are_those_of_the_tag(small_architectures, model, tmp_path):
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "epoch_9.pt")
    odd = load_clip(f"ViT-L-14/laion2b_s32b_b82k={tmp_path / 'epoch_9.pt'}")
    usual = load_clip(f"ViT-L-14/openai={tmp_path / 'epoch_9.pt'}")
    assert odd.mean == pytest.approx((0.5, 0.5, 0.5)) and odd.std == pytest.approx((0.5, 0.5, 0.5))
    assert usual.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert odd.name == "ViT-L-14/laion2b_s32b_b82k"


def test_local_weights_of_another_model_are_refused_by_name(small_architectures, tmp_path):
    save_file({"decoder.mid.block_1.norm1.weight": torch.zeros(2)}, tmp_path / "vae.safetensors")
    with pytest.raises(ModelError, match="looks like an autoencoder"):
        load_clip(f"ViT-B-32/openai={tmp_path / 'vae.safetensors'}")


@pytest.mark.parametrize("name", ["ViT-B-32/openai", "RN50/cc12m"])
def test_offline_a_model_that_is_not_at_hand_is_said_so_without_a_single_connection(name, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ModelError, match="not on this machine, and the network is off") as caught:
        load_clip(name, offline=True)
    assert caught.value.exit_code == 4 and f"{name}=PATH" in caught.value.hint
    assert f"vqclip models get {name};" in caught.value.hint


def test_what_will_be_fetched_is_told_with_size_and_license(file, monkeypatch):
    monkeypatch.setattr(openclip, "_cached", lambda training: None)
    assert fetch_notice("ViT-B/32") == "ViT-B-32/openai: about 604 MB; license: MIT"
    assert fetch_notice("RN50/cc12m") == "RN50/cc12m: size not documented; license: not stated"
    for here in ("starter", str(file), f"ViT-B-32/openai={file}"):
        assert fetch_notice(here) is None
    with pytest.raises(ModelError, match="no CLIP is called"):
        fetch_notice("ViT-B-33/openai")
    monkeypatch.setattr(openclip, "_cached", lambda training: file)
    assert fetch_notice("ViT-B/32") is None


def test_a_clip_of_the_model_folder_is_held_to_its_record(file, monkeypatch, tmp_path):
    monkeypatch.setattr("vqclip.store.folder.own_list", lambda: OwnList(folder=str(tmp_path)))
    path = tmp_path / "eyes.safetensors"
    path.write_bytes(file.read_bytes())
    record(path, digest(path))
    assert load_clip("eyes").name == "eyes" and fetch_notice("eyes") is None
    record(path, "0" * 64)
    with pytest.raises(ModelError, match="not the recorded file"):
        load_clip("eyes")


def test_a_failed_download_is_said_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    def fail(training):
        raise RuntimeError("name resolution failed\nwith a long trace")

    monkeypatch.setattr(openclip._open_clip(), "download_pretrained", fail)
    with pytest.raises(ModelError, match=r"cannot be downloaded: name resolution failed$"):
        load_clip("ViT-B-32/laion2b_s34b_b79k", offline=False)


def test_a_siglip_without_its_tokenizer_names_the_extra_or_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(openclip.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="reads words with the package transformers") as caught:
        load_clip("ViT-B-16-SigLIP/webli", offline=True)
    assert caught.value.exit_code == 4 and caught.value.hint == 'pip install "vqclip[siglip]"'
    monkeypatch.undo()
    wanted = []

    def fail(name, **options):
        wanted.append(options["local_files_only"])
        raise OSError("no such file")

    monkeypatch.setattr(openclip.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(openclip._open_clip(), "get_tokenizer", fail)
    with pytest.raises(ModelError, match="the network is off") as caught:
        load_clip("ViT-B-16-SigLIP/webli", offline=True)
    assert "vqclip models get ViT-B-16-SigLIP/webli" in caught.value.hint and wanted == [True]
    with pytest.raises(ModelError, match="cannot be downloaded: no such file"):
        load_clip("ViT-B-16-SigLIP/webli", offline=False)


def test_several_clips_keep_their_own_sizes(file, model, tmp_path):
    large = {**CONFIG, "vision_cfg": {**CONFIG["vision_cfg"], "image_size": 64}}
    twin = build_clip(large)
    path = tmp_path / "large.safetensors"
    ids = [ELSE, *make_tokenizer(12).encode("fog")]
    write_clip(path, twin.state_dict(), large, ids=ids, words=(), mean=MEAN, std=STD)
    assert [load_clip(one).image_size for one in (file, path)] == [32, 64]


@pytest.fixture
def archive(model, tmp_path):
    """A TorchScript program whose weights are a CLIP's, as OpenAI publishes them."""

    class Program(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual, self.transformer = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.visual(image)

    path = tmp_path / "ViT-B-32.pt"
    torch.jit.script(Program()).save(str(path))
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_is_run_only_if_its_checksum_is_one_of_openais(archive, monkeypatch):
    def never(*_, **__):
        raise AssertionError("the program was loaded")

    monkeypatch.setattr(torch.jit, "load", never)
    for name in (str(archive), f"ViT-B-32/openai={archive}"):
        with pytest.raises(ModelError, match="a TorchScript program and none of OpenAI's own: sha256") as caught:
            load_clip(name)
        assert caught.value.exit_code == 4 and "ViT-B-32/openai" in caught.value.hint
    with pytest.raises(ModelError, match="TorchScript program"):
        read_weights(archive)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_of_openais_archives_gives_its_weights_and_its_name(archive, monkeypatch):
    monkeypatch.setattr(torchscript, "openai_name", {digest(archive): "ViT-B-32/openai"}.get)
    assert torchscript.openai_archive(archive) == "ViT-B-32/openai"
    assert sorted(torchscript.read_archive(archive)) == [
        f"{part}.{kind}" for part in ("transformer", "visual") for kind in ("bias", "weight")
    ]
    with pytest.raises(ModelError, match=r"ViT-B-32.pt is not ViT-B-32/openai|is not the CLIP it should be"):
        load_clip(archive)


def test_an_archive_that_openais_own_package_left_is_used(small_architectures, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    old = tmp_path / ".cache" / "clip" / "ViT-B-32.pt"
    old.write_bytes(b"x")
    training = small_architectures.get_pretrained_cfg("ViT-B-32", "openai")
    assert openclip._cached(training) == old


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("ViT-B-32", "which weights", "ViT-B-32/openai"),
        ("ViT-B-32/opnai", "no weights called 'opnai'", "openai"),
        ("ViT-B-33/openai", "no CLIP is called", "ViT-B-32"),
        ("hf-hub:someone/model", "no CLIP is called", None),
    ],
)
def test_a_name_that_is_not_quite_right_gets_help(name, said, hint):
    with pytest.raises(ModelError, match=said) as caught:
        load_clip(name)
    assert hint is None or hint in caught.value.hint


BROKEN = """
import torch
for name in ("nms", "zap"):
    if not hasattr(torch.ops.torchvision, name):
        raise RuntimeError(f"operator torchvision::{name} does not exist")
"""


def test_a_torchvision_without_its_compiled_part_is_healed_operator_by_operator(tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(BROKEN)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "from vqclip.store.torchvision import heal_torchvision; print(heal_torchvision())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "('nms', 'zap')", run.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("something else\nand more"), "does not match this torch: something else"),
        (ImportError("no such library"), "cannot be imported: no such library"),
    ],
)
def test_a_torchvision_beyond_healing_is_said_so(error, said, monkeypatch):
    def fail(name):
        raise error

    monkeypatch.setattr(torchvision, "importlib", types.SimpleNamespace(import_module=fail))
    with pytest.raises(ModelError, match=said):
        torchvision.heal_torchvision.__wrapped__()


def test_the_doctor_hears_that_torchvision_is_usable():
    usable, sentence = torchvision_health()
    assert usable and sentence.startswith("torchvision ")
