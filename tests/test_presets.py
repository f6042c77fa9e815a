import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqclip.cli.main import main
from vqclip.errors import UsageError
from vqclip.presets import (
    Preset,
    find_presets,
    load_preset,
    merge,
    preset_from_recipe,
    preset_toml,
    read_preset,
)
from vqclip.settings import Settings

SHIPPED = Path(__file__).parent.parent / "presets"


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_preset_loads_and_says_what_it_is(path: Path):
    preset = read_preset(path)
    assert preset.description.endswith(".")
    assert preset.try_.startswith("vqclip ")
    assert f"--preset {path.stem}" in preset.try_
    Settings.make({**preset.settings, "prompt": "x"}).check()


def test_the_promised_presets_are_found_by_name():
    assert {"draft", "standard", "fine", "crowson", "nerdy", "painterly", "dream"} <= set(find_presets())
    assert load_preset("crowson").settings["cutout_method"] == "crops"


def test_a_misspelled_preset_names_its_neighbor():
    with pytest.raises(UsageError, match="no preset 'drft'") as caught:
        load_preset("drft")
    assert caught.value.hint == "did you mean 'draft'?"


def test_a_shipped_name_is_not_taken_over_by_the_users_folder(tmp_path: Path):
    _write(tmp_path / "draft.toml", "steps = 7")
    _write(tmp_path / "mine.toml", "steps = 8")
    folders = (SHIPPED, tmp_path)
    assert find_presets(folders)["draft"].parent == SHIPPED
    assert load_preset("mine", folders).settings == {"steps": 8}


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("stpes = 3", "unknown setting 'stpes'", "did you mean 'steps'?"),
        ("steps = '3'", "steps = '3'", None),
        ("steps = -1", "steps = -1", None),
        ("steps = ", "not a TOML file", None),
        ("description = 3", "description must be text", None),
        ("init_image = '../secret.png'", "outside its own folder", "a preset may name only files"),
        ("image_prompts = ['a.png', '/etc/x.png:2']", "outside its own folder", "a preset may name"),
        ("vqgan = '../../evil.ckpt'", "outside its own folder", "a preset may name"),
        ("[steps]\nx = 1", "steps", None),
    ],
)
def test_a_wrong_preset_is_refused_with_its_file_and_key(tmp_path: Path, text: str, words: str, hint: str | None):
    path = _write(tmp_path / "bad.toml", text)
    with pytest.raises(UsageError) as caught:
        read_preset(path)
    assert str(path) in caught.value.message
    assert words in caught.value.message
    assert hint is None or caught.value.hint.startswith(hint)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"x" * 70_000])
def test_a_preset_that_is_no_small_text_is_refused(tmp_path: Path, data: bytes):
    path = tmp_path / "bad.toml"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"not UTF-8|larger than 64 KB"):
        read_preset(path)


def test_a_preset_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_preset(str(tmp_path / "none.toml"))


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path):
    path = tmp_path / "win.toml"
    path.write_bytes("\ufeffsteps = 3\r\ntv = 1.5\r\n".encode())
    assert read_preset(path).settings == {"steps": 3, "tv": 1.5}


def test_a_preset_names_files_in_its_own_folder(tmp_path: Path):
    path = _write(
        tmp_path / "own.toml", "init_image = 'a.png'\nimage_prompts = ['sub/b.png:0.5']\nclip = ['starter:2']"
    )
    settings = read_preset(path).settings
    assert settings["init_image"] == str((tmp_path / "a.png").resolve())
    assert settings["image_prompts"] == [f"{(tmp_path / 'sub' / 'b.png').resolve()}:0.5"]
    assert settings["clip"] == ["starter:2"]


def test_flags_win_over_presets_and_presets_over_defaults():
    merged = merge({"steps": 5, "tv": 1.0}, {"steps": None, "tv": 2.0}, {"cutouts": 3})
    assert merged == {"steps": 5, "tv": 2.0, "cutouts": 3}


def test_a_start_that_a_flag_names_ousts_the_presets_start():
    assert merge({"init": "codes"}, {"init_image": "a.png"}) == {"init_image": "a.png"}
    assert merge({"init_image": "a.png"}, {"init": "codes"}) == {"init": "codes"}
    assert merge({"init_image": "a.png"}, {"init": "image"}) == {"init_image": "a.png", "init": "image"}
    assert merge({"init": "codes"}, {"prior": "a"}) == merge({"init_image": "a.png"}, {"prior": "a"}) == {"prior": "a"}
    assert merge({"prior": "a", "init": "prior"}, {"init_image": "a.png"}) == {"init_image": "a.png"}
    assert merge({"prior": "a"}, {"init": "codes"}) == {"init": "codes"}
    assert merge({"prior": "a"}, {"init": "prior"}) == {"prior": "a", "init": "prior"}
    assert merge({"prior": "a", "init": "prior"}, {"steps": 3}) == {"prior": "a", "init": "prior", "steps": 3}
    assert merge({}, {"prior": "a", "init": "codes"}) == {"prior": "a", "init": "codes"}


