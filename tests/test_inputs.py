import subprocess
import sys
from pathlib import Path

import pytest
import torch
from door import Door
from PIL import Image

from vqclip.errors import PictureError, UsageError
from vqclip.runs import parts
from vqclip.runs.plan import resolve
from vqclip.settings import Settings

ROOT = Path(__file__).parent.parent
REFUSED = {
    ("--init-image", "nope.png"): 5,
    ("--init-image", "words.png"): 5,
    ("--image-prompt", "nope.png:0.5"): 5,
    ("--background", "nocolor"): 2,
    ("--device", "foo"): 2,
    ("--device", "cuda:one"): 2,
    ("--vqgan-config", "nope.yaml", "--vqgan", "here.ckpt"): 4,
    ("-ckpt", "missing.ckpt"): 4,
    ("--vqgan", "nope"): 4,
    ("--prior", "missing.safetensors"): 4,
    ("--clip", "missing.pt"): 4,
    ("--clip", "ViT-B-32/openai=missing.pt"): 4,
}


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Door:
    monkeypatch.chdir(tmp_path)
    Path("words.png").write_text("no picture")
    Path("here.ckpt").write_bytes(b"")
    return Door(monkeypatch, capsys)


@pytest.mark.parametrize("flags", REFUSED)
def test_a_dry_run_refuses_what_cannot_be_painted(door: Door, flags: tuple[str, ...]):
    ran = door("x", "--dry-run", *flags)
    assert (ran.code, ran.out) == (REFUSED[flags], "")
    assert "\nerror: " in f"\n{ran.err}"


def test_a_dry_run_refuses_a_clip_that_no_list_has(door: Door):
    assert door("x", "--dry-run", "--clip", "foo/bar").code == 4


@pytest.mark.parametrize("command", [("zoom", "x"), ("film", "--story", "a ^ b")])
def test_films_are_planned_with_the_same_care(door: Door, command: tuple[str, ...]):
    assert door(*command, "--dry-run", "--device", "foo").code == 2
    assert door(*command, "--init-image", "nope.png").code == 5
    assert not door.painter.filmed


def test_a_scene_of_a_film_names_its_pictures_before_anything_is_painted(door: Door):
    Path("f.toml").write_text('[[scene]]\nprompt = "a"\nseconds = 1\nimage_prompts = ["nope.png"]\n')
    ran = door("film", "f.toml")
    assert ran.code == 5, ran.err
    assert not ran.filmed


def test_a_known_model_that_is_not_here_yet_is_planned_and_said(door: Door):
    ran = door("x", "--dry-run", "--vqgan", "imagenet-f16-16384", "--clip", "ViT-B-16/openai")
    assert ran.code == 0, ran.err
    assert "imagenet-f16-16384 is not here yet: vqclip models get" in ran.err
    assert "fetched when it is painted with: ViT-B-16/openai" in ran.err


@pytest.mark.parametrize("flags", [("--init-image", "nope.png"), ("--image-prompt", "words.png")])
def test_a_picture_that_cannot_be_read_is_told_before_torch_is_loaded(door: Door, flags: tuple[str, ...]):
    code = "import sys; from vqclip.cli.main import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code, "x", *flags], capture_output=True, text=True)
    assert ran.stdout == "5 False\n", ran.stderr


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"init_image": "nope.png"}, PictureError),
        ({"image_prompts": ("nope.png",)}, PictureError),
        ({"background": "nocolor"}, UsageError),
    ],
)
def test_no_model_is_loaded_for_inputs_that_are_wrong(monkeypatch: pytest.MonkeyPatch, said: dict, error: type):
    loads = []
    monkeypatch.setattr(parts, "_vqgan", lambda *_: loads.append("vqgan"))
    settings, _ = resolve(Settings(prompt="x", seed=1, **said))
    with pytest.raises(error):
        parts.build_parts(settings, device=torch.device("cpu"), offline=True, note=lambda _: None)
    assert not loads


def test_a_picture_that_can_be_read_is_painted_with(door: Door):
    Image.new("RGB", (16, 16)).save("a.png")
    assert door("x", "--init-image", "a.png", "--image-prompt", "a.png:0.5").code == 0
