import hashlib
import json
from pathlib import Path

import pytest
from door import RECIPE, Door, save_picture
from PIL import Image

from vqclip.store.registry import find


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Door:
    monkeypatch.chdir(tmp_path)
    return Door(monkeypatch, capsys)


def test_again_paints_from_the_recipe_in_the_picture(door: Door, tmp_path: Path):
    picture = save_picture(tmp_path / "a.png")
    said = door("again", str(picture)).settings.model_dump(exclude_unset=True)
    assert said.items() >= {"prompt": "a castle", "seed": 41, "steps": 9, "clip": ("starter",), "flip": False}.items()


def test_again_takes_changes(door: Door, tmp_path: Path):
    picture = save_picture(tmp_path / "a.png")
    changed = door("again", str(picture), "--steps", "4", "--prompt", "a ship").settings
    assert (changed.prompt, changed.steps, changed.seed) == ("a ship", 4, 41)
    assert door("again", str(picture), "--seed", "random").settings.seed != 41


def test_another_start_brings_its_own_rate_unless_one_was_asked_for(door: Door, tmp_path: Path):
    def rate(recipe: dict[str, object], *args: str, command: tuple[str, ...] = ("again",)) -> float | None:
        painted = {
            **RECIPE["settings"],
            "vqgan": "starter",
            "init": "prior",
            "coarse": find("starter").own(str(recipe.get("init", "prior")))["coarse"],
            **recipe,
        }
        picture = save_picture(tmp_path / "a.png", {"schema": 1, "settings": painted})
        settings = door(*command, str(picture), *args).settings
        assert settings.coarse == find(settings.vqgan).own(settings.init or "image")["coarse"]
        return settings.learning_rate

    own = find("starter").own
    prior, codes, image = (own(init)["learning_rate"] for init in ("prior", "codes", "image"))
    assert prior != codes
    assert rate({"learning_rate": prior}) == prior
    assert rate({"learning_rate": prior}, "--init", "codes") == codes
    Image.new("RGB", (16, 16)).save("mine.png")
    assert rate({"learning_rate": codes, "init": "codes"}, "--init-image", "mine.png") == image
    assert rate({"learning_rate": 0.3}, "--init", "codes") == 0.3
    assert rate({"learning_rate": prior}, "--init", "codes", "--lr", "0.4") == 0.4
    assert rate({"learning_rate": prior}, "--init", "codes", command=("fog", "--preset")) == codes
    other = rate({"learning_rate": prior}, "--init", "codes", "--vqgan", "imagenet-f16-16384")
    assert other == find("imagenet-f16-16384").own("codes")["learning_rate"]


def test_again_asks_for_a_file_instead_of_opening_one_a_recipe_names(door: Door, tmp_path: Path):
    settings = {**RECIPE["settings"], "init": "image", "init_image": "/etc/hostname"}
    picture = save_picture(tmp_path / "a.png", {"schema": 1, "settings": settings, "output": "/etc/x"})
    ran = door("again", str(picture))
    assert ran.code == 2
    assert "--init-image PATH" in ran.err
    Image.new("RGB", (16, 16)).save("mine.png")
    given = door("again", str(picture), "--init-image", "mine.png")
    assert given.settings.init_image == "mine.png"
    assert given.delivery.output is None


def test_again_asks_only_for_files_that_are_still_of_use(door: Door, tmp_path: Path):
    own = {"init": "image", "init_image": "me.png", "vqgan": "my.ckpt", "vqgan_config": "my.yaml"}
    picture = save_picture(tmp_path / "a.png", {"schema": 1, "settings": {**RECIPE["settings"], **own}})
    assert "--init-image" in door("again", str(picture), "--vqgan", "starter").err
    ran = door("again", str(picture), "--vqgan", "starter", "--init", "codes")
    assert ran.code == 0 and ran.settings.init_image is None and ran.settings.vqgan_config is None
    assert "--vqgan" in door("again", str(picture), "--init", "codes").err


def own_recipe(clip: list[str], models: dict[str, bytes]) -> dict[str, object]:
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in models.items()}
    settings = {**RECIPE["settings"], "vqgan": "my.ckpt", "clip": clip, "init": "codes"}
    return {"schema": 1, "settings": settings, "models": digests}


