"""A film in little memory: what did not fit once is not tried again; it is foretold, and fitted into what is free."""

import json

import pytest
import torch
from test_restyle import frames_folder
from test_thrift import FULL, Tight
from test_zoom import hashes
from tiny import TinyDecoder, shaken, tiny_look

from vqclip.cli.main import main
from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.film import Carry, Shot, film
from vqclip.engine.paint import Look
from vqclip.engine.restyle import Manner, Take, restyle
from vqclip.engine.streams import stream
from vqclip.engine.thrift import Thrift
from vqclip.films import FilmSettings
from vqclip.models.vqgan import VQGAN
from vqclip.ops.camera import Move, camera
from vqclip.runs import estimate as room
from vqclip.runs.estimate import estimate, work_of
from vqclip.runs.filmplan import estimate_film
from vqclip.runs.plan import resolve
from vqclip.settings import Delivery, Settings
from vqclip.shotlist import SceneShots, Script, ShotList
from vqclip.store.perceptor import ClipPerceptor

SMALL = ["--steps", "1", "--size", "32x32", "--cutouts", "4", "--seed", "5", "-q"]
FILM = """frames = 3
[paint]
steps = 1
[[scene]]
prompt = "a castle"
[[scene]]
prompt = "fog"
"""
HALVED = "out of memory at step 0: CLIP now looks at 2 views at a time"


@pytest.fixture
def vqclip(tiny_models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*args, small=SMALL):
        capsys.readouterr()
        code = main([*args, *(() if args[0] in ("show", "resume") else (*tiny_models.flags(), *small))])
        return (code, *capsys.readouterr())

    return run


def tight(monkeypatch, views):
    """A CLIP that has room for so many views only; gives how many it was asked to look at each time."""
    look_at, sizes = ClipPerceptor.embed_image, []

    def embed_image(self, image):
        sizes.append(len(image))
        if len(image) > views:
            raise FULL
        return look_at(self, image)

    monkeypatch.setattr(ClipPerceptor, "embed_image", embed_image)
    return sizes


def filmed(look, decoder, thrift):
    start = begin(torch.randn(1, 6, 8, 8, generator=stream(1, "init")), [1])
    matrix = camera(Move(zoom=1.05), width=32, height=32)
    course = Course(steps=2, learning_rate=0.05)

    def shots(index):
        return Shot(matrix, [look], course, shaken(4))

    return list(film(decoder, decoder, start, shots=shots, frames=3, carry=Carry("cells"), thrift=thrift))


def restyled(look, decoder, thrift):
    start = begin(torch.randn(1, 6, 8, 8, generator=stream(1, "init")), [1])
    pictures = [torch.rand(1, 3, 32, 32, generator=stream(n, "init")) for n in range(4)]
    course = Course(steps=2, learning_rate=0.05)
    manner = Manner([look], course, course, shaken(4))

    def takes(index):
        return Take(pictures[index], pictures[index - 1] if index else None)

    return list(restyle(decoder, decoder, start, takes=takes, frames=3, manner=manner, thrift=thrift))


@pytest.mark.parametrize("loop", [filmed, restyled])
def test_frames_share_what_was_learned_of_memory(loop):
    look, perceptor = tiny_look(), Tight(2)
    thrift = Thrift()
    frames = loop(Look(look.name, perceptor, look.targets), TinyDecoder(), thrift)
    assert perceptor.sizes[0] == 4 and set(perceptor.sizes[1:]) == {2} and thrift.said == [HALVED]
    plain = loop(look, TinyDecoder(), Thrift(micro_batch=2))
    assert all(torch.equal(a.image, b.image) for a, b in zip(frames, plain, strict=True))


class LeanSteps(TinyDecoder):
    """A decoder whose gradient only fits its machine when it works lean."""

    def __init__(self):
        super().__init__()
        self.ways = []

    def decode(self, quantized, *, lean=False):
        if quantized.requires_grad:
            self.ways.append(lean)
            if not lean:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return super().decode(quantized)


