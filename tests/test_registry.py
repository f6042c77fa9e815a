"""The models known by name: their own settings, their files, and what is said when one is missing or wrong."""

import hashlib
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from vqclip.errors import ModelError, UsageError
from vqclip.settings import Settings
from vqclip.store import folder, registry
from vqclip.store.clips import clip_name, clips, openai_name
from vqclip.store.folder import at_hand, digest, locate, model_folder, record
from vqclip.store.ownlist import Entry, OwnList, check_list, own_list
from vqclip.store.registry import WEIGHT_SUFFIXES, find, models

GOLDEN = Path(__file__).parent / "goldens" / "A" / "taming_vqgan" / "last.ckpt"


@pytest.fixture
def home(monkeypatch, tmp_path):
    folder = tmp_path / "big disk"
    folder.mkdir()
    lists = OwnList(folder=str(folder))
    monkeypatch.setattr("vqclip.store.folder.own_list", lambda: lists)
    return folder


def test_every_default_of_every_model_is_a_valid_setting():
    for model in [*models(), find("somewhere/else.ckpt")]:
        settings = Settings.make(dict(model.defaults), source=model.name)
        asked = {name for name, field in Settings.model_fields.items() if field.default is None}
        chosen = {name for name in asked if getattr(settings, name) is not None}
        free = {"seed", "vqgan_config", "init_image", "prior", "micro_batch", "lean", "cutouts_start"}
        of_the_prior = {"sketch_again", "refine", "guidance"}  # said where a picture begins with one, and only there
        assert asked - chosen <= free | of_the_prior, model.name
        assert of_the_prior <= model.own("prior").keys() and not of_the_prior & model.own("codes").keys()


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
            assert model.suffix in WEIGHT_SUFFIXES and (model.mirrors or model.page) and model.stride in (4, 8, 16)
            assert model.license and model.about and model.good_at and (model.codes or model.name == "cin-f16")
            assert all(mirror.startswith("https://") for mirror in model.mirrors)


def test_the_shipped_list_keeps_to_the_rules_of_a_users_own():
    document = tomllib.loads((Path(registry.__file__).parent / "models.toml").read_text(encoding="utf-8"))
    for name, entry in document["models"].items():
        assert Entry.model_validate(entry), name
    assert len(document["models"]) > 40
    assert find("chameleon").noncommercial and not find("imagenet-f16-16384").noncommercial


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
    assert caught.value.hint == "vqclip models get imagenet-f16-16384 (980 MB)"
    with pytest.raises(ModelError, match="ffhq-f16-1024 is not here") as caught:
        locate("ffhq", "vqgan")
    assert "https://k00.fr/" in caught.value.hint and "vqclip models add FILE --name ffhq" in caught.value.hint


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