def test_again_finds_models_of_ones_own_by_what_is_in_them(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("vqclip.store.by_digest.model_folder", lambda: tmp_path / "models")
    folder = tmp_path / "models"
    folder.mkdir()
    contents = {"my.ckpt": b"vqgan", "clip:my.pt": b"clip", "clip:ViT-B-32/openai=own.pt": b"other"}
    for name, data in {"renamed.ckpt": b"vqgan", "my.pt": b"clip", "x.pt": b"other", "own.pt": b"no"}.items():
        (folder / name).write_bytes(data)
    clip = ["my.pt:0.5", "ViT-B-32/openai=own.pt:-0.25", "ViT-B-32/openai:0.1"]
    picture = save_picture(tmp_path / "a.png", own_recipe(clip, contents))
    settings = door("again", str(picture)).settings
    assert settings.vqgan == f"{folder}/renamed.ckpt"
    assert settings.clip == (f"{folder}/my.pt:0.5", f"ViT-B-32/openai={folder}/x.pt:-0.25", "ViT-B-32/openai:0.1")
    (folder / "my.pt").write_bytes(b"another")
    ran = door("again", str(picture))
    assert ran.code == 2 and "--clip PATH" in ran.err


def test_again_never_opens_a_model_that_a_recipe_places(door: Door, tmp_path: Path):
    for name in ("./my.pt:0.5", "my.pt:0.5", "../my.pt", "ViT-B-32/openai=/etc/x.pt:0.5"):
        picture = save_picture(tmp_path / "a.png", own_recipe([name], {f"clip:{name.split(':')[0]}": b""}))
        assert door("again", str(picture), "--vqgan", "starter").code == 2


def test_again_says_when_the_processor_is_another(door: Door, tmp_path: Path):
    from vqclip.engine.precision import capability

    for known, warned in ((capability(), False), ("a clockwork", True)):
        picture = save_picture(tmp_path / "a.png", {**RECIPE, "device": "cpu", "capability": known})
        assert ("clockwork" in door("again", str(picture)).err) is warned
    picture = save_picture(tmp_path / "a.png", {**RECIPE, "device": "cuda:0", "capability": "a clockwork"})
    assert "clockwork" not in door("again", str(picture)).err


def test_a_picture_serves_as_a_preset(door: Door, tmp_path: Path):
    settings = {**RECIPE["settings"], "vqgan": "../../evil.ckpt"}
    ran = door("a ship", "--preset", str(save_picture(tmp_path / "a.png", {"schema": 1, "settings": settings})))
    assert (ran.settings.prompt, ran.settings.steps, ran.settings.vqgan) == ("a ship", 9, "starter")
    assert "left out" in ran.err


def test_show_prints_the_recipe(door: Door, tmp_path: Path):
    picture = str(save_picture(tmp_path / "a.png"))
    assert "prompt: a castle" in door("show", picture).out
    assert json.loads(door("show", picture, "--json").out)["settings"]["seed"] == 41
    assert 'prompt = "a castle"' in door("show", picture, "--toml").out


def test_an_evil_recipe_cannot_steer_the_terminal(door: Door, tmp_path: Path):
    recipe = {"schema": 1, "settings": {"prompt": "\x1b[2J\u202e[/x]", "seed": 1}, "\x1b]0;x": "y"}
    picture = str(save_picture(tmp_path / "a.png", recipe))
    for args in (["show", picture], ["show", picture, "--json"], ["show", picture, "--toml"]):
        ran = door(*args)
        assert ran.code == 0
        assert not set(ran.out + ran.err) & set("\x1b\u202e")


@pytest.mark.parametrize("command", ["show", "again"])
def test_a_picture_that_cannot_be_read_exits_5(door: Door, tmp_path: Path, command: str):
    (tmp_path / "a.png").write_bytes(b"no picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    for name in ("none.png", "a.png", "b.png", "."):
        ran = door(command, str(tmp_path / name))
        assert ran.code == 5, name
        assert ran.err.startswith("error: ")