@pytest.mark.parametrize("loop", [filmed, restyled])
def test_a_film_whose_steps_only_fit_lean_is_lean_from_there_on(loop):
    decoder = LeanSteps()
    frames, plain = loop(tiny_look(), decoder, None), loop(tiny_look(), TinyDecoder(), None)
    assert decoder.ways[:2] == [False, False] and set(decoder.ways[2:]) == {True} and len(decoder.ways) > 4
    assert all(torch.allclose(a.image, b.image, atol=1e-3) for a, b in zip(frames, plain, strict=True))


@pytest.mark.parametrize("kind", ["zoom", "film", "restyle"])
def test_a_film_falls_back_once_says_so_once_and_is_the_film_of_fewer_views(vqclip, tmp_path, monkeypatch, kind):
    (tmp_path / "film.toml").write_text(FILM, encoding="utf-8")
    frames_folder(tmp_path / "clip", 3)
    more = ["--frames", "3", "--steps-per-frame", "1"]
    words = {"zoom": ["zoom", "a castle", *more], "film": ["film", "film.toml"], "restyle": ["restyle", "clip", "fog"]}
    words["restyle"] += [*more, "--no-flow"]
    loud = [word for word in SMALL if word != "-q"]
    assert vqclip(*words[kind], "--micro-batch", "2", "-o", "few.mp4")[0] == 0
    sizes = tight(monkeypatch, 2)
    code, out, err = vqclip(*words[kind], "-o", "tight.mp4", small=loud)
    assert (code, out) == (0, "tight.mp4\n"), err
    assert [size for size in sizes if size > 2] == [4] and err.count(HALVED) == 1
    assert json.loads(vqclip("show", "tight.mp4", "--json")[1])["memory"] == [HALVED]
    assert "memory" not in json.loads(vqclip("show", "few.mp4", "--json")[1])
    assert hashes("tight.frames") == hashes("few.frames") and len(hashes("few.frames")) == 3


def test_a_film_that_goes_on_is_as_thrifty_again(vqclip, monkeypatch):
    zoom = ["zoom", "a castle", "--frames", "4", "--steps-per-frame", "1"]
    assert vqclip(*zoom, "--micro-batch", "2", "-o", "few.mp4")[0] == 0
    sizes = tight(monkeypatch, 2)
    painted, decode = [], VQGAN.decode

    def full(self, quantized, *, lean=False):
        painted.append(lean)
        if len(painted) > 8:
            raise MemoryError
        return decode(self, quantized, lean=lean)

    monkeypatch.setattr(VQGAN, "decode", full)
    loud = [word for word in SMALL if word != "-q"]
    code, out, err = vqclip(*zoom, "-o", "tight.mp4", small=loud)
    assert (code, out) == (7, "") and err.count(HALVED) == 1 and "the decoder now works lean" in err
    assert "tight.frames" in err and "--micro-batch" in err and "Traceback" not in err
    assert 0 < len(hashes("tight.frames")) < 4
    monkeypatch.setattr(VQGAN, "decode", decode)
    sizes.clear()
    code, out, err = vqclip("resume", "tight.frames")
    assert code == 0 and [size for size in sizes if size > 2] == [4] and err.count("out of memory") == 1, err
    assert hashes("tight.frames") == hashes("few.frames")


def test_films_are_fitted_once_into_what_is_free(vqclip, tiny_models, tmp_path, monkeypatch):
    job = resolve(Settings.make(tiny_models.settings(width=256, height=256)))[0]
    work = work_of(job, encoder=True)
    free = (room.LOADED + work.bytes) / room.MARGIN - 2**20
    monkeypatch.setattr(room, "free_on", lambda device: free)
    frames_folder(tmp_path / "clip", 2)
    (tmp_path / "film.toml").write_text(FILM, encoding="utf-8")
    small = ["--steps", "1", "--size", "256", "--cutouts", "4", "--seed", "5", "--fit", "--dtype", "float32"]
    more = ["--frames", "2", "--steps-per-frame", "1"]
    for words in (["zoom", "a castle", *more], ["restyle", "clip", "fog", *more, "--no-flow"], ["film", "film.toml"]):
        code, out, err = vqclip(*words, "--dry-run", "--json", small=small)
        plan, planned = json.loads(out)["plan"], err
        assert code == 0 and (plan["micro_batch"] or plan["lean"]) and plan["cutouts"] == 4, err
        code, out, err = vqclip(*words, "-o", f"{words[0]}.mp4", small=small)
        assert code == 0 and "--fit: " in err and err.count("--fit: ") == planned.count("--fit: "), err
        made = json.loads(vqclip("show", f"{words[0]}.mp4", "--json")[1])["settings"]
        assert all(made.get(key) == plan[key] for key in ("width", "height", "lean")), made
        assert made.get("micro_batch") == plan["micro_batch"]
    monkeypatch.setattr(room, "free_on", lambda device: 2**20)
    code, out, err = vqclip("zoom", "a castle", *more, "-o", "none.mp4", small=small)
    assert (code, out) == (7, "") and "not even the smallest picture fits" in err
    assert not (tmp_path / "none.frames").exists()


