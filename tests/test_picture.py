"""One picture from settings to file, with real models made tiny."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from steps import start_python

from vqclip.engine.stages import paint_stages
from vqclip.errors import DivergedError, MemoryFullError, ModelError, OutputError, UsageError
from vqclip.events import Step
from vqclip.models.vqgan import VQGAN
from vqclip.runs import picture as room
from vqclip.runs.painting import painting
from vqclip.runs.parts import build_parts
from vqclip.runs.picture import generate, paint_picture
from vqclip.runs.plan import resolve
from vqclip.runs.sketch import sketch_grid
from vqclip.settings import Delivery, Settings
from vqclip.sinks.metadata import read_recipe
from vqclip.sinks.play import play
from vqclip.sinks.state import load_state
from vqclip.store.perceptor import ClipPerceptor

CPU = torch.device("cpu")


def notes_of() -> tuple[list[str], Callable[[str], None]]:
    said: list[str] = []
    return said, said.append


def resolved(tiny_models, **more: object) -> Settings:
    return resolve(Settings.make(tiny_models.settings(**more)).check())[0]


def deliver(folder: Path, **more: object) -> Delivery:
    return Delivery(output=f"{folder}/", device="cpu", threads=1, quiet=True, **more)


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.convert("RGB").tobytes()


def test_a_picture_is_painted_and_carries_its_recipe(tiny_models, tmp_path) -> None:
    _, note = notes_of()
    done = paint_picture(resolved(tiny_models), deliver(tmp_path), on_note=note)
    assert done.path == tmp_path / "a-castle-in-fog-1.png"
    assert done.steps_done == 3 and done.stopped is None
    recipe = read_recipe(done.path.read_bytes())
    assert recipe["settings"]["prompt"] == "a castle in fog"
    assert recipe["settings"]["vqgan"] == "tiny-vqgan.safetensors"
    assert all(len(digest) == 64 for digest in recipe["models"].values())
    assert str(tmp_path) not in str(recipe) and str(tiny_models.vqgan.parent) not in str(recipe)


@pytest.mark.parametrize("offline", [False, True])
def test_a_clip_that_has_to_be_fetched_is_told_with_size_and_license_before(offline, tiny_models, monkeypatch) -> None:
    said, note = notes_of()

    def fetch(name: str, *_: object) -> None:
        raise ModelError("the fetching begins", hint=" / ".join(said))

    monkeypatch.setattr("vqclip.store.openclip._cached", lambda training: None)
    monkeypatch.setattr("vqclip.runs.parts._clip", fetch)
    settings = resolved(tiny_models, clip=("ViT-B/32:0.5",))
    with pytest.raises(ModelError, match="begins") as caught:
        build_parts(settings, device=CPU, offline=offline, note=note)
    assert caught.value.hint == ("" if offline else "ViT-B-32/openai: about 604 MB; license: MIT")


def test_the_same_seed_paints_the_same_picture_and_another_seed_another(tiny_models, tmp_path) -> None:
    _, note = notes_of()
    paths = [
        paint_picture(resolved(tiny_models, seed=seed), deliver(tmp_path), on_note=note).path for seed in (7, 7, 8)
    ]
    assert len(set(paths)) == 3
    assert pixels(paths[0]) == pixels(paths[1]) != pixels(paths[2])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_a_small_float32_picture(tiny_models, tmp_path, threads) -> None:
    _, note = notes_of()
    delivery = deliver(tmp_path).model_copy(update={"threads": threads})
    one = paint_picture(resolved(tiny_models, coarse=0.5, steps=4), delivery, on_note=note)
    other = paint_picture(resolved(tiny_models, coarse=0.5, steps=4), deliver(tmp_path), on_note=note)
    assert pixels(one.path) == pixels(other.path)


def test_the_last_step_is_saved_whatever_save_every_says(tiny_models, tmp_path) -> None:
    _, note = notes_of()
    done = paint_picture(resolved(tiny_models), deliver(tmp_path, save_every=50), on_note=note)
    assert read_recipe(done.path.read_bytes())["steps_done"] == 3
    assert pixels(done.path) == pixels(tmp_path / "a-castle-in-fog-1" / "step-0003.png")


def test_a_preview_and_frames_do_not_change_the_picture(tiny_models, tmp_path) -> None:
    _, note = notes_of()
    plain = paint_picture(resolved(tiny_models), deliver(tmp_path), on_note=note)
    shown = deliver(tmp_path, save_every=1, preview=str(tmp_path / "now.png"))
    watched = paint_picture(resolved(tiny_models), shown, on_note=note)
    assert pixels(plain.path) == pixels(watched.path) == pixels(tmp_path / "now.png")


def test_going_on_from_a_saved_state_is_like_never_having_stopped(tiny_models) -> None:
    parts = build_parts(resolved(tiny_models, steps=6, coarse=0.5), device=CPU, offline=True, note=print)
    whole = play(painting(parts))
    for stop_at in (1, 3, 4):
        state = next(event.state() for event in painting(parts) if event.index == stop_at)
        assert torch.equal(play(painting(parts, state)).image, whole.image)


def test_a_nan_ends_with_the_last_good_picture_saved(tiny_models, tmp_path, monkeypatch) -> None:
    _, note = notes_of()
    build = room.build_parts

    def broken(*args: object, **more: object):
        parts = build(*args, **more)
        bad = torch.full((1,), float("nan"))
        return replace(parts, extras=[("bad", 1.0, lambda image, latent: bad * image.sum())])

    monkeypatch.setattr(room, "build_parts", broken)
    with pytest.raises(DivergedError) as caught:
        paint_picture(resolved(tiny_models, steps=12), deliver(tmp_path), on_note=note)
    assert caught.value.exit_code == 8
    (saved,) = tmp_path.glob("*.png")
    assert saved.name in str(caught.value.hint)
    assert read_recipe(saved.read_bytes())["stopped"] == "diverged"


def test_out_of_memory_keeps_the_picture_and_says_what_to_do(tiny_models, tmp_path, monkeypatch) -> None:
    _, note = notes_of()
    play_on = paint_stages

    def full(*args: object, **more: object):
        for event in play_on(*args, **more):
            yield event
            if event.index == 2:
                raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("vqclip.runs.painting.paint_stages", full)
    with pytest.raises(MemoryFullError) as caught:
        paint_picture(resolved(tiny_models), deliver(tmp_path), on_note=note)
    assert caught.value.exit_code == 7 and "--micro-batch" in str(caught.value.hint)
    (saved,) = tmp_path.glob("*.png")
    assert read_recipe(saved.read_bytes())["steps_done"] == 2


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory"), MemoryError()]
)
def test_memory_that_ends_while_parts_are_built_has_remedies(tiny_models, tmp_path, monkeypatch, error) -> None:
    def full(*args: object, **more: object):
        raise error

    monkeypatch.setattr(room, "build_parts", full)
    with pytest.raises(MemoryFullError) as caught:
        paint_picture(resolved(tiny_models), deliver(tmp_path), on_note=print)
    assert "--size" in str(caught.value.hint) and not list(tmp_path.iterdir())
    with pytest.raises(MemoryFullError):
        generate("a castle", steps=1)


def test_another_error_while_parts_are_built_stays_what_it_is(tiny_models, tmp_path, monkeypatch) -> None:
    def broken(*args: object, **more: object):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(room, "build_parts", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        paint_picture(resolved(tiny_models), deliver(tmp_path), on_note=print)


def test_the_sketch_of_a_very_wide_picture_stays_small() -> None:
    assert sketch_grid((2, 1024), 16) == (16, 64)
    assert sketch_grid((1024, 2), 16) == (64, 16)
    assert sketch_grid((32, 32), 16) == (16, 16)
    assert sketch_grid((32, 48), 16) == (16, 24)


def test_a_bug_in_the_loop_is_not_called_out_of_memory(tiny_models, tmp_path, monkeypatch) -> None:
    def broken(*args: object, **more: object):
        raise RuntimeError("shapes do not match")
        yield

    monkeypatch.setattr("vqclip.runs.painting.paint_stages", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        paint_picture(resolved(tiny_models), deliver(tmp_path), on_note=print)


def test_an_unwritable_place_is_told_before_models_are_loaded(tiny_models, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(room, "build_parts", lambda *a, **k: pytest.fail("models were loaded"))
    with pytest.raises(OutputError):
        paint_picture(resolved(tiny_models), deliver(tmp_path / "file" / "below"), on_note=print)


@pytest.mark.parametrize("init", ["codes", "noise", "gradient"])
def test_every_start_paints(tiny_models, init) -> None:
    settings = tiny_models.settings(init=init, steps=1)
    assert generate(settings.pop("prompt"), **settings).size == (32, 32)


def test_a_picture_for_python_tells_its_recipe_and_warns_of_what_was_changed(tiny_models) -> None:
    settings = tiny_models.settings(steps=1, seed=None, width=34)
    prompt = settings.pop("prompt")
    with pytest.warns(UserWarning, match="34x32 becomes") as warned:
        picture = generate(prompt, **settings)
    recipe = picture.info["vqclip"]
    assert (recipe["steps_done"], recipe["threads"], recipe["device"]) == (1, torch.get_num_threads(), "cpu")
    assert not [one for one in warned if str(one.message).startswith("seed")]
    again = generate(prompt, **{**settings, "width": recipe["settings"]["width"], "seed": recipe["settings"]["seed"]})
    assert again.tobytes() == picture.tobytes() and again.info == picture.info


def test_an_init_image_is_where_it_starts(tiny_models, tmp_path) -> None:
    Image.new("RGB", (64, 48), "orange").save(tmp_path / "start.png")
    parts = build_parts(
        resolved(tiny_models, init_image=str(tmp_path / "start.png"), init_weight=1.0),
        device=CPU,
        offline=True,
        note=print,
    )
    image = torch.tensor([1.0, 165 / 255, 0.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    assert torch.equal(parts.latent, parts.vqgan.tokenize(image)[0])
    first: Step = next(painting(parts))
    assert float(first.losses["init"]) == 0.0


def test_an_image_prompt_without_words_is_enough(tiny_models, tmp_path) -> None:
    Image.new("RGB", (40, 64), "teal").save(tmp_path / "like.png")
    settings = tiny_models.settings(image_prompts=(f"{tmp_path / 'like.png'}:0.5",), prompt="")
    parts = build_parts(resolve(Settings.make(settings).check())[0], device=CPU, offline=True, note=print)
    weights = parts.looks[0].targets.weights
    assert torch.allclose(weights.sum(), torch.tensor(0.5)) and len(weights) == 4


def test_several_clips_each_get_their_weight(tiny_models) -> None:
    names = (f"{tiny_models.clip}:2", str(tiny_models.clip))
    parts = build_parts(resolved(tiny_models, clip=names), device=CPU, offline=True, note=print)
    assert [look.weight for look in parts.looks] == [2.0, 1.0]


def test_sizes_are_rounded_to_the_models_cells_and_it_is_said(tiny_models) -> None:
    said, note = notes_of()
    parts = build_parts(resolved(tiny_models, width=33, height=46), device=CPU, offline=True, note=note)
    assert (parts.settings.width, parts.settings.height) == (32, 48)
    assert any("33x46 becomes 32x48" in text for text in said)


def test_unknown_words_are_named_once_and_long_prompts_are_said_so(tiny_models) -> None:
    said, note = notes_of()
    long = "a castle in fog " * 10
    build_parts(resolved(tiny_models, prompt=f"a zeppelin | {long}"), device=CPU, offline=True, note=note)
    assert sum("zeppelin" in text for text in said) == 1
    assert any("reads only the first" in text for text in said)


def test_a_prior_for_a_foreign_model_is_refused(tiny_models) -> None:
    with pytest.raises(UsageError, match="prior"):
        resolve(Settings.make(tiny_models.settings(init="prior")))


def test_a_missing_model_is_a_model_error(tiny_models, tmp_path) -> None:
    settings = resolved(tiny_models, vqgan=str(tmp_path / "none.ckpt"))
    with pytest.raises(ModelError, match=r"none\.ckpt"):
        build_parts(settings, device=CPU, offline=True, note=print)


def test_an_unknown_device_is_a_usage_error(tiny_models, tmp_path) -> None:
    with pytest.raises(UsageError, match="device"):
        paint_picture(resolved(tiny_models), deliver(tmp_path).model_copy(update={"device": "abacus"}), on_note=print)


STOPPING = """
import os, signal, sys
import vqclip.runs.picture as picture
from vqclip.cli.main import main
number, moment = getattr(signal, sys.argv[1]), int(sys.argv[2])
build, paint = picture.build_parts, picture.painting
def building(*args, **more):
    if moment < 0:
        os.kill(os.getpid(), number)
    return build(*args, **more)
