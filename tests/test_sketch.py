"""Painting with a prior of one's own: from its training to a picture, and every way in which it may not fit."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from batches import pixels, stop_at
from PIL import Image
from workshop import Call, make_pictures, vqgan_command

import vqclip as package
from vqclip.configs import PriorConfig
from vqclip.engine.film import FADING, turned
from vqclip.engine.paint import paint
from vqclip.films import FilmSettings
from vqclip.models.prior import Prior
from vqclip.ops.resample import within
from vqclip.runs.jobs import identify, make_job
from vqclip.runs.painting import painting
from vqclip.runs.parts import Parts, build_parts
from vqclip.runs.plan import again, resolve
from vqclip.runs.shots import renewed, sketched_anew
from vqclip.settings import Settings
from vqclip.sinks.metadata import read_recipe
from vqclip.sinks.state import load_state
from vqclip.store.checkpoint import read_header, write_own
from vqclip.store.folder import digest
from vqclip.store.priors import load_prior, save_prior, trained_with
from vqclip.store.starter import starter_path

SHAPE = PriorConfig(latent_channels=8, grid=4, text_channels=16, channels=(16, 16), attention_levels=(1,), heads=2)
SMALL = ("--steps", "2", "--size", "32x32", "--cutouts", "2", "--seed", "5", "--device", "cpu", "--threads", "1")
CLIP = ("--batch", "4", "--side", "32", "--width", "8", "--embedding", "8")

Make = Callable[..., Path]


@pytest.fixture
def call(capsys, tmp_path, monkeypatch) -> Call:
    monkeypatch.chdir(tmp_path)
    return Call(capsys)


@pytest.fixture
def make(tiny_models, tmp_path) -> Make:
    """Writes an untrained prior for the tiny models; models and shape can be claimed to be others."""
    pair = {"tiny-vqgan.safetensors": digest(tiny_models.vqgan), "clip:tiny-clip.safetensors": digest(tiny_models.clip)}

    def write(name: str = "sketch.safetensors", *, models: Any = pair, seed: int = 0, **shape: Any) -> Path:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = Prior(PriorConfig(**{**vars(SHAPE), **shape}))
        return save_prior(model, tmp_path / name, {"models": models})

    return write


def recipe_of(path: str) -> dict[str, Any]:
    return dict(read_recipe(Path(path.strip()).read_bytes()))


def test_from_a_training_of_all_three_to_a_picture_painted_with_them(call, tmp_path):
    folder = make_pictures(tmp_path / "pictures")
    short = ("--steps", "2", "--device", "cpu", "--threads", "1")
    assert call(*vqgan_command(folder, Path("mine.safetensors"), steps="3")).code == 0
    assert call("train", "clip", "pictures", "--out", "look.safetensors", *CLIP, *short).code == 0
    models = ("--vqgan", "./mine.safetensors", "--clip", "./look.safetensors")
    trained = call(
        "train", "prior", "pictures", *models, "--out", "sketch.safetensors", "--size", "16", "--batch", "2", *short
    )
    assert trained.code == 0, trained.err
    ran = call("a picture of blocks", *models, "--prior", "./sketch.safetensors", *SMALL)
    assert ran.code == 0, ran.err
    recipe = recipe_of(ran.out)
    assert recipe["settings"]["prior"] == "sketch.safetensors" and recipe["settings"]["init"] == "prior"
    assert recipe["models"]["prior:sketch.safetensors"] == digest("sketch.safetensors")
    assert str(tmp_path) not in json.dumps(recipe)
    codes = call("a picture of blocks", *models, "--init", "codes", *SMALL)
    assert pixels(codes.out.strip()) != pixels(ran.out.strip())
    unread = call("a picture of blocks", *models[:2], "--prior", "./sketch.safetensors", "--offline", *SMALL)
    assert unread.code == 4 and "through the CLIP look.safetensors" in unread.err


def test_the_sketch_is_that_of_the_prior_that_is_named(make, tiny_models):
    def start(prior: Path) -> bytes:
        said = tiny_models.settings(steps=0, prior=str(prior))
        return package.generate(said.pop("prompt"), device="cpu", **said).tobytes()

    one, other = make("a.safetensors"), make("b.safetensors", seed=1)
    assert start(one) == start(one) != start(other)
    shutil.copy(other, one)
    assert start(one) == start(other)


def test_of_several_sketches_the_one_is_taken_that_clip_likes_best(make, tiny_models, monkeypatch):
    heard: list[float] = []

    def overheard(*args: Any, **kwargs: Any) -> Any:
        seen = list(paint(*args, **kwargs))
        heard.append(float(seen[0].loss))
        return iter(seen)

    monkeypatch.setattr("vqclip.runs.sketch.paint", overheard)
    said = tiny_models.settings(steps=0, seed=4, prior=str(make()))
    prompt = said.pop("prompt")

    def start(**more: Any) -> bytes:
        return package.generate(prompt, device="cpu", **{**said, **more}).tobytes()

    first = start(sketches=1)
    assert first == start() and heard == []
    picked = {count: start(sketches=count) for count in (2, 3, 5, 8)}
    assert len(heard) == 18 and heard[:2] == heard[2:4] == heard[5:7] == heard[10:12]
    best = min(range(8), key=heard[10:].__getitem__)
    assert best > 0 and picked[8] != first
    assert picked[8] == start(sketches=best + 1), "the best of eight is the last and best of those up to it"


def test_the_prior_reads_through_its_own_clip_beside_others_or_through_the_starters(make, call, tiny_models):
    starters = {"starter": digest(starter_path("vqgan")), "clip:starter": digest(starter_path("clip"))}
    own = make("own.safetensors", models=starters, latent_channels=16, text_channels=128)
    assert trained_with(own) == trained_with("starter")
    looks = ("--clip", str(tiny_models.clip))
    ran = call("a castle", "--prior", str(own), *looks, *SMALL)
    assert ran.code == 0 and "clip:starter" not in recipe_of(ran.out)["models"]
    prior = ("--vqgan", str(tiny_models.vqgan), "--prior", str(make()))
    assert call("a castle", *prior, "--clip", "starter", *looks, *SMALL).code == 0


def test_a_picture_of_an_own_prior_is_painted_again_with_a_file_of_that_digest(
    make, call, tiny_models, tmp_path, monkeypatch
):
    models = tmp_path / "models"
    for room in ("vqclip.store.by_digest.model_folder", "vqclip.store.folder.model_folder"):
        monkeypatch.setattr(room, lambda: models)
    picture = call("a castle", *tiny_models.flags(), "--prior", str(make()), *SMALL[:8], "-o", "a.png").out.strip()
    own = ("--vqgan", str(tiny_models.vqgan), "--clip", str(tiny_models.clip))
    asked = call("again", picture, *own)
    assert asked.code == 2 and "sketch.safetensors" in asked.err and "--prior PATH" in asked.err
    assert call("again", picture, *own, "--init", "codes", "-o", "codes.png").code == 0
    assert "prior" not in recipe_of("codes.png")["settings"]
    models.mkdir()
    shutil.move(tmp_path / "sketch.safetensors", models / "renamed.safetensors")
    again = call("again", picture, *own, "-o", "b.png")
    assert again.code == 0 and pixels("b.png") == pixels("a.png"), again.err
    assert call("again", picture, *own, "--prior", "renamed", "-o", "c.png").code == 0
    assert recipe_of("c.png")["settings"]["prior"] == "renamed" and pixels("c.png") == pixels("a.png")


def test_a_stopped_picture_of_an_own_prior_goes_on_by_the_printed_line(make, call, tiny_models, monkeypatch):
    command = ("a castle", *tiny_models.flags(), "--prior", str(make()), *SMALL)
    assert call(*command, "-o", "whole.png").code == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 1)
        stopped = call(*command, "-o", "a.png")
    line = stopped.err.split("go on with: ")[1].splitlines()[0]
    assert stopped.code == 130 and f"--prior {make()}" in line
    other = make("other.safetensors", seed=1)
    refused = call(*shlex.split(line.replace(str(make()), str(other)))[1:])
    assert refused.code == 2 and "was saved with another prior" in refused.err
    assert call(*shlex.split(line)[1:]).code == 0
    assert pixels("a.png") == pixels("whole.png")


def test_a_prior_sketches_over_a_picture_and_keeps_the_share_that_it_is_told_to(make):
    prior = load_prior(str(make()))
    rng = torch.Generator().manual_seed(1)
    text, noise, over = (torch.randn(1, *shape, generator=rng) for shape in ((16,), (8, 4, 4), (8, 4, 4)))
    plain = prior.sample(text, noise)
    assert torch.equal(prior.sample(text, noise, over=over, kept=0.0), plain)
    far = [float((prior.sample(text, noise, over=over, kept=kept) - over).abs().mean()) for kept in (0.2, 0.6, 0.97)]
    assert far[0] > far[1] > far[2] and far[2] < 0.1 * far[0]


def filmed(call: Call, name: str, *words: str) -> tuple[list[str], dict[str, Any]]:
    """The pixels of all frames of a film that the command line made, and the state that it left."""
    ran = call(*words, "--format", "frames", "--quiet", "-o", f"{name}.frames")
    assert ran.code == 0, ran.err
    frames = [pixels(path) for path in sorted(Path(f"{name}.frames").glob("*.png"))]
    return frames, load_state(Path(f"{name}.frames/film.state"))[0]


def test_the_next_prompt_of_a_zoom_is_sketched_over_the_picture_or_painted_out_of_it(call, make, tiny_models):
    story = ("zoom", "a castle", "--story", "fog", "--change-every", "3", "--frames", "6", *tiny_models.flags())
    own = ("--prior", str(make()), *SMALL[:8])
    sketched, state = filmed(call, "sketched", *story, *own)
    painted, plain = filmed(call, "painted", *story, *own, "--change", "paint")
    assert "shown" in state and "shown" not in plain
    assert sketched[:3] == painted[:3] and sketched[3] != painted[3]
    assert filmed(call, "again", *story, *own)[0] == sketched
    assert "shown" not in filmed(call, "codes", *story, "--init", "codes", *SMALL[:8])[1]


def test_a_zoom_sketches_its_prompt_anew_as_it_goes_in(call, make, tiny_models, monkeypatch):
    made = []
    monkeypatch.setattr("vqclip.engine.film.turned", lambda *args: made.append(turned(*args)) or made[-1])
    how = ("zoom", "a castle", "--zoom", "1.5", "--frames", "7", "--fps", "8")
    own = ("--prior", str(make()), *tiny_models.flags(), *SMALL[:8])
    frames, state = filmed(call, "renewed", *how, "--renew", "2", *own)
    assert len(made) == 3  # frames 2, 4 and 6
    again, plain = filmed(call, "never", *how, *own)
    assert len(made) == 3 and "shown" in state and "shown" not in plain
    assert frames[:2] == again[:2] and frames[2] != again[2]


def test_a_scene_of_a_film_is_renewed_as_its_camera_goes_in(call, make, tiny_models, monkeypatch):
    Path("film.toml").write_text(
        '[paint]\nrenew = 2\n[camera]\nzoom = 1.5\n[[scene]]\nprompt = "a castle"\nseconds = 0.1667\n'
        '[[scene]]\nprompt = "a castle"\nseconds = 0.0833\n[[scene]]\nprompt = "fog"\nseconds = 0.1667\n'
    )
    when = []
    for name in ("sketched_anew", "renewed"):
        note = lambda *_, index, since, name=name, **__: when.append((name, index, since))  # noqa: E731
        monkeypatch.setattr(f"vqclip.runs.planned.{name}", note)
    filmed(call, "film", "film", "film.toml", "--prior", str(make()), *tiny_models.flags(), *SMALL[:8])
    anew, again = "sketched_anew", "renewed"
    assert when == [(again, 2, 0), (again, 3, 1), (anew, 6, 0), (anew, 7, 1), (again, 8, 0), (again, 9, 1)]


@pytest.mark.parametrize("fine", [0, 8])
def test_a_renewed_picture_comes_from_afar_and_leaves_the_rest_as_it_was(tiny_models, make, monkeypatch, fine):
    said = tiny_models.settings(prior=str(make(fine_grid=fine)), init="prior", seed=1, width=32, height=32, cutouts=2)
    how = {"device": torch.device("cpu"), "offline": True, "note": print, "encoder": True}
    parts = build_parts(resolve(Settings.make(said))[0], **how)
    wholes = []
    monkeypatch.setattr("vqclip.runs.shots.within", lambda *args: wholes.append((args, within(*args))) or wholes[-1][1])
    film, looks = FilmSettings(renew=2.0), parts.looks
    anew = [renewed(parts, film, parts.settings, looks, index=9, since=since) for since in (0, 1)]
    assert anew[1] is None
    seen = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    latent = anew[0](seen)
    ((_, afar, scale, _), both), *_ = wholes
    assert len(wholes) == 1 and scale == 0.5 and afar.std() > 0
    assert torch.equal(both[..., :8, :], seen[..., :8, :]) and not torch.equal(
        both[..., 8:24, 8:24], seen[..., 8:24, 8:24]
    )
    assert torch.equal(latent, parts.vqgan.tokenize(both)[0]) == (not fine)
    assert torch.equal(latent, anew[0](seen)) and latent.shape == parts.latent.shape
    painted = film.model_copy(update={"change": "paint"})
    assert renewed(parts, painted, parts.settings, looks, index=9, since=0) is None


@pytest.mark.parametrize(("change", "fade", "first"), [("sketch", 0, 4), ("sketch", 0.25, 7), ("paint", 0, None)])
def test_the_next_scene_of_a_film_is_sketched_where_half_of_it_is_there(
    call, make, tiny_models, monkeypatch, change, fade, first
):
    Path("film.toml").write_text(
        f'[paint]\nchange = "{change}"\n[[scene]]\nprompt = "a castle"\nseconds = 0.1667\n'
        f'[[scene]]\nprompt = "fog"\nfade = {fade}\nseconds = 0.25\n'
    )
    made = []
    monkeypatch.setattr("vqclip.engine.film.turned", lambda *args: made.append(turned(*args)) or made[-1])
    frames, state = filmed(call, "film", "film", "film.toml", "--prior", str(make()), *tiny_models.flags(), *SMALL[:8])
    assert len(frames) == 10 and len(made) == (first is not None)
    assert state.get("fading") == (None if first is None else FADING - (9 - first))


def test_a_new_prompt_is_sketched_four_times_in_its_first_second(tiny_models, make):
    settings = Settings.make(tiny_models.settings(prior=str(make()), init="prior"), source="here")
    parts = SimpleNamespace(settings=settings)
    for fps, when in ((24, [0, 6, 12, 18]), (12, [0, 3, 6, 9]), (2, [0, 1, 2, 3])):
        film = FilmSettings(fps=fps)
        asked = [sketched_anew(parts, film, settings, [], index=50 + n, since=n) for n in range(-30, 40)]
        assert [n for n, anew in enumerate(asked, start=-30) if anew] == when


def test_the_id_of_a_job_knows_the_prior_by_what_is_in_it(make, tiny_models, tmp_path):
    def id_of(**more: object) -> str:
        return identify(resolve(Settings.make(tiny_models.settings(**more)).check())[0])[0]

    one, same = make(), shutil.copy(make(), tmp_path / "same.safetensors")
    ids = [id_of(prior=str(one)), id_of(prior=str(make("b.safetensors", seed=1))), id_of(init="codes")]
    assert len(set(ids)) == 3 and id_of(prior=str(same)) == id_of(prior=str(one), init="prior") == ids[0]
    job = make_job(Settings.make(tiny_models.settings(prior=str(one))), 1, print)
    assert job.models["prior:sketch.safetensors"] == digest(one)
    assert str(one) in job.group


def test_the_ids_of_jobs_of_the_starters_own_prior_stay_as_they_were():
    said = Settings.make({"prompt": "a castle", "seed": 1})
    plain, named = (resolve(one.check())[0] for one in (said, said.changed(prior="starter")))
    assert plain.prior == "starter" and identify(plain) == identify(named)
    assert list(identify(plain)[1]) == ["starter", "clip:starter", "prior:starter"]
    assert resolve(said.changed(init="codes"))[0].prior is None


def test_presets_and_batches_name_a_prior_as_they_name_a_vqgan(make, call, tiny_models, tmp_path):
    make()
    Path("look.toml").write_text('prior = "sketch.safetensors"\n')
    assert call("a castle", *tiny_models.flags(), "-P", "./look.toml", *SMALL[:8], "-o", "a.png").code == 0
    Path("far.toml").write_text('prior = "../sketch.safetensors"\n')
    ran = call("a castle", *tiny_models.flags(), "-P", "./far.toml")
    assert ran.code == 2 and "outside its own folder" in ran.err
    Path("prompts.txt").write_text('"a castle" --prior ./sketch.safetensors\n"a castle" --init codes\n')
    ran = call("batch", "prompts.txt", "--output", "all", *tiny_models.flags(), *SMALL[:6])
    assert ran.code == 0, ran.err
    found = [recipe_of(str(path)) for path in Path("all").glob("*.png")]
    assert sorted(recipe["settings"].get("prior", "none") for recipe in found) == ["none", "sketch.safetensors"]
    plan = [json.loads(line)["settings"] for line in Path("all/.vqclip/jobs.jsonl").read_text().splitlines()[1:]]
    assert {one.get("prior") for one in plan} == {None, "sketch.safetensors"}
    assert call("resume", "all", *tiny_models.flags()).code == 2
    assert call("resume", "all", *tiny_models.flags(), "--prior", str(tmp_path / "sketch.safetensors")).code == 0


def test_a_zoom_begins_with_the_sketch_and_says_so(make, call, tiny_models):
    film = ("zoom", "a castle", "--frames", "2", "--steps-per-frame", "1")
    ran = call(*film, *tiny_models.flags(), "--prior", str(make()), *SMALL[:8])
    assert ran.code == 0, ran.err
    shown = json.loads(call("show", ran.out.strip(), "--json").out)
    assert shown["settings"]["prior"] == "sketch.safetensors" and "prior:sketch.safetensors" in shown["models"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--init", "codes"), "init is 'codes', but a prior is given too"),
        (("--init-noise", "pixels"), "init is 'noise', but a prior is given too"),
        (("--init-image", "a.png"), "a prior is given, and an init image too"),
        (("--prior", ""), "no prior is named"),
        (("--prior", "starter"), "was trained with the starter"),
    ],
)
def test_a_prior_is_a_start_and_there_is_only_one(flags, said, make, call, tiny_models):
    ran = call("a castle", *tiny_models.flags(), "--prior", str(make()), *flags)
    assert ran.code == 2 and said in ran.err and "hint: " in ran.err


def test_without_any_prior_the_way_to_one_is_told(call, tiny_models):
    ran = call("a castle", *tiny_models.flags(), "--init", "prior")
    assert ran.code == 2 and "there is no prior for" in ran.err
    assert "--prior" in ran.err and "`vqclip train prior`" in ran.err


def refused(call: Call, tiny_models: Any, prior: Path | str) -> str:
    """What is said of a prior that cannot paint with the tiny models: an error of models with a cure, no traceback."""
    ran = call("a castle", *tiny_models.flags(), "--prior", str(prior), *SMALL[:8])
    assert ran.code == 4 and ran.err.count("error: ") == 1 and "Traceback" not in ran.err, ran.err
    return ran.err


def test_a_prior_of_another_vqgan_is_refused_with_the_right_one(make, call, tiny_models):
    clip = {"clip:tiny-clip.safetensors": digest(tiny_models.clip)}
    said = refused(call, tiny_models, make(models={"other.safetensors": "0" * 64, **clip}))
    assert "sketches for the VQGAN other.safetensors, not for tiny-vqgan.safetensors" in said
    assert "--vqgan other.safetensors" in said
    said = refused(call, tiny_models, make(models={"tiny-vqgan.safetensors": "0" * 64, **clip}))
    assert "another tiny-vqgan.safetensors (sha256 000000000000, not " in said and "train the prior again" in said


def test_a_prior_of_a_clip_that_does_not_look_is_refused_with_the_cure(make, call, tiny_models):
    vqgan = {"tiny-vqgan.safetensors": digest(tiny_models.vqgan)}
    said = refused(call, tiny_models, make(models={**vqgan, "clip:other.safetensors": "0" * 64}))
    assert "reads the prompt through the CLIP other.safetensors" in said and "--clip other.safetensors" in said


def test_a_prior_of_another_width_is_refused(make, call, tiny_models):
    assert "sketches 4 channels, and the VQGAN has 8" in refused(call, tiny_models, make(latent_channels=4))
    assert "reads texts of 24 numbers, and tiny-clip writes 16" in refused(call, tiny_models, make(text_channels=24))


@pytest.mark.parametrize("models", [None, {}, [], {"a": "b"}, {"clip:a": "b"}, {"a": 1, "clip:b": 2}, "starter"])
def test_a_prior_that_does_not_say_whose_it_is_is_refused(models, make, call, tiny_models):
    assert "does not say which VQGAN and which CLIP" in refused(call, tiny_models, make(models=models))


def test_what_is_no_prior_is_refused(make, call, tiny_models, tmp_path):
    assert "there is no file ./none.safetensors" in refused(call, tiny_models, "./none.safetensors")
    assert "no model is called 'nonsense'" in refused(call, tiny_models, "nonsense")
    for other in (tiny_models.vqgan, tiny_models.clip):
        said = refused(call, tiny_models, other)
        assert "is no prior that this version of vqclip reads" in said and "`vqclip train prior`" in said
    whole = make()
    whole.write_bytes(whole.read_bytes()[:5000])
    assert "sketch.safetensors is incomplete" in refused(call, tiny_models, whole)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    refused(call, tiny_models, "./a.png")


@pytest.mark.parametrize(
    "config",
    [
        None,
        {"latent_channels": 8, "unheard_of": 1},
        {**vars(SHAPE), "heads": 0},
        {**vars(SHAPE), "heads": 3},
        {**vars(SHAPE), "grid": 0},
        {**vars(SHAPE), "grid": 60000},
        {**vars(SHAPE), "fine_grid": -1},
        {**vars(SHAPE), "fine_grid": "8"},
        {**vars(SHAPE), "channels": ()},
        {**vars(SHAPE), "channels": (12, 12)},
        {**vars(SHAPE), "channels": (16,) * 99},
        {**vars(SHAPE), "channels": "16"},
        {**vars(SHAPE), "channels": 16},
        {**vars(SHAPE), "text_channels": 1e9},
        {**vars(SHAPE), "attention_levels": (0, 1)},
        {**vars(SHAPE), "attention_levels": None},
    ],
)
def test_a_header_that_lies_about_the_shape_ends_in_a_sentence(config, make, call, tiny_models, tmp_path):
    header = {**read_header(make()), "config": config}
    weights = Prior(SHAPE).state_dict()
    said = refused(call, tiny_models, write_own(tmp_path / "liar.safetensors", weights, header))
    assert "liar.safetensors" in said


@pytest.fixture
def drawn(monkeypatch) -> list[dict[str, Any]]:
    """What the prior is asked for: each time the size of the noise, the first number of it, and how it is to sketch."""
    asked: list[dict[str, Any]] = []

    def overheard(self: Prior, text: torch.Tensor, noise: torch.Tensor, **more: Any) -> torch.Tensor:
        asked.append({"size": tuple(noise.shape[2:]), "count": len(noise), "noise": float(noise.flatten()[0]), **more})
        return sample(self, text, noise, **more)

    sample = Prior.sample
    monkeypatch.setattr(Prior, "sample", overheard)
    return asked


def painted(tiny_models: Any, prior: Path, **settings: Any) -> Image.Image:
    said = tiny_models.settings(seed=4, prior=str(prior), **{"width": 32, "height": 32, **settings})
    return package.generate(said.pop("prompt"), device="cpu", **said)


def test_prior_and_painter_take_turns_as_often_as_is_asked(make, tiny_models, drawn):
    painted(tiny_models, make(), steps=7, coarse=0.0, sketches=3, sketch_again=2, width=16, height=16)
    assert [one["kept"] for one in drawn] == [0.0, 0.3, 0.5] and {one["count"] for one in drawn} == {3}
    assert [one["over"] is None for one in drawn] == [True, False, False]
    assert len({one["noise"] for one in drawn}) == 3, "every turn has noise of its own"
    drawn.clear()
    painted(tiny_models, make(), steps=0, sketches=3, sketch_again=2)
    assert len(drawn) == 1, "without a step nothing is painted that could be sketched over"
    assert again(0) == [] and again(1) == [0.3]


def test_a_prior_that_knows_a_finer_size_refines_at_the_full_one(make, tiny_models, drawn):
    fine = make(fine_grid=8)
    run = {"steps": 6, "coarse": 0.5, "sketch_again": 1}
    painted(tiny_models, fine, refine=0.6, **run)
    assert [one["kept"] for one in drawn] == [0.0, 0.3, 0.6]
    assert [one["size"] for one in drawn] == [(4, 4), (4, 4), (8, 8)]
    for other in ({"prior": make(), "refine": 0.6}, {"prior": fine, "refine": 0.0}):
        drawn.clear()
        painted(tiny_models, **run, **other)
        assert [one["kept"] for one in drawn] == [0.0, 0.3]


def test_a_painting_is_sketched_over_at_its_own_size_or_not_at_all(make, tiny_models, drawn):
    fine, run = make(fine_grid=8), {"steps": 4, "coarse": 0.5, "refine": 0.6, "sketch_again": 1, "sketches": 4}
    painted(tiny_models, fine, width=64, height=64, **run)  # 8 x 8 cells, then 16 x 16
    assert [(one["kept"], one["size"], one["count"]) for one in drawn] == [(0.0, (4, 4), 4), (0.3, (8, 8), 1)]
    drawn.clear()
    painted(tiny_models, fine, width=128, height=128, **run)  # 16 x 16 cells, then 32 x 32: the prior knows neither
    assert [one["kept"] for one in drawn] == [0.0]
    drawn.clear()
    painted(tiny_models, fine, width=28, height=24, **{**run, "sketch_again": 0})  # 3 x 4 cells, then 6 x 7
    assert [one["kept"] for one in drawn] == [0.0, 0.6] and drawn[1]["size"] == (8, 8)


@pytest.mark.parametrize("tile", ["x", "y", "both"])
def test_what_tiles_is_not_sketched_over_for_the_prior_would_leave_a_seam(make, tiny_models, drawn, tile):
    painted(tiny_models, make(fine_grid=8), steps=6, coarse=0.5, refine=0.6, sketch_again=1, tile=tile)
    assert [one["kept"] for one in drawn] == [0.0]


@pytest.mark.parametrize("guidance", [None, 0.0, 7.0])
def test_how_strictly_the_prior_follows_the_prompt_can_be_said(make, tiny_models, drawn, guidance):
    painted(tiny_models, make(), steps=0, **({} if guidance is None else {"guidance": guidance}))
    assert drawn[0]["guidance"] == (3.0 if guidance is None else guidance)


def test_turns_and_codes_do_not_go_together(tiny_models, drawn):
    said = tiny_models.settings(seed=4, init="codes", steps=4, coarse=0.5, sketch_again=2, refine=0.5)
    package.generate(said.pop("prompt"), device="cpu", **said)
    assert drawn == [], "what did not begin with the prior does without it"


def test_a_painting_of_turns_goes_on_bit_for_bit(make, tiny_models):
    said = tiny_models.settings(seed=4, prior=str(make(fine_grid=8)), width=32, height=32, steps=8, coarse=0.5)
    said |= {"sketch_again": 1, "refine": 0.5}
    settings = resolve(Settings.make(said))[0]

    def parts() -> Parts:
        return build_parts(settings, device=torch.device("cpu"), offline=True, note=print)

    whole = [(event.image, event.state()) for event in painting(parts())]
    for stopped in (1, 3, 4, 6):
        rest = [event.image for event in painting(parts(), whole[stopped][1])]
        assert all(torch.equal(a, b) for a, (b, _) in zip(rest, whole[stopped:], strict=True))