def test_a_plain_name_never_means_a_file_of_the_current_folder(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted").write_bytes(b"x")
    (tmp_path / "planted.ckpt").write_bytes(b"x")
    (tmp_path / "saved").mkdir()
    for name in ("planted", "saved"):
        with pytest.raises(ModelError, match=f"no model is called '{name}'") as caught:
            locate(name, "vqgan")
        assert caught.value.hint.endswith(f"write ./{name}")
    assert locate("./planted", "vqgan").samefile("planted")
    assert locate("planted.ckpt", "vqgan").samefile("planted.ckpt")


@pytest.mark.parametrize("name", ["a" * 3000, "~nobody-of-this-name/x.ckpt", "nul\0byte", "nul\0byte.ckpt"])
def test_a_name_that_cannot_be_a_files_is_no_bug(name, home):
    with pytest.raises(ModelError, match=r"no model is called|there is no file"):
        locate(name, "vqgan")


def test_removing_a_model_takes_what_its_download_left_and_nothing_else(home):
    own = ["mine.ckpt", "mine.ckpt.sha256", *(f".mine.ckpt.{kind}" for kind in ("part", "source", "lock"))]
    for name in (*own, ".mine.ckpt.swp", "mine.yaml"):
        (home / name).write_bytes(b"x")
    folder.forget(home / "mine.ckpt")
    assert {path.name for path in home.iterdir()} == {".mine.ckpt.swp", "mine.yaml"}


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


def test_a_registered_name_is_never_served_by_a_file_that_nobody_vouches_for(home):
    (home / "faceshq-f16-1024.ckpt").write_bytes(b"original")
    (home / "faceshq-f16-1024.safetensors").write_bytes(b"converted")
    with pytest.raises(ModelError, match=r"nothing vouches for faceshq-f16-1024.safetensors") as caught:
        locate("faceshq", "vqgan")
    assert "vqclip models verify faceshq-f16-1024" in caught.value.hint
    record(home / "faceshq-f16-1024.safetensors", hashlib.sha256(b"converted").hexdigest())
    assert locate("faceshq", "vqgan").suffix == ".safetensors"
    (home / "faceshq-f16-1024.safetensors").write_bytes(b"corrupted")
    with pytest.raises(ModelError, match=r"not the recorded file: sha256") as caught:
        locate("faceshq", "vqgan")
    assert "vqclip models rm faceshq-f16-1024" in caught.value.hint
    assert "faceshq-f16-1024" in [model.name for model in at_hand()]


def test_a_recorded_checksum_is_one_that_sha256sum_reads(home):
    path = home / "mine.ckpt"
    path.write_bytes(b"mine")
    record(path, digest(path))
    said = subprocess.run(["sha256sum", "--check", "mine.ckpt.sha256"], cwd=home, capture_output=True, check=False)
    assert said.returncode == 0
    path.write_bytes(b"yours")
    with pytest.raises(ModelError, match="not the recorded file"):
        locate("mine", "vqgan")


def test_a_file_is_hashed_once_until_it_changes(home, monkeypatch):
    path = home / "mine.ckpt"
    path.write_bytes(b"mine")
    read = []
    hashing = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *args: read.append(args) or hashing(*args))
    monkeypatch.setattr(folder, "_SETTLED_NS", 0)
    first = [digest(path), digest(str(path)), digest(path)]
    assert len(set(first)) == 1 and len(read) == 1
    times = path.stat()
    path.write_bytes(b"yrs!")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # the same size and the same time of change
    assert digest(path) == hashlib.sha256(b"yrs!").hexdigest() and len(read) == 2
    monkeypatch.setattr(folder, "_SETTLED_NS", 10**15)
    digest(path), digest(path)
    assert len(read) == 4, "what changed a moment ago is read again"


OWN = b"""
folder = "/data/models"
[models.mine]
family = "taming"
stride = 16
aliases = ["my-own"]
license = "MIT"
suffix = ".ckpt"
sha256 = "%s"
mirrors = ["http://localhost:8000/mine.ckpt"]
[models.mine.defaults]
learning_rate = 0.05
""" % (b"0" * 64)


@pytest.fixture
def own_list_of(monkeypatch):
    def use(data: bytes) -> None:
        found = check_list(data, "models.toml")
        monkeypatch.setattr(registry, "own_list", lambda: found)
        models.cache_clear()

    yield use
    models.cache_clear()


def test_a_list_of_the_users_own_is_laid_beside_the_shipped_one(own_list_of):
    own_list_of(OWN)
    assert find("my-own").name == "mine" and find("mine").yours and find("mine").registered
    assert find("mine").defaults["learning_rate"] == 0.05 and find("mine").defaults["steps"] == 300
    assert find("coco").name == "coco-f16-8192"


def test_a_model_without_any_address_asks_for_the_file(own_list_of, home):
    own_list_of(b"[models.mine]\nstride = 16\n")
    with pytest.raises(ModelError, match="mine is not here") as caught:
        locate("mine", "vqgan")
    assert "None" not in caught.value.hint and caught.value.hint.endswith("vqclip models add FILE --name mine")