def painting(*args, **more):
    for event in paint(*args, **more):
        if event.index == moment:
            os.kill(os.getpid(), number)
        yield event
picture.build_parts, picture.painting = building, painting
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_the_first_signal_leaves_a_readable_picture_and_its_state(tiny_models, tmp_path, name, code) -> None:
    command = [name, "1", "a castle in fog", *tiny_models.flags(), "--steps", "50", "--seed", "4", "-o", f"{tmp_path}/"]
    ran = start_python(STOPPING, *command)
    out, err = ran.communicate(timeout=120)
    assert ran.returncode == code, err
    (saved,) = tmp_path.glob("*.png")
    assert out.strip() == str(saved)
    recipe = read_recipe(saved.read_bytes())
    assert recipe["steps_done"] == 1 and recipe["stopped"] == "by a signal"
    state, kept = load_state(tmp_path / f"{saved.name}.state")
    assert state["step"] == 1 and kept["settings"]["seed"] == 4


def test_a_signal_before_the_first_event_leaves_nothing(tiny_models, tmp_path) -> None:
    command = ["SIGINT", "-1", "a castle in fog", *tiny_models.flags(), "--steps", "5", "-o", f"{tmp_path}/"]
    ran = start_python(STOPPING, *command)
    out, err = ran.communicate(timeout=120)
    assert ran.returncode == 128 + signal.SIGINT, err
    assert out == "" and os.listdir(tmp_path) == []