def test_a_recipe_is_a_preset_without_its_files():
    recipe = {
        "schema": 1,
        "output": "/etc/x",
        "settings": {
            "prompt": "a castle",
            "seed": 7,
            "steps": None,
            "clip": ["ViT-B-32/openai:0.5", "starter"],
            "vqgan": "../../evil.ckpt",
            "init_image": "cat.png",
            "image_prompts": ["http://x/y.png"],
            "future": 1,
        },
    }
    preset = preset_from_recipe(json.loads(json.dumps(recipe)), name="x.png")
    assert preset.settings == {"prompt": "a castle", "seed": 7, "clip": ["ViT-B-32/openai:0.5", "starter"]}
    assert set(preset.dropped) == {"vqgan", "init_image", "image_prompts"}
    assert len(preset.notes) == 4
    assert "future" in preset.notes[-1]


@pytest.mark.parametrize(
    "name", ["/x/y", "evil.ckpt", "a/b/c", "../x", "http://x/y", "hf-hub:a/b", "C:\\x", "", "~/x", "x.SAFETENSORS:2"]
)
def test_no_model_path_or_address_comes_out_of_a_recipe(name: str):
    dropped = preset_from_recipe({"settings": {"clip": [name], "vqgan": name, "prior": name}}).dropped
    assert set(dropped) == {"clip", "vqgan", "prior"}


@pytest.mark.parametrize("recipe", [None, [], "x", {"settings": 3}, {"settings": {"steps": "many"}}, {"seed": -1}])
def test_what_is_no_recipe_is_refused(recipe: object):
    with pytest.raises(UsageError):
        preset_from_recipe(recipe)


def test_a_recipe_file_is_read_like_a_preset(tmp_path: Path):
    path = _write(tmp_path / "run.json", '{"schema": 1, "settings": {"steps": 3}}')
    assert load_preset(str(path)).settings == {"steps": 3}
    with pytest.raises(UsageError, match="not a JSON file"):
        read_preset(_write(tmp_path / "bad.json", "[" * 50_000))


_values = st.fixed_dictionaries(
    {},
    optional={
        "prompt": st.text(st.characters(exclude_categories=["Cs"])),
        "steps": st.integers(0, 1_000_000),
        "tv": st.floats(0, 1000),
        "flip": st.booleans(),
        "clip": st.lists(st.sampled_from(["starter", "ViT-B-32/openai:0.5"]), min_size=1),
        "cutout_method": st.sampled_from(["views", "crops", "pooled"]),
    },
)


@given(_values, st.text(st.characters(exclude_categories=["Cs"])))
def test_a_preset_survives_being_written_and_read(tmp_path_factory: pytest.TempPathFactory, values: dict, text: str):
    path = tmp_path_factory.getbasetemp() / "trip.toml"
    path.write_bytes(preset_toml(Preset("trip", values, text, text)).encode("utf-8"))
    read = read_preset(path)
    assert dict(read.settings) == {key: value for key, value in values.items() if value != ""}
    assert (read.description, read.try_) == (text, text)


@pytest.mark.parametrize("named", ["my.pt:0.5", "./my.pt:-0.5", "ViT-B-32/openai=sub/my.pt:0.5"])
def test_a_preset_may_name_a_clip_beside_it_with_a_weight(tmp_path: Path, named: str):
    path = _write(tmp_path / "own.toml", f'clip = ["{named}"]')
    [clip] = read_preset(path).settings["clip"]
    place = "sub/my.pt" if "sub" in named else "my.pt"
    assert clip.endswith(f"{tmp_path.resolve() / place}{named[named.rindex(':') :]}")
    assert clip.startswith("ViT-B-32/openai=") is named.startswith("ViT")


def test_one_broken_preset_does_not_hide_the_others(tmp_path: Path, monkeypatch, capsys):
    _write(tmp_path / "good.toml", 'description = "a good one"\nsteps = 3')
    _write(tmp_path / "broken.toml", "steps = [")
    _write(tmp_path / "wrong.toml", "stpes = 3")
    monkeypatch.setattr("vqclip.presets.preset_folders", lambda: (tmp_path,))
    assert main(["presets"]) == 0
    out, err = capsys.readouterr()
    assert "a good one" in out and "broken" not in out
    assert "broken.toml" in err and "wrong.toml" in err and "stpes" in err
