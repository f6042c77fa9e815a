"""`vqclip train clip` and `train prior`: on captioned pictures of one's own, with files that the store loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from workshop import Call, cut_short, full_disk, make_pictures

import vqclip
from vqclip.cli.main import build
from vqclip.runs.train_clip import ClipJob
from vqclip.runs.train_prior import PriorJob
from vqclip.sinks.checkpoints import last_checkpoint
from vqclip.sinks.curves import read_losses
from vqclip.store.checkpoint import read_header
from vqclip.store.openclip import load_clip
from vqclip.store.priors import load_prior

CLIP = ("--batch", "4", "--side", "32", "--width", "8", "--embedding", "8", "--save-every", "2", "--device", "cpu")


@pytest.fixture
def call(capsys) -> Call:
    return Call(capsys)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("own") / "pictures")


def test_a_clip_of_ones_own_learns_goes_on_exactly_and_looks_while_painting(pictures, tiny_models, tmp_path, call):
    straight, parted = tmp_path / "straight.safetensors", tmp_path / "parted.safetensors"
    command = ("train", "clip", str(pictures), *CLIP, "--threads", "1", "--views", "2")
    assert call(*command, "--out", str(straight), "--steps", "4").code == 0
    assert call(*command, "--out", str(parted), "--steps", "4", "--minutes", "0.01").code == 0
    ran = call(*command, "--out", str(parted), "--steps", "4")
    assert ran.code == 0 and ran.out == f"{parted}\n"
    one, other = (load_clip(path) for path in (straight, parted))
    for ours, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert one.image_size == 32 and "blocks" in one.words and one.unknown_words("a castle of blocks") == ["castle"]
    settings = tiny_models.settings(clip=(str(straight),), prompt="a picture of blocks", steps=1)
    assert vqclip.generate(settings.pop("prompt"), device="cpu", **settings).size == (32, 32)


def test_a_clip_learns_which_caption_is_whose(pictures, tmp_path, call):
    out = tmp_path / "mine.safetensors"
    command = ("train", "clip", str(pictures), *CLIP, "--threads", "1", "--epsilon", "0.005", "--lr", "0.003")
    assert call(*command, "--out", str(out), "--steps", "40", "--save-every", "40").code == 0
    losses = [row["contrastive"] for _, row in read_losses(out.with_suffix(".training") / "losses.csv")]
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_captions_that_are_missing_are_told_with_exit_code_2(pictures, tmp_path, call):
    bare = make_pictures(tmp_path / "bare", 2)
    for path in bare.glob("*.txt"):
        path.unlink()
    for kind in ("clip", "prior"):
        ran = call("train", kind, str(bare), "--out", str(tmp_path / f"{kind}.safetensors"), "--steps", "1")
        assert ran.code == 2 and "of 2 pictures in " in ran.err and "cat.txt" in ran.err


def test_a_folder_without_pictures_is_told_with_exit_code_5(tmp_path, call):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "cat.txt").write_text("a cat\n")
    for kind in ("clip", "prior"):
        ran = call("train", kind, str(tmp_path / "empty"), "--out", str(tmp_path / f"{kind}.safetensors"))
        assert ran.code == 5 and "there are no pictures in" in ran.err and ran.err.count("error: ") == 1


@pytest.fixture
def commands(tiny_models) -> dict[str, tuple[str, ...]]:
    """What trains each kind quickly, without folder, name and number of steps."""
    models = ("--vqgan", str(tiny_models.vqgan), "--clip", str(tiny_models.clip))
    small = ("--size", "32", "--batch", "2", "--save-every", "2", "--device", "cpu")
    return {"clip": (*CLIP, "--threads", "1"), "prior": (*models, *small, "--threads", "1")}


@pytest.mark.parametrize("kind", ["clip", "prior"])
def test_a_truncated_jpeg_and_a_missing_caption_leave_one_picture_out_each(kind, tmp_path, call, commands):
    folder, out = make_pictures(tmp_path / "pictures", 6), tmp_path / "mine.safetensors"
    cut_short(folder / "2b.jpg").with_suffix(".txt").write_text("half a picture\n")
    (folder / "3.txt").unlink()
    ran = call("train", kind, str(folder), "--out", str(out), "--steps", "2", *commands[kind])
    assert ran.code == 0, ran.err
    assert "2b.jpg" in ran.err and "it is left out" in ran.err
    assert "1 of 7 pictures left out for want of a caption: 3.png" in ran.err
    assert load_recipe(out)["pictures"] == 5


@pytest.mark.parametrize("kind", ["clip", "prior"])
def test_a_full_disk_loses_no_checkpoint_and_the_training_goes_on(kind, pictures, tmp_path, call, commands):
    out = tmp_path / "mine.safetensors"
    command = ("train", kind, str(pictures), "--out", str(out), *commands[kind])
    assert call(*command, "--steps", "2").code == 0
    state, made = out.with_suffix(".training") / "checkpoint", out.read_bytes()
    with full_disk(60_000):
        ran = call(*command, "--steps", "4")
    assert ran.code == 6 and ran.err.count("error: ") == 1, ran.err
    assert last_checkpoint(state)[0] == 2 and out.read_bytes() == made
    assert not list(tmp_path.rglob("*.part"))
    assert call(*command, "--steps", "4").code == 0 and load_recipe(out)["steps_done"] == 4


def load_recipe(path: Path) -> dict[str, Any]:
    """The recipe of a model that was trained here."""
    return read_header(path)["recipe"]


def test_a_prior_of_ones_own_is_trained_on_any_pair_and_loads(pictures, tiny_models, tmp_path, call):
    out = tmp_path / "prior.safetensors"
    models = ("--vqgan", str(tiny_models.vqgan), "--clip", str(tiny_models.clip))
    command = ("train", "prior", str(pictures), *models, "--size", "32", "--batch", "2", "--device", "cpu")
    ran = call(*command, "--out", str(out), "--steps", "3", "--threads", "1")
    assert ran.code == 0 and (out.with_suffix(".training") / "sheet.png").exists()
    prior = load_prior(out)
    assert (prior.config.latent_channels, prior.config.grid, prior.config.text_channels) == (8, 8, 16)
    assert read_header(out)["recipe"]["models"].keys() == {"tiny-vqgan.safetensors", "clip:tiny-clip.safetensors"}
    assert call(*command, "--out", str(tmp_path / "b.safetensors"), "--size", "36").code == 2


def test_a_prior_also_learns_to_refine_at_twice_the_size_if_it_is_told_to(pictures, tiny_models, tmp_path, call):
    out = tmp_path / "prior.safetensors"
    models = ("--vqgan", str(tiny_models.vqgan), "--clip", str(tiny_models.clip), "--batch", "2", "--size", "32")
    command = ("train", "prior", str(pictures), *models, "--fine", "--out", str(out), "--device", "cpu")
    ran = call(*command, "--steps", "4", "--threads", "1")
    assert ran.code == 0, ran.err
    assert (load_prior(out).config.grid, load_prior(out).config.fine_grid) == (8, 16)


def test_a_folder_begun_by_another_kind_of_training_is_not_mixed_with(pictures, tmp_path, call):
    out = tmp_path / "mine.safetensors"
    assert call("train", "clip", str(pictures), *CLIP, "--out", str(out), "--steps", "1").code == 0
    ran = call("train", "prior", str(pictures), "--out", str(out), "--steps", "1")
    assert ran.code == 2 and "is no plan of a prior training" in ran.err


def test_only_the_vqgan_shares_its_work_between_processes(pictures, tmp_path, call, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    ran = call("train", "clip", str(pictures), "--out", str(tmp_path / "mine.safetensors"))
    assert ran.code == 2 and "start it without torchrun" in ran.err


@pytest.mark.parametrize(("name", "job"), [("clip", ClipJob()), ("prior", PriorJob())])
def test_the_help_shows_the_numbers_that_hold(name, job):
    command = build().commands["train"].commands[name]
    shown = {param.name: param.help for param in command.params if hasattr(job, param.name) and param.name != "minutes"}
    assert len(shown) > 6
    for field, text in shown.items():
        assert text.endswith(f"[{getattr(job, field)}]"), field