def test_a_list_of_the_users_own_cannot_take_a_shipped_name(own_list_of):
    own_list_of(OWN.replace(b"my-own", b"coco"))
    with pytest.raises(UsageError, match="the name 'coco' is taken"):
        find("starter")


@pytest.mark.parametrize(
    ("old", "new", "said", "hint"),
    [
        (b"stride", b"strid", "unknown entry models.mine.strid", "did you mean 'stride'?"),
        (b"folder", b"where", "unknown entry where", "known: folder, models"),
        (b"= 16", b'= "16"', "models.mine.stride: Input should be a valid integer", "models info"),
        (b"00000", b"xyz", "models.mine.sha256: String should match", "models info"),
        (b'sha256 = "%s"\n' % (b"0" * 64), b"", "an http:// mirror needs a sha256", "models info"),
        (b'suffix = ".ckpt"', b'suffix = ".exe"', "suffix must be one of .safetensors", "models info"),
        (OWN, b'[models.mine]\nsuffix = "/../x"\n', "suffix must be one of .safetensors", "models info"),
        (b"http://localhost", b"file:///etc", "models.mine.mirrors.0: String should match", "models info"),
        (b"[models.mine]", b'[models."../mine"]', r"models.../mine", "models info"),
        (b"learning_rate", b"learning_rat", "learning_rat", "did you mean 'learning_rate'?"),
        (OWN, b"[models.mine]\nstride = 16\n[models.mine.restyle]\nkeeps = 1\n", "keeps", "did you mean 'keep'?"),
        (b'"/data/models"', b'"models"', "folder = 'models' is not a whole path", "begin it with"),
        (b"[models.mine]", b"[models.mine", "not a TOML file", None),
        (OWN, b"\xff\xfe", "not a TOML file", None),
    ],
)
def test_what_is_wrong_in_a_list_is_named_with_a_cure(old, new, said, hint):
    assert old in OWN
    with pytest.raises(UsageError) as caught:
        check_list(OWN.replace(old, new), "models.toml")
    assert said in caught.value.message and "models.toml" in caught.value.message
    assert hint is None or hint in caught.value.hint


def test_the_users_own_list_lies_in_their_configuration_folder_and_may_be_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(tmp_path))
    own_list.cache_clear()
    assert own_list() == OwnList()
    (tmp_path / "models.toml").write_bytes(OWN)
    own_list.cache_clear()
    assert str(model_folder()) == "/data/models"
    (tmp_path / "models.toml").write_bytes(b" " * 2_000_000)
    own_list.cache_clear()
    with pytest.raises(UsageError, match="larger than 1,024 KB"):
        own_list()
    own_list.cache_clear()


def test_the_clips_are_well_formed_and_openais_archives_known_by_their_checksums():
    assert len({clip.name for clip in clips()}) == len(clips()) > 20
    assert all(clip.license and clip.about and clip.hub.count("/") == 1 and clip.px >= 224 for clip in clips())
    assert openai_name("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af") == "ViT-B-32/openai"
    assert openai_name("0" * 64) is None


def test_the_digest_is_sha256():
    assert digest(GOLDEN) == hashlib.sha256(GOLDEN.read_bytes()).hexdigest()
    with pytest.raises(ModelError, match="cannot be read"):
        digest(GOLDEN / "none")


def test_the_environment_does_not_say_where_models_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("VQCLIP_HOME", str(tmp_path))
    assert tmp_path not in model_folder().parents
    assert "vqclip" in model_folder().parts and model_folder().name == "models"


def test_a_starter_that_is_not_whole_is_said_so(monkeypatch, tmp_path):
    monkeypatch.setattr("vqclip.store.starter.resources.files", lambda package: tmp_path)
    with pytest.raises(ModelError, match="its clip is missing"):
        locate("starter", "clip")
    assert "starter" not in [model.name for model in at_hand()]
    assert registry.known_names()[0] == "starter"
