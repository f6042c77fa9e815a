"""The models known by name: their own settings, their files, and what is said when one is missing or wrong."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vqclip.errors import ModelError
from vqclip.settings import Settings
from vqclip.store import folder, registry
from vqclip.store.folder import at_hand, digest, locate, model_folder
from vqclip.store.registry import clip_name, find, models

GOLDEN = Path(__file__).parent / "goldens" / "A" / "taming_vqgan" / "last.ckpt"


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("VQCLIP_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_every_default_of_every_model_is_a_valid_setting():
    for model in [*models(), find("somewhere/else.ckpt")]:
        settings = Settings.make(dict(model.defaults), source=model.name)
        asked = {name for name, field in Settings.model_fields.items() if field.default is None}
        chosen = {name for name in asked if getattr(settings, name) is not None}
        assert asked - chosen <= {"seed", "vqgan_config", "init_image", "micro_batch"}, model.name


def test_only_the_starter_begins_with_the_prior():
    assert find("starter").stride == 8
    assert find("starter").defaults["init"] == "prior"
    assert all(model.defaults["init"] == "codes" for model in models() if model.name != "starter")


def test_a_gumbel_model_learns_faster_than_the_common_default():
    assert find("gumbel-f8-8192").defaults["learning_rate"] == 0.15
    assert find("imagenet-f16-16384").defaults["learning_rate"] == 0.1


def test_names_and_aliases_are_unique_and_lead_to_their_model():
    names = [name for model in models() for name in (model.name, *model.aliases)]
    assert len(set(names)) == len(names)
    assert find("vqgan_imagenet_f16_16384") is find("imagenet-f16-16384")
    assert find("my.ckpt").stride is None and not find("my.ckpt").registered


def test_registered_data_is_well_formed():
    for model in models():
        if model.name != "starter":
            assert model.suffix == ".ckpt" and model.mirrors and model.stride in (8, 16)
            assert all(mirror.startswith("https://") for mirror in model.mirrors)
        assert model.sha256 is None or len(bytes.fromhex(model.sha256)) == 32


def test_the_old_names_of_clips_become_open_clips():
    assert clip_name("ViT-B/32") == "ViT-B-32/openai"
    assert clip_name("ViT-B-16/laion2b_s34b_b88k") == "ViT-B-16/laion2b_s34b_b88k"


def test_the_registry_and_the_folder_need_no_torch():
    code = "import sys, vqclip.store.folder; assert 'torch' not in sys.modules and 'safetensors' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_model_is_answered_with_where_to_get_it_and_where_to_put_it(home):
    with pytest.raises(ModelError, match="imagenet-f16-16384 is not here") as caught:
        locate("imagenet-f16-16384", "vqgan")
    assert caught.value.exit_code == 4
    assert "https://huggingface.co/Somnai" in caught.value.hint
    assert str(home / "imagenet-f16-16384.ckpt") in caught.value.hint


def test_a_misspelled_name_gets_its_nearest_neighbor():
    with pytest.raises(ModelError, match="no model is called 'imagnet-f16-16384'") as caught:
        locate("imagnet-f16-16384", "vqgan")
    assert "imagenet-f16-16384" in caught.value.hint


def test_a_missing_path_is_said_so(tmp_path):
    with pytest.raises(ModelError, match="there is no file"):
        locate(tmp_path / "none", "vqgan")
    with pytest.raises(ModelError, match=r"there is no file none\.ckpt"):
        locate("none.ckpt", "vqgan")


def test_a_file_of_ones_own_is_found_by_path_and_in_the_folder_by_name(home):
    (home / "mine.ckpt").write_bytes(b"x")
    assert locate("mine", "vqgan") == home / "mine.ckpt"
    assert locate(str(home / "mine.ckpt"), "vqgan") == home / "mine.ckpt"


def test_a_registered_file_is_held_to_its_published_size_and_checksum(home, monkeypatch):
    path = home / "imagenet-f16-16384.ckpt"
    path.write_bytes(b"some bytes")
    with pytest.raises(ModelError, match="incomplete: 10 of 980,092,370 bytes"):
        locate("imagenet-f16-16384", "vqgan")
    entry = replace(find("imagenet-f16-16384"), size=10)
    monkeypatch.setattr(folder, "find", lambda name: entry)
    with pytest.raises(ModelError, match="not the published file: sha256"):
        locate("imagenet-f16-16384", "vqgan")
    monkeypatch.setattr(folder, "find", lambda name: replace(entry, sha256=hashlib.sha256(b"some bytes").hexdigest()))
    assert locate("imagenet-f16-16384", "vqgan") == path


def test_a_converted_file_goes_before_the_original_and_is_not_held_to_its_checksum(home):
    (home / "faceshq-f16-1024.safetensors").write_bytes(b"converted")
    (home / "faceshq-f16-1024.ckpt").write_bytes(b"original")
    assert locate("faceshq", "vqgan").suffix == ".safetensors"
    assert "faceshq-f16-1024" in [model.name for model in at_hand()]


def test_the_digest_is_sha256():
    assert digest(GOLDEN) == hashlib.sha256(GOLDEN.read_bytes()).hexdigest()
    with pytest.raises(ModelError, match="cannot be read"):
        digest(GOLDEN / "none")


def test_the_model_folder_is_the_users_own_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("VQCLIP_HOME", str(tmp_path))
    assert model_folder() == tmp_path / "models"
    monkeypatch.delenv("VQCLIP_HOME")
    assert "vqclip" in model_folder().parts and model_folder().name == "models"


def test_a_starter_that_is_not_whole_is_said_so(monkeypatch, tmp_path):
    monkeypatch.setattr("vqclip.store.starter.resources.files", lambda package: tmp_path)
    with pytest.raises(ModelError, match="its clip is missing"):
        locate("starter", "clip")
    assert "starter" not in [model.name for model in at_hand()]
    assert registry.known_names()[0] == "starter"