def test_a_step_that_runs_out_of_memory_goes_on_in_less_and_the_recipe_says_so(tiny_models, tmp_path, monkeypatch):
    said, note = notes_of()
    look_at = ClipPerceptor.embed_image

    def tight(self, image):
        if len(image) > 2:
            raise RuntimeError("can't allocate memory: you tried to allocate 1 bytes")
        return look_at(self, image)

    monkeypatch.setattr(ClipPerceptor, "embed_image", tight)
    done = paint_picture(resolved(tiny_models), deliver(tmp_path), on_note=note)
    sentence = "out of memory at step 0: CLIP now looks at 2 views at a time"
    assert done.steps_done == 3 and sentence in said
    assert read_recipe(done.path.read_bytes())["memory"] == [sentence]


def test_memory_that_is_never_enough_ends_with_the_picture_and_three_remedies(tiny_models, tmp_path, monkeypatch):
    said, note = notes_of()
    decode = VQGAN.decode
    calls = []

    def full(self, quantized, *, lean=False):
        calls.append(lean)
        if len(calls) > 2:
            raise MemoryError
        return decode(self, quantized, lean=lean)

    monkeypatch.setattr(VQGAN, "decode", full)
    with pytest.raises(MemoryFullError) as caught:
        paint_picture(resolved(tiny_models), deliver(tmp_path), on_note=note)
    assert calls == [False, False, False, False, True]
    assert [text.split(": ")[1] for text in said] == [
        "CLIP now looks at 2 views at a time",
        "the decoder now works lean",
    ]
    hint = str(caught.value.hint)
    assert all(remedy in hint for remedy in ("--micro-batch", "--cutouts", "--size", "step 1"))
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_a_plateau_ends_the_picture_and_the_recipe_says_so(tiny_models, tmp_path):
    said, note = notes_of()
    settings = resolved(tiny_models, steps=400, until="plateau", learning_rate=1e-7)
    done = paint_picture(settings, deliver(tmp_path), on_note=note)
    assert done.steps_done < 400 and any("nothing improved any more" in text for text in said)
    recipe = read_recipe(done.path.read_bytes())
    assert recipe["stopped"] == "at a plateau" and recipe["steps_done"] == done.steps_done


@pytest.mark.parametrize("tile", ["none", "x", "y", "both"])
def test_a_tile_laid_out_four_times_has_no_seam(tiny_models, tile):
    settings = resolved(tiny_models, steps=4, tile=tile, init="codes")
    parts = build_parts(settings, device=CPU, offline=True, note=print)
    last = play(painting(parts))
    # a tile that begins elsewhere is the same picture moved: where the copies meet is a place like any other
    for axis, wraps in ((3, tile in ("x", "both")), (2, tile in ("y", "both"))):
        moved = parts.vqgan.decode(parts.vqgan.quantize(last.latent.roll(3, axis))[0]).clamp(0, 1)
        assert torch.allclose(moved, last.image.roll(3 * parts.vqgan.stride, axis), atol=1e-4) == wraps
