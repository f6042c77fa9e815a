"""Results and frames as files."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from steps import make_step

from vqclip.errors import OutputError, UsageError
from vqclip.sinks.images import SavePicture, encode, save_result
from vqclip.sinks.metadata import MADE, read_recipe
from vqclip.sinks.play import play

RECIPE = {"schema": 1, "settings": {"prompt": "a fox", "seed": 3}, "versions": {"vqclip": "1"}}


@pytest.mark.parametrize(
    ("name", "kind"), [("x.png", "PNG"), ("x.jpg", "JPEG"), ("x.jpeg", "JPEG"), ("x.WebP", "WEBP")]
)
def test_the_suffix_chooses_the_format(tmp_path, name, kind):
    path = save_result(torch.full((1, 3, 8, 8), 0.5), tmp_path / name, recipe=RECIPE)
    with Image.open(path) as picture:
        assert picture.format == kind and picture.size == (8, 8)
        assert abs(np.asarray(picture.convert("RGB"), float).mean() - 127.5) < 2
    assert read_recipe(path.read_bytes())["settings"] == RECIPE["settings"]


def test_a_png_holds_exactly_the_painted_pixels(tmp_path):
    image = torch.rand(1, 3, 5, 7)
    path = save_result(image, tmp_path / "x.png", recipe=None)
    pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
    assert torch.equal(pixels, (image[0] * 255).round().byte())
    assert b"vqclip" not in path.read_bytes()


def test_another_suffix_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"\.bmp"):
        save_result(torch.zeros(1, 3, 8, 8), tmp_path / "x.bmp", recipe=RECIPE)
    assert os.listdir(tmp_path) == []


def test_quality_changes_the_size_of_a_jpeg():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))
    for suffix in (".jpg", ".webp"):
        assert len(encode(noise, suffix, quality=20)) < len(encode(noise, suffix, quality=95))


def test_a_sidecar_lies_beside_its_own_picture_and_overwrites_nothing(tmp_path):
    image = torch.zeros(1, 3, 8, 8)
    for seed in (3, 4):
        recipe = {**RECIPE, "settings": {"prompt": "ein Föhn \udce9", "seed": seed}}
        save_result(image, tmp_path / "x.png", recipe=recipe, sidecar=True)
    assert sorted(os.listdir(tmp_path)) == ["x-2.png", "x-2.png.json", "x.png", "x.png.json"]
    text = (tmp_path / "x-2.png.json").read_bytes().decode("utf-8")
    assert "Föhn" in text and json.loads(text)["settings"] == {"prompt": "ein Föhn \udce9", "seed": 4}
    (tmp_path / "y.png.json").write_text("mine")
    save_result(image, tmp_path / "y.png", recipe=RECIPE, sidecar=True)
    assert (tmp_path / "y.png.json").read_text() == "mine"


def test_a_private_picture_has_no_sidecar(tmp_path):
    save_result(torch.zeros(1, 3, 8, 8), tmp_path / "x.png", recipe=RECIPE, sidecar=True, private=True)
    assert os.listdir(tmp_path) == ["x.png"]
    assert b"fox" not in (tmp_path / "x.png").read_bytes()


def test_frames_are_the_first_every_nth_and_the_last_and_sort_by_name(tmp_path):
    sink = SavePicture(tmp_path / "fox-3", every=50)
    play((make_step(n, 120, value=n / 120) for n in range(121)), sink)
    names = ["step-0000.png", "step-0050.png", "step-0100.png", "step-0120.png"]
    assert sorted(os.listdir(tmp_path / "fox-3")) == names == [path.name for path in sink.paths]
    assert Image.open(sink.paths[1]).getpixel((0, 0)) == (round(50 / 120 * 255),) * 3
    assert MADE.encode() in sink.paths[0].read_bytes()


def test_saving_more_rarely_than_there_are_steps_still_saves_the_last(tmp_path):
    sink = SavePicture(tmp_path / "run", every=50)
    play((make_step(n, 30) for n in range(31)), sink)
    assert [path.name for path in sink.paths] == ["step-0000.png", "step-0030.png"]


def test_a_long_run_has_longer_numbers(tmp_path):
    sink = SavePicture(tmp_path / "run", every=1)
    sink(make_step(7, 123_456))
    assert sink.paths[0].name == "step-000007.png"


def test_two_runs_never_share_a_folder_but_a_resumed_one_goes_on_in_its_own(tmp_path):
    for _ in range(2):
        SavePicture(tmp_path / "run", every=1)(make_step(0))
    assert sorted(os.listdir(tmp_path)) == ["run", "run-2"]
    resumed = SavePicture(tmp_path / "run", every=1, resume=True)
    resumed(make_step(1))
    assert sorted(os.listdir(tmp_path / "run")) == ["step-0000.png", "step-0001.png"]


def test_before_the_first_event_there_is_no_folder(tmp_path):
    play([], SavePicture(tmp_path / "run", every=1))
    assert os.listdir(tmp_path) == []


def test_frames_that_cannot_be_written_end_the_run_with_a_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        play([make_step()], SavePicture(tmp_path / "file" / "run", every=1))
