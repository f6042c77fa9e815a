"""`vqclip train vqgan`: it learns, goes on exactly, keeps what it has, and its file paints and can be exported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from workshop import PROGRAM, Call, cut_short, full_disk, make_pictures, vqgan_command

import vqclip
from vqclip.cli.main import build, main
from vqclip.configs import VQGANConfig
from vqclip.errors import DivergedError
from vqclip.models.vqgan import VQGAN
from vqclip.runs import train_vqgan as train_vqgan_room
from vqclip.runs.train_vqgan import VQGANJob
from vqclip.sinks.checkpoints import last_checkpoint
from vqclip.sinks.curves import read_losses
from vqclip.store.checkpoint import read_header
from vqclip.store.vqgans import export_taming, load_vqgan, save_vqgan
from vqclip.train.scenes import render_scenes
from vqclip.train.vqgan import VQGANParts, VQGANTraining, train_vqgan

ROOT = Path(__file__).parent.parent


@pytest.fixture
def door(capsys) -> Call:
    return Call(capsys)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("own") / "pictures")


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory) -> Path:
    """The model of an uninterrupted training."""
    out = tmp_path_factory.mktemp("whole") / "mine.safetensors"
    assert main(vqgan_command(pictures, out)) == 0
    return out


def test_a_training_leaves_a_model_a_sheet_and_curves(whole, pictures):
    kept = whole.with_suffix(".training")
    assert {path.name for path in kept.iterdir()} >= {
        "checkpoint",
        "plan.json",
        "losses.csv",
        "losses.png",
        "sheet.png",
    }
    recipe = read_header(whole)["recipe"]
    assert recipe["steps_done"] == 8 and recipe["pictures"] == 5 and recipe["size"] == 16
    assert 1 <= recipe["losses"]["perplexity"] <= 16 and 0 < recipe["losses"]["usage"] <= 1
    assert str(pictures) not in json.dumps(recipe)
    rows = read_losses(kept / "losses.csv")
    assert [step for step, _ in rows] == list(range(1, 9))
    assert {"l1", "perception", "psnr", "perplexity", "usage"} <= rows[0][1].keys()
    assert {"adversary", "weight"} <= rows[-1][1].keys()


def test_the_model_paints_at_once_and_the_taming_export_gives_the_same_codes(whole, tiny_models, tmp_path):
    settings = tiny_models.settings(vqgan=str(whole), init="codes", steps=1)
    del settings["clip"]  # the file asks for one that is at hand
    assert vqclip.generate(settings.pop("prompt"), device="cpu", **settings).size == (32, 32)
    model = load_vqgan(whole)
    path, config = export_taming(model, tmp_path / "mine.ckpt")
    again = load_vqgan(path, config)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.tokenize(image)[1], again.tokenize(image)[1])
    vectors = model.tokenize(image)[0]
    assert torch.allclose(model.decode(vectors), again.decode(vectors), atol=1e-5)


def test_killed_with_kill_9_and_resumed_it_ends_bit_for_bit_as_if_nothing_had_happened(whole, pictures, tmp_path, door):
    out = tmp_path / "mine.safetensors"
    command = vqgan_command(pictures, out, save_every="1")
    run = subprocess.Popen([*PROGRAM, *command], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    state = out.with_suffix(".training") / "checkpoint"
    while not state.exists() and run.poll() is None:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not out.exists() and last_checkpoint(state)[0] < 8
    assert door(*command).code == 0
    assert out.read_bytes() == whole.read_bytes()
    tables = [path.with_suffix(".training") / "losses.csv" for path in (out, whole)]
    assert tables[0].read_text() == tables[1].read_text()


def test_a_finished_training_is_not_repeated_and_more_steps_go_on(pictures, tmp_path, door):
    out = tmp_path / "mine.safetensors"
    assert door(*vqgan_command(pictures, out, steps="4")).code == 0
    made = out.read_bytes()
    ran = door(*vqgan_command(pictures, out, steps=None))
    assert ran.code == 0 and ran.out == f"{out}\n"
    assert out.read_bytes() == made and read_header(out)["recipe"]["steps_done"] == 4
    assert door(*vqgan_command(pictures, out, steps="6")).code == 0
    assert read_header(out)["recipe"]["steps_done"] == 6 and out.read_bytes() != made


def test_a_training_that_was_begun_otherwise_is_not_mixed_with(pictures, tmp_path, door):
    out = tmp_path / "mine.safetensors"
    assert door(*vqgan_command(pictures, out, steps="2")).code == 0
    ran = door(*vqgan_command(pictures, out, batch="4"))
    assert ran.code == 2 and "was begun with batch 2, not 4" in ran.err and "name another --out" in ran.err
    (out.with_suffix(".training") / "plan.json").write_text("[]")
    assert door(*vqgan_command(pictures, out)).code == 2


def test_bad_input_is_told_in_a_sentence_with_its_exit_code(pictures, tmp_path, door):
    (tmp_path / "empty").mkdir()
    ran = door(*vqgan_command(tmp_path / "empty", tmp_path / "a.safetensors"))
    assert ran.code == 5 and "there are no pictures in" in ran.err and "Traceback" not in ran.err
    (tmp_path / "foreign.safetensors").write_bytes(b"precious")
    ran = door(*vqgan_command(pictures, tmp_path / "foreign.safetensors"))
    assert ran.code == 6 and (tmp_path / "foreign.safetensors").read_bytes() == b"precious"
    ran = door(*vqgan_command(pictures, tmp_path / "foreign.safetensors" / "a.safetensors"))
    assert ran.code == 6 and "a file, not a folder" in ran.err
    for changed, code in (
        ({"stride": "5"}, 2),
        ({"size": "18"}, 2),
        ({"device": "abacus"}, 2),
        ({"channels": "40"}, 2),
        ({"batch": "3", "accumulate": "2"}, 2),
        ({"from": "nonsense"}, 4),
        ({"from": "starter", "size": "20"}, 2),
        ({"perception": "lpips"}, 4),
    ):
        ran = door(*vqgan_command(pictures, tmp_path / "b.safetensors", **changed))
        assert ran.code == code and ran.err.count("error: ") == 1, (changed, ran.err)


def test_a_truncated_jpeg_among_good_pictures_is_left_out(pictures, tmp_path, door):
    folder = make_pictures(tmp_path / "pictures")
    cut_short(folder / "2b.jpg")
    ran = door(*vqgan_command(folder, tmp_path / "a.safetensors", steps="4"))
    assert ran.code == 0 and "2b.jpg" in ran.err and "it is left out" in ran.err


def test_a_full_disk_ends_it_with_a_sentence_and_loses_no_checkpoint(pictures, tmp_path, door):
    out = tmp_path / "mine.safetensors"
    assert door(*vqgan_command(pictures, out, steps="4")).code == 0
    state, made = out.with_suffix(".training") / "checkpoint", out.read_bytes()
    with full_disk(200_000):
        ran = door(*vqgan_command(pictures, out))
    assert ran.code == 6 and ran.err.count("error: ") == 1
    assert last_checkpoint(state)[0] == 4 and out.read_bytes() == made
    assert not list(tmp_path.rglob("*.part"))
    assert door(*vqgan_command(pictures, out)).code == 0
    assert read_header(out)["recipe"]["steps_done"] == 8


def test_ctrl_c_ends_the_step_and_keeps_model_and_checkpoint(pictures, tmp_path, door, monkeypatch):
    out, look = tmp_path / "mine.safetensors", train_vqgan_room._look

    def interrupted(*args: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return look(*args)

    monkeypatch.setattr(train_vqgan_room, "_look", interrupted)
    ran = door(*vqgan_command(pictures, out))
    assert ran.code == 130 and "stopped at step 3 of 8" in ran.err and ran.out == f"{out}\n"
    assert read_header(out)["recipe"]["steps_done"] == 3
    assert last_checkpoint(out.with_suffix(".training") / "checkpoint")[0] == 3


def test_a_full_memory_is_told_with_what_helps_a_training(pictures, tmp_path, door, monkeypatch):
    def full(*args: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(train_vqgan_room, "_build", full)
    ran = door(*vqgan_command(pictures, tmp_path / "mine.safetensors"))
    assert ran.code == 7 and "for this training" in ran.err and "--accumulate" in ran.err


@pytest.mark.parametrize("kind", ["l2", "gumbel", "unit", "inner"])
def test_any_kind_of_codebook_can_be_trained_further(kind, pictures, tmp_path, door):
    shape = VQGANConfig(
        channels=32, multipliers=(1, 1), blocks=1, attention_levels=(), latent_channels=8, embedding_channels=8,
        codes=16, quantizer=kind,
    )  # fmt: skip
    torch.manual_seed(0)
    given = VQGAN(shape)
    torch.nn.init.normal_(given.quantize.weight)
    save_vqgan(given, tmp_path / "given.safetensors")
    out = tmp_path / "further.safetensors"
    changed = {"from": str(tmp_path / "given.safetensors"), "steps": "4", "perception_clip": "starter"}
    assert door(*vqgan_command(pictures, out, **changed)).code == 0
    trained = load_vqgan(out)
    assert trained.config == shape
    assert torch.equal(trained.quantize.weight, given.quantize.weight) == (kind == "inner")
    assert not torch.equal(trained.decoder.conv_in.weight, given.decoder.conv_in.weight)
    recipe = read_header(out)["recipe"]
    assert recipe["from"] == "given.safetensors" and recipe["training"]["quantize_from"] == -1


def test_the_steps_that_fit_into_some_minutes_are_measured_and_kept(pictures, tmp_path, door):
    out = tmp_path / "mine.safetensors"
    ran = door(*vqgan_command(pictures, out, steps=None, minutes="0.02"))
    assert ran.code == 0 and "0.02 minutes are about" in ran.err
    planned = json.loads((out.with_suffix(".training") / "plan.json").read_text())["training"]["steps"]
    assert planned >= 20
    assert 1 <= read_header(out)["recipe"]["steps_done"] <= planned


TINY = VQGANConfig(
    channels=32, multipliers=(1, 1), blocks=1, attention_levels=(), latent_channels=8, embedding_channels=8, codes=32
)
NUMBERS = VQGANTraining(
    steps=6, batch=4, warmup=1, quantize_from=2, kmeans=3, adversary_from=0.5, adversary_ramp=1, dtype="float32"
)


def batches(step: int) -> torch.Tensor:
    return F.interpolate(torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(step)), (16, 16))


def losses_of(training: VQGANTraining) -> list[dict[str, float]]:
    torch.manual_seed(0)
    parts = VQGANParts(VQGAN(TINY), lambda a, b: F.mse_loss(a, b))
    return [dict(event.losses) for event in train_vqgan(parts, batches, training)]


def test_parts_of_a_batch_add_up_to_the_batch():
    whole, halves = losses_of(NUMBERS), losses_of(replace(NUMBERS, accumulate=2))
    for one, other in zip(whole, halves, strict=True):
        assert one == pytest.approx(other, abs=2e-3)


def test_the_adversary_pulls_as_strongly_as_the_other_losses_where_its_weight_adapts():
    plain, adaptive = losses_of(NUMBERS), losses_of(replace(NUMBERS, adaptive=True))
    assert plain[:3] == adaptive[:3]
    assert all(losses["weight"] > 0 for losses in adaptive[4:])
    assert plain[-1]["l1"] != adaptive[-1]["l1"]


def test_losses_that_are_no_numbers_end_the_training_before_they_spoil_the_weights():
    torch.manual_seed(0)
    parts = VQGANParts(VQGAN(TINY), lambda a, b: F.mse_loss(a, b))

    def spoiled(step: int) -> torch.Tensor:
        return batches(step) if step < 4 else batches(step) * torch.nan

    with pytest.raises(DivergedError, match="stopped being numbers at step 5"):
        list(train_vqgan(parts, spoiled, replace(NUMBERS, kmeans=0)))
    assert all(torch.isfinite(p).all() for p in (*parts.model.parameters(), *parts.averaged.parameters()))


def test_the_help_shows_the_numbers_that_hold():
    command = build().commands["train"].commands["vqgan"]
    shown = {param.name: param.help for param in command.params if "[" in (getattr(param, "help", "") or "")}
    own = {name: text for name, text in shown.items() if name in VQGANJob.__dataclass_fields__}
    assert len(own) > 10
    for name, text in own.items():
        assert text.endswith(f"[{getattr(VQGANJob(), name)}]"), name


@pytest.mark.long
@pytest.mark.parametrize("unit", ["--unit", "--no-unit"])
def test_two_processes_follow_one_with_twice_the_batch(unit, pictures, tmp_path):
    ours, theirs = losses_of_two_and_one(pictures, tmp_path, 2, unit, lr="5e-5")
    for (step, one), (_, other) in zip(ours, theirs, strict=True):
        near = 1e-3 if step <= 25 else 5e-2  # later a rounding may give one vector another code, here one in 64
        assert one == pytest.approx(other, rel=near, abs=near), step


@pytest.mark.long
def test_two_processes_follow_one_for_fifty_steps_from_a_trained_model(tmp_path):
    pictures = tmp_path / "scenes"
    pictures.mkdir()
    assert render_scenes(40, 128, seed=1, path=tmp_path / "scenes.npy")
    for number, image in enumerate(np.load(tmp_path / "scenes.npy")):
        Image.fromarray(image).save(pictures / f"{number}.png")
    own = {"from": "starter", "size": "64", "stride": None, "channels": None, "codes": None}
    ours, theirs = losses_of_two_and_one(pictures, tmp_path, 4, lr="2e-5", **own)
    for (step, one), (_, other) in zip(ours, theirs, strict=True):
        assert ("adversary" in one) == (step > 25)
        assert one == pytest.approx(other, rel=1e-3, abs=1e-3), step


def losses_of_two_and_one(pictures: Path, folder: Path, batch: int, *flags: str, **changed: str | None) -> list[list]:
    """The losses of 50 steps of two processes with this batch each, and of one process with both."""
    together, alone = folder / "together.safetensors", folder / "alone.safetensors"
    changed = {"steps": "50", "save_every": "50", **changed}
    two = [*PROGRAM, *vqgan_command(pictures, together, batch=str(batch), **changed), *flags]
    launch = [PROGRAM[0], "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    subprocess.run([*launch, *two], cwd=ROOT, check=True, capture_output=True)
    one = [*PROGRAM, *vqgan_command(pictures, alone, batch=str(2 * batch), **changed), *flags]
    subprocess.run(one, cwd=ROOT, check=True, capture_output=True)
    found = [read_losses(path.with_suffix(".training") / "losses.csv") for path in (together, alone)]
    assert [len(table) for table in found] == [50, 50]
    return found


@pytest.mark.long
def test_many_kills_at_random_moments_change_nothing(tmp_path):
    pictures = make_pictures(tmp_path / "pictures", 200)
    straight, often = tmp_path / "straight.safetensors", tmp_path / "often.safetensors"
    changed = {"steps": "250", "save_every": "7"}
    subprocess.run([*PROGRAM, *vqgan_command(pictures, straight, **changed)], cwd=ROOT, check=True, capture_output=True)
    kills, rng = 0, torch.Generator().manual_seed(0)
    while not often.exists():
        command = [*PROGRAM, *vqgan_command(pictures, often, **changed)]
        run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        state = often.with_suffix(".training") / "checkpoint"
        before = state.stat().st_mtime if state.exists() else 0.0
        while run.poll() is None and not (state.exists() and state.stat().st_mtime > before):
            time.sleep(0.01)
        time.sleep(float(torch.rand((), generator=rng)) * 2)
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
            kills += 1
        run.wait()
    assert kills >= 3
    assert straight.read_bytes() == often.read_bytes()
    tables = [path.with_suffix(".training") / "losses.csv" for path in (straight, often)]
    assert tables[0].read_text() == tables[1].read_text()
