"""What a picture's recipe says about models and files, and what it keeps to itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqclip.presets import preset_from_recipe
from vqclip.runs.recipe import make_recipe, plain_name
from vqclip.settings import Settings


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("./my.pt:0.5", "my.pt:0.5"),
        ("sub/my.pt:-0.5:0.2", "my.pt:-0.5:0.2"),
        ("C:\\weights\\my.pt:0.5", "my.pt:0.5"),
        ("ViT-B-32/openai=./own.pt:0.5", "ViT-B-32/openai=own.pt:0.5"),
        ("ViT-B-32/openai=ViT-B-32.pt", "ViT-B-32/openai=ViT-B-32.pt"),
        ("ViT-B-32/openai:0.5", "ViT-B-32/openai:0.5"),
        ("openai/openai.pt", "openai.pt"),
    ],
)
def test_a_clip_is_written_without_its_folders_and_with_its_weight(said: str, written: str) -> None:
    assert plain_name(said) == written


def test_a_models_name_is_never_taken_for_a_folder_that_happens_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ViT-B-32" / "openai").mkdir(parents=True)
    assert plain_name("ViT-B-32/openai:0.5") == "ViT-B-32/openai:0.5"


def test_no_folder_of_a_file_is_written_whether_the_file_is_there_or_not(tmp_path: Path) -> None:
    settings = Settings.make(
        {
            "prompt": "x",
            "vqgan": "secret/my.ckpt",
            "vqgan_config": "secret/my.yaml",
            "init_image": "secret/me",
            "image_prompts": ["secret/style:0.5", "./secret/b.png:1:0.2"],
            "clip": ["secret/my.pt:0.5"],
        }
    )
    recipe = make_recipe(settings, {})
    assert "secret" not in str(recipe)
    assert recipe["settings"]["image_prompts"] == ["style:0.5", "b.png:1:0.2"]


def test_plain_models_survive_a_recipe_with_any_weight_and_files_do_not() -> None:
    for name in ("ViT-B-32/openai", "ViT-B-32/openai:0.5", "ViT-B-32/openai:-0.5:0.2", "starter:1e-1"):
        assert preset_from_recipe({"settings": {"clip": [name]}}).dropped == {}
    for name in ("my.pt:0.5", "./my:0.5", "a/b/c", "my.PT:-1", "ViT-B-32/openai=x", "..", ":0.5", "", "a:b"):
        assert preset_from_recipe({"settings": {"clip": [name]}}).dropped == {"clip": [name]}