def test_the_plan_of_a_film_says_memory_and_time(vqclip, tmp_path):
    (tmp_path / "film.toml").write_text(FILM, encoding="utf-8")
    frames_folder(tmp_path / "clip", 2)
    loud = [word for word in SMALL if word != "-q"]
    for words in (["zoom", "a castle"], ["film", "film.toml"], ["restyle", "clip", "fog", "--no-flow"]):
        code, _, err = vqclip(*words, "--dry-run", small=loud)
        assert code == 0 and " GB\n" in err and "s a step" in err, err
        plan = json.loads(vqclip(*words, "--dry-run", "--json")[1])["plan"]
        assert plan["memory"].endswith("GB") and plan["time"].startswith("about ")


def test_a_film_takes_its_first_picture_and_the_steps_of_its_frames(tiny_models):
    job = resolve(Settings.make(tiny_models.settings(steps=40)))[0]
    cpu = Delivery(device="cpu", threads=1)

    def seconds(**values):
        return estimate_film(job, FilmSettings.make(values), cpu).total

    picture = estimate(job, cpu)
    assert seconds(frames=1) == pytest.approx(picture.total)
    each = seconds(frames=2) - seconds(frames=1)
    assert seconds(frames=101) - seconds(frames=1) == pytest.approx(100 * each)
    still = seconds(frames=2, steps_per_frame=0) - seconds(frames=1)
    assert each == pytest.approx(5 * picture.step + still) and 0 < still < 2 * picture.step
    assert estimate_film(job, FilmSettings(), cpu).memory >= picture.memory


def test_the_frames_of_a_film_file_take_their_own_steps_and_cutouts(tiny_models):
    job = resolve(Settings.make(tiny_models.settings(steps=40)))[0]
    cpu, frames = Delivery(device="cpu", threads=1), FilmSettings(frames=3)

    def found(steps, cutouts):
        curves = {"steps": (0.0, *steps), "cutouts": (4.0, *cutouts)}
        shots = ShotList(fps=24.0, scenes=(SceneShots(first=0, prompt="fog"),), shares=(1.0,) * 3, curves=curves)
        return estimate_film(job, frames, cpu, script=Script(shots, "", None))

    plain = found((5.0, 5.0), (4.0, 4.0))
    assert plain.total == pytest.approx(estimate_film(job, frames, cpu).total)
    assert found((5.0, 9.0), (4.0, 4.0)).total > plain.total
    more = found((5.0, 5.0), (4.0, 1024.0))
    assert more.total > plain.total and more.memory > plain.memory


def test_a_film_leaves_behind_how_fast_its_first_picture_was(vqclip, tmp_path, monkeypatch):
    monkeypatch.setattr("vqclip.runs.rates.cache_folder", lambda: tmp_path / "rates")
    zoom = ["zoom", "a castle", "--frames", "2", "--steps-per-frame", "1"]
    small = ["--steps", "7", "--size", "32", "--cutouts", "2", "--seed", "5", "--coarse", "0", "--dtype", "float32"]
    assert "a guess" in vqclip(*zoom, "--dry-run", small=small)[2]
    assert vqclip(*zoom, "-q", small=small)[0] == 0
    assert "as measured on this machine" in vqclip(*zoom, "--dry-run", small=small)[2]


def test_a_device_that_is_not_here_is_said_before_anything_is_made(vqclip, tmp_path):
    for more in ([], ["--fit"]):
        code, out, err = vqclip("zoom", "a castle", "--frames", "2", *more, small=["--device", "cuda:99"])
        assert (code, out) == (2, "") and "there is no device" in err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
