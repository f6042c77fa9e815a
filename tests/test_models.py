"""`vqclip models` from end to end: list, get, add, verify, convert, export and remove; offline not a single socket."""

import hashlib
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from door import Door, Ran
from mirror import WEIGHTS, serving
from watch import watched

from vqclip.store import folder, registry
from vqclip.store.clips import HUB_FILES
from vqclip.store.ownlist import OwnList, check_list

SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
TAMING = Path(__file__).parent / "goldens" / "A" / "taming_vqgan" / "last.ckpt"


@pytest.fixture
def vqclip(monkeypatch, capsys) -> Door:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return Door(monkeypatch, capsys)


@pytest.fixture
def home(monkeypatch, tmp_path):
    path, known = tmp_path / "models", registry.models
    use(monkeypatch, OwnList(folder=str(path)))
    yield path
    known.cache_clear()


def use(monkeypatch, found: OwnList) -> None:
    for module in (folder, registry):
        monkeypatch.setattr(module, "own_list", lambda: found)
    registry.models.cache_clear()


@pytest.fixture
def no_socket(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.fixture
def mirror(home, monkeypatch):
    with serving() as server:
        entry = '[models.{}]\nsuffix = ".safetensors"\nlicense = "MIT"\nnoncommercial = true\n'
        entry += 'mirrors = [{}]\nsha256 = "{}"\n'
        bad, good = (f'"{server.url(faults)}"' for faults in ("404", "drop"))
        text = f'folder = "{home}"\n' + entry.format("mine", f"{bad}, {good}", SHA256)
        text += entry.format("gone", bad, SHA256) + entry.format("swapped", f'"{server.url("wrong")}"', SHA256)
        use(monkeypatch, check_list(text.encode(), "models.toml"))
        yield server


def rows(ran: Ran) -> list[dict]:
    return [json.loads(line) for line in ran.out.splitlines()]


def test_the_list_names_every_model_in_words_and_as_json(vqclip, home):
    known = rows(vqclip("models", "list", "--json"))
    assert len(known) > 40 and known[0]["name"] == "starter" and known[0]["here"]
    [one] = [facts for facts in known if facts["name"] == "imagenet-f16-16384"]
    assert one["stride"] == 16 and one["size"] == 980092370 and len(one["mirrors"]) == 5 and not one["here"]
    text = vqclip("models", "list").out
    assert "imagenet-f16-16384            f16     980 MB" in text and "(non-commercial)" in text and "by hand" in text
    seen = vqclip("models", "list", "--clip")
    assert "ViT-B-32/openai" in seen.out and "0.41 s" in seen.out and "open_clip works too" in seen.err
    assert rows(vqclip("models", "list", "--clip", "--json"))[0]["px"] == 224


def test_one_model_is_shown_whole_by_name_or_alias(vqclip, home):
    text = vqclip("models", "info", "coco").out
    assert "name:             coco-f16-8192" in text and "everyday scenes" in text and "296 MB" in text
    assert rows(vqclip("models", "info", "ViT-B/32", "--json"))[0]["name"] == "ViT-B-32/openai"
    ran = vqclip("models", "info", "cocoo")
    assert ran.code == 4 and "did you mean 'coco'?" in ran.err


def test_get_says_size_and_license_first_tries_the_next_mirror_and_publishes(vqclip, home, mirror):
    ran = vqclip("models", "get", "mine")
    assert ran.code == 0 and ran.out == f"{home / 'mine.safetensors'}\n"
    said = ran.err.splitlines()
    assert said[0] == "note: mine: size not documented; license: MIT; not for commercial use"
    assert "answers 404" in said[1]
    assert (home / "mine.safetensors").read_bytes() == WEIGHTS
    assert mirror.sent <= 1.05 * len(WEIGHTS)
    asked = len(mirror.asked)
    again = vqclip("models", "get", "mine")
    assert (again.code, again.out, len(mirror.asked)) == (0, ran.out, asked)


def test_get_without_a_published_checksum_records_the_first_and_says_so(vqclip, home, mirror, monkeypatch):
    entry = registry.Model("mine", suffix=".ckpt", mirrors=(mirror.url(),))
    monkeypatch.setattr(registry, "models", lambda: (entry,))
    ran = vqclip("models", "get", "mine")
    assert ran.code == 0 and f"no checksum is published for mine.ckpt; recorded {SHA256}" in ran.err
    (home / "mine.ckpt").write_bytes(WEIGHTS[:-1] + b"?")
    ran = vqclip("models", "get", "mine")
    assert ran.code == 4 and "not the recorded file" in ran.err and "vqclip models rm mine" in ran.err


@pytest.mark.parametrize(("name", "said"), [("gone", "answers 404"), ("swapped", "gives another file")])
def test_what_cannot_be_had_or_is_another_file_costs_exit_4_and_leaves_nothing(name, said, vqclip, home, mirror):
    ran = vqclip("models", "get", name)
    assert ran.code == 4 and said in ran.err and "Traceback" not in ran.err
    assert not (home / f"{name}.safetensors").exists()


@pytest.mark.parametrize("name", ["imagenet-f16-16384", "ViT-B-32/openai", "ViT-B-16-SigLIP/webli"])
@pytest.mark.parametrize("way", ["flag", "environment"])
def test_offline_a_missing_model_costs_exit_4_and_the_command_without_a_socket(
    name, way, vqclip, home, no_socket, monkeypatch, tmp_path
):
    monkeypatch.setattr("vqclip.store.clips.in_cache", lambda clip: None)
    if way == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with watched(2):
        ran = vqclip("models", "get", name, *(["--offline"] if way == "flag" else []))
    assert ran.code == 4 and "the network is off" in ran.err and f"vqclip models get {name}" in ran.err


def test_a_clip_goes_into_the_shared_cache_the_safe_file_first_with_its_tokenizer(vqclip, home, monkeypatch, tmp_path):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    class Missing(huggingface_hub.errors.EntryNotFoundError):
        def __init__(self) -> None:
            Exception.__init__(self, "404")

    asked = []

    def download(repository: str, name: str) -> str:
        asked.append((repository, name))
        if name == "open_clip_model.safetensors" or name == "spiece.model":
            raise Missing
        (tmp_path / name).write_bytes(b"weights")
        return str(tmp_path / name)

    monkeypatch.setattr("vqclip.store.clips.in_cache", lambda clip: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    ran = vqclip("models", "get", "ViT-B-16-SigLIP/webli")
    assert ran.code == 0 and ran.out == f"{tmp_path / 'open_clip_pytorch_model.bin'}\n"
    assert "ViT-B-16-SigLIP/webli: about 812 MB; license: Apache-2.0" in ran.err
    assert "no checksum is published for ViT-B-16-SigLIP/webli; recorded " in ran.err
    assert [name for _, name in asked][:3] == [*HUB_FILES, "tokenizer_config.json"] and len(asked) == 6

    def down(*_: str) -> str:
        raise LocalEntryNotFoundError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", down)
    ran = vqclip("models", "get", "ViT-B/32")
    assert ran.code == 4 and "ViT-B-32/openai cannot be downloaded: no route to host" in ran.err


def test_the_wish_of_the_environment_reaches_a_painting(vqclip, home, monkeypatch):
    assert not vqclip("a castle").delivery.offline
    assert vqclip("a castle", "--offline").delivery.offline
    monkeypatch.setenv("HF_HUB_OFFLINE", "yes")
    assert vqclip("a castle").delivery.offline


def test_a_model_that_no_program_can_fetch_names_the_page(vqclip, home, no_socket):
    ran = vqclip("models", "get", "ffhq")
    assert ran.code == 4 and "https://k00.fr/" in ran.err and "vqclip models add FILE --name ffhq-f16-1024" in ran.err
    assert vqclip("models", "get", "starter").code == 4


def test_a_file_of_ones_own_is_added_verified_and_removed(vqclip, home, tmp_path):
    shutil.copy(TAMING, tmp_path / "glass flowers.ckpt")
    ran = vqclip("models", "add", str(tmp_path / "glass flowers.ckpt"))
    assert ran.code == 2 and "--name" in ran.err
    ran = vqclip("models", "add", str(tmp_path / "glass flowers.ckpt"), "--name", "flowers")
    assert ran.code == 0 and vqclip("models", "path", "flowers").out == ran.out == f"{home / 'flowers.ckpt'}\n"
    assert vqclip("models", "verify").out == "ok      flowers.ckpt\n"
    data = bytearray((home / "flowers.ckpt").read_bytes())
    data[-4000] ^= 1
    (home / "flowers.ckpt").write_bytes(data)
    ran = vqclip("models", "verify", "flowers")
    assert ran.code == 4 and "WRONG   flowers.ckpt: flowers.ckpt is not the recorded file" in ran.out
    ran = vqclip("models", "add", str(TAMING), "--name", "flowers")
    assert ran.code == 2 and "there is a model flowers already" in ran.err
    (home / ".flowers.ckpt.part").write_bytes(b"half")
    assert vqclip("models", "rm", "flowers").code == 0 and list(home.iterdir()) == []
    assert vqclip("models", "rm", "flowers").code == 4


def test_a_file_is_known_by_its_checksum_and_no_other_takes_its_name(vqclip, home, mirror, tmp_path):
    (tmp_path / "whatever.bin").write_bytes(WEIGHTS)
    ran = vqclip("models", "add", str(tmp_path / "whatever.bin"))
    assert "whatever.bin is mine" in ran.err and ran.out == f"{home / 'mine.safetensors'}\n"
    ran = vqclip("models", "add", str(TAMING), "--name", "coco")
    assert ran.code == 4 and "is not the published coco-f16-8192" in ran.err


@pytest.mark.parametrize(
    ("name", "said"),
    [("html_error_page.ckpt", "web page"), ("git_lfs_pointer.ckpt", "git-lfs"), ("empty.ckpt", "empty")],
)
def test_what_is_no_weight_file_is_not_added(name, said, vqclip, home):
    ran = vqclip("models", "add", str(TAMING.parents[2] / "formats" / name))
    assert ran.code == 4 and said in ran.err and not home.exists()


def test_a_model_folder_that_cannot_be_made_is_an_output_error(vqclip, home):
    home.write_bytes(b"a file")
    ran = vqclip("models", "add", str(TAMING), "--name", "flowers")
    assert ran.code == 6 and "the model folder" in ran.err and "cannot be made" in ran.err


def test_the_path_of_a_model_is_the_file_that_paints(vqclip, home):
    home.mkdir()
    for suffix in (".pth", ".bin", ".ckpt"):
        shutil.copy(TAMING, home / f"flowers{suffix}")
    assert vqclip("models", "path", "flowers").out == f"{folder.locate('flowers', 'vqgan')}\n"


def test_verify_records_what_was_put_there_by_hand(vqclip, home):
    home.mkdir()
    shutil.copy(TAMING, home / "faceshq-f16-1024.safetensors")
    shutil.copy(TAMING, home / "ffhq-f16-1024.ckpt")
    ran = vqclip("models", "verify")
    assert ran.code == 0 and ran.err.count("no checksum is published") == 2
    assert folder.locate("ffhq", "vqgan") == home / "ffhq-f16-1024.ckpt"


def test_a_checkpoint_becomes_a_small_file_and_goes_back(vqclip, home, tmp_path):
    vqclip("models", "add", str(TAMING), "--name", "flowers")
    ran = vqclip("models", "convert", "flowers", "--replace")
    assert ran.code == 0 and ran.out == f"{home / 'flowers.safetensors'}\n"
    assert {path.name for path in home.iterdir()} == {"flowers.safetensors", "flowers.safetensors.sha256"}
    half = vqclip("models", "convert", "flowers", "--half", "--output", str(tmp_path / "half.safetensors"))
    assert half.code == 0
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (home / "flowers.safetensors").stat().st_size
    assert vqclip("models", "convert", "flowers").code == 4, "it is converted already"
    ran = vqclip("models", "export", "flowers", str(tmp_path / "back.ckpt"))
    assert ran.out.split() == [str(tmp_path / "back.ckpt"), str(tmp_path / "back.yaml")]
    from vqclip.store.vqgans import load_vqgan

    first, last = (load_vqgan(path).state_dict() for path in (TAMING, tmp_path / "back.ckpt"))
    assert all((tensor == last[name]).all() for name, tensor in first.items())


@pytest.mark.parametrize(
    "arguments", [["list"], ["list", "--clip"], ["info", "coco"], ["path"], ["verify"], ["get", "coco", "--offline"]]
)
def test_torch_is_never_loaded_for_what_needs_none(arguments):
    code = "import sys; from vqclip.cli.main import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code, "models", *arguments], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
