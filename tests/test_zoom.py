"""`vqclip zoom` and `encode-film` from end to end, with real models made tiny."""

import hashlib
import json
import os
import random
import shlex
import signal
from pathlib import Path

import av
import pytest
import torch
from PIL import Image
from steps import start_python

from vqclip.cli.main import main
from vqclip.films import kept_film_values
from vqclip.runs.film import _read_job
from vqclip.sinks.frames import STATE
from vqclip.sinks.state import load_state

PROGRAM = "import sys; from vqclip.cli.main import main; sys.exit(main(sys.argv[1:]))"
SMALL = ["--steps", "1", "--size", "32x32", "--cutouts", "2", "--steps-per-frame", "1", "--seed", "5"]


@pytest.fixture
def vqclip(tiny_models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*args, paint=True):
        capsys.readouterr()
        code = main([*args, *((*tiny_models.flags(), *SMALL) if paint else ())])
        return (code, *capsys.readouterr())

    return run


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(folder).glob("*.png"))}


def length(path):
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


def test_a_zoom_becomes_a_film_with_frames_beside_it_and_a_recipe_inside(vqclip):
    code, out, err = vqclip(
        "zoom", "a castle", "--frames", "4", "--zoom", "1.05", "--rotate", "24/s", "--pan", "-1,0.5"
    )
    assert (code, out) == (0, "outputs/a-castle-5.mp4\n"), err
    assert length("outputs/a-castle-5.mp4") == 4 and len(hashes("outputs/a-castle-5.frames")) == 4
    code, shown, _ = vqclip("show", out.strip(), "--json", paint=False)
    recipe = json.loads(shown)
    assert recipe["settings"]["prompt"] == "a castle" and recipe["film"]["pan"] == [-1.0, 0.5]
    assert recipe["film"]["rotate"] == 1.0
    code, again, _ = vqclip("encode-film", "outputs/a-castle-5.frames", "-o", "again.webm", "--quiet", paint=False)
    assert (code, again) == (0, "again.webm\n") and length("again.webm") == 4


def test_frames_are_shown_as_clear_as_asked_for_and_painted_alike(vqclip):
    for clarity in ("0", "2"):
        shown = ("--clarity", clarity, "--calm", clarity)
        code, _, err = vqclip("zoom", "a castle", "--frames", "3", *shown, "-o", f"{clarity}.mp4", "-q")
        assert code == 0, err
    plain, clear = hashes("0.frames"), hashes("2.frames")
    assert plain.keys() == clear.keys() and not set(plain.values()) & set(clear.values())
    states = [load_state(Path(f"{name}.frames") / STATE)[0] for name in ("0", "2")]
    assert torch.equal(states[0]["latent"], states[1]["latent"])
    film = json.loads(Path("2.frames/film.json").read_text())["film"]
    assert film["clarity"] == film["calm"] == 2


@pytest.mark.parametrize("later", [["calm"], ["clarity", "calm"]])
def test_a_film_of_a_version_that_showed_frames_otherwise_goes_on_as_it_began(vqclip, later):
    code, _, err = vqclip("zoom", "a castle", "--frames", "3", "-o", "a.mp4", "-q")
    assert code == 0, err
    job = Path("a.frames/film.json")
    values = json.loads(job.read_text())
    for name in later:
        del values["film"][name]
    job.write_text(json.dumps(values))
    film = _read_job(job.parent, print, {})[0].film
    assert film.calm == 0 and film.clarity == (0 if "clarity" in later else 1.2)
    assert kept_film_values({"clarity": 0.5}).clarity == 0.5 and kept_film_values({}, restyled=True)


def test_a_loop_has_the_length_asked_for(vqclip):
    code, out, _ = vqclip("zoom", "a castle", "--frames", "6", "--loop", "--format", "gif", "--quiet")
    assert code == 0 and length(out.strip()) == 6 and len(hashes("outputs/a-castle-5.frames")) == 8


def test_a_story_changes_its_prompt_on_the_way(vqclip):
    quick = ["--frames", "4", "--quiet", "--frame-lr", "2", "--frame-average", "0"]
    plain = vqclip("zoom", "a castle", *quick)[1].strip()
    story = ["--story", "fog", "--change-every", "2"]
    code, told, err = vqclip("zoom", "a castle", *quick, *story, "-o", "told.mp4")
    assert code == 0 and told == "told.mp4\n", err
    folders = (Path(plain).with_suffix(".frames"), Path("told.frames"))
    before, after = (list(hashes(folder).values()) for folder in folders)
    assert before[:2] == after[:2] and len(after) == 4
    latents = [load_state(folder / STATE)[0]["latent"] for folder in folders]
    assert not torch.equal(*latents)


def test_a_story_may_be_joined_as_in_films(vqclip):
    plans = []
    for words in (["a castle", "--story", "fog", "--story", "a tree"], ["a castle ^ fog ^ a tree"]):
        code, out, err = vqclip("zoom", *words, "--frames", "9", "--dry-run", "--json")
        assert code == 0, err
        plans.append(json.loads(out)["plan"])
    assert plans[0] == plans[1]
    assert (plans[1]["prompt"], plans[1]["story"], plans[1]["change_every"]) == ("a castle", ["fog", "a tree"], 3)


def test_no_name_and_no_prompt_is_a_command(vqclip, tmp_path):
    """Peers built lines for a shell of them."""
    (tmp_path / "x").mkdir()
    odd = '"; rm -rf x; $(touch y) `touch y` %PATH% \\'
    code, out, err = vqclip("zoom", f"a castle {odd}", "--frames", "2", "-o", f"a {odd} b.mp4", "-q")
    assert (code, out) == (0, f"a {odd} b.mp4\n"), err
    code, shown, _ = vqclip("show", f"a {odd} b.mp4", "--json", paint=False)
    assert json.loads(shown)["settings"]["prompt"] == f"a castle {odd}"
    assert json.loads(Path(f"a {odd} b.frames/film.json").read_text("utf-8"))["path"] == f"a {odd} b.mp4"
    assert vqclip("encode-film", f"a {odd} b.frames", "-o", f"c {odd}.mp4", "-q", paint=False)[0] == 0
    names = {"x", *(f"a {odd} b{suffix}" for suffix in (".mp4", ".frames")), f"c {odd}.mp4"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_frames_alone_are_a_format_too(vqclip):
    code, out, _ = vqclip("zoom", "a castle", "--frames", "2", "--format", "frames")
    assert (code, out) == (0, "outputs/a-castle-5.frames\n") and len(hashes(out.strip())) == 2


def test_a_zoom_that_makes_no_sense_is_refused_before_anything_is_made(vqclip, tmp_path):
    for wrong in (
        ["--frames", "0"],
        ["--seconds", "0"],
        ["--zoom", "0"],
        ["--zoom", "1.1", "--zoom-per-second", "2"],
        ["--tilt", "3"],
        ["--seconds", "nan"],
        ["--seconds", "inf"],
        ["--story", "fog", "--change-every", "0"],
        ["--story", "fog ^"],
        ["--change-every", "4"],
        ["--fps", "0"],
        ["-o", "film.avi"],
    ):
        code, out, err = vqclip("zoom", "a castle", *wrong)
        assert (code, out) == (2, "") and err.startswith("error: "), wrong
    assert list(tmp_path.iterdir()) == []


def test_a_missing_encoder_is_found_before_the_models_are_loaded(vqclip, tmp_path, monkeypatch):
    monkeypatch.setattr("vqclip.sinks.codecs._works", lambda *_: False)
    monkeypatch.setattr("vqclip.runs.film.build_parts", None)
    code, out, err = vqclip("zoom", "a castle", "--frames", "2")
    assert (code, out) == (6, "") and "no encoder here" in err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


SIGNALED = f"""
import os
from vqclip.sinks.frames import SaveFrames
keep = SaveFrames.__call__
def keep_and_end(self, event):
    keep(self, event)
    if event.index == {{frame}}:
        os.kill(os.getpid(), {{number}})
SaveFrames.__call__ = keep_and_end
{PROGRAM}"""


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGKILL", -signal.SIGKILL)]
)
def test_a_film_stopped_by_a_signal_goes_on_the_same(vqclip, tiny_models, tmp_path, name, code):
    vqclip("zoom", "a castle", "--frames", "12", "-o", "whole.mp4")
    film, folder = tmp_path / "a $(y) 'part'.mp4", tmp_path / "a $(y) 'part'.frames"
    args = ["zoom", "a castle", "--frames", "12", *tiny_models.flags(), *SMALL, "-o", str(film)]
    frame = random.randrange(1, 9)
    ran = start_python(SIGNALED.format(frame=frame, number=int(getattr(signal, name))), *args)
    _, err = ran.communicate(timeout=120)
    assert ran.returncode == code and not film.exists(), (frame, err)
    line = ["vqclip", "resume", str(folder)]
    if name != "SIGKILL":
        assert f"stopped after frame {frame + 1} of 12" in err and len(hashes(folder)) == frame + 1
        line = shlex.split(err.split("go on with: ")[1].splitlines()[0])
    code, out, err = vqclip(*line[1:], paint=False)
    assert (code, out) == (0, f"{film}\n"), err
    assert hashes(folder) == hashes("whole.frames")


def test_what_is_no_film_cannot_be_resumed(vqclip, tmp_path):
    (tmp_path / "film.json").write_text('{"format": "other"}')
    for folder, words in [(tmp_path / "none", "none"), (tmp_path, "damaged")]:
        code, out, err = vqclip("resume", str(folder), paint=False)
        assert (code, out) == (2, "") and words in err


def test_a_film_goes_on_from_within_its_folder(vqclip, monkeypatch, tmp_path):
    assert vqclip("zoom", "a castle", "--frames", "1", "-o", "a.mp4", "-q")[0] == 0
    (tmp_path / "a.mp4").unlink()
    monkeypatch.chdir("a.frames")
    code, out, err = vqclip("resume", ".", "-q", paint=False)
    assert (code, out) == (0, f"{tmp_path / 'a.mp4'}\n") and (tmp_path / "a.mp4").exists(), err


@pytest.mark.parametrize("command", ["encode-film", "resume"])
def test_an_empty_variable_of_a_script_does_not_mean_the_current_folder(vqclip, monkeypatch, command):
    assert vqclip("zoom", "a castle", "--frames", "1", "-q")[0] == 0
    monkeypatch.chdir("outputs/a-castle-5.frames")
    before = sorted(Path("..").rglob("*"))
    code, out, err = vqclip(command, "", paint=False)
    assert (code, out) == (2, "") and "is named" in err
    assert sorted(Path("..").rglob("*")) == before


def test_a_film_killed_while_it_is_encoded_is_made_of_its_frames(vqclip, tiny_models, tmp_path):
    program = f"""
import os, signal
from vqclip.sinks.film import FilmFile
add = FilmFile.add
FilmFile.add = lambda self, picture: os.kill(os.getpid(), signal.SIGKILL) if self.count == 2 else add(self, picture)
{PROGRAM}"""
    args = ["zoom", "a castle", "--frames", "4", *tiny_models.flags(), *SMALL, "-o", str(tmp_path / "a.mp4")]
    ran = start_python(program, *args)
    ran.communicate(timeout=120)
    assert ran.returncode == -signal.SIGKILL and not (tmp_path / "a.mp4").exists()
    code, out, err = vqclip("resume", str(tmp_path / "a.frames"), paint=False)
    assert (code, out) == (0, f"{tmp_path / 'a.mp4'}\n"), err
    assert length(tmp_path / "a.mp4") == 4


def test_a_film_that_runs_out_of_memory_goes_on_the_same(vqclip, monkeypatch):
    from vqclip.engine import film as loop

    vqclip("zoom", "a castle", "--frames", "4", "-o", "whole.mp4")
    paint, calls = loop.paint, iter(range(99))

    def full(*args, **more):
        if next(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return paint(*args, **more)

    monkeypatch.setattr(loop, "paint", full)
    code, out, err = vqclip("zoom", "a castle", "--frames", "4", "-o", "part.mp4")
    assert (code, out) == (7, "") and "--size" in err and "part.frames" in err
    assert len(hashes("part.frames")) == 2
    monkeypatch.setattr(loop, "paint", paint)
    assert vqclip("resume", "part.frames", paint=False)[0] == 0
    assert hashes("part.frames") == hashes("whole.frames")


def test_a_full_disk_is_exit_6_and_keeps_the_frames(tiny_models, tmp_path):
    program = (
        f"import resource; from PIL import Image; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); {PROGRAM}"
    )
    args = ["zoom", "a castle", "--frames", "3", *tiny_models.flags(), *SMALL, "-o", str(tmp_path / "a.mp4")]
    ran = start_python(program, *args)
    out, err = ran.communicate(timeout=120)
    assert (ran.returncode, out) == (6, ""), err
    assert "error: " in err and "kept in" in err and not (tmp_path / "a.mp4").exists()


def test_a_making_of_lies_beside_the_picture(vqclip, tiny_models, tmp_path, capsys):
    paint = [*tiny_models.flags(), "--steps", "2", "--size", "32x32", "--cutouts", "2", "--seed", "5"]
    code, out, err = vqclip("a castle", "--video", "--video-seconds", "1", "--fps", "12", *paint, paint=False)
    assert (code, out.split()) == (0, ["outputs/a-castle-5.png", "outputs/a-castle-5.mp4"]), err
    assert length("outputs/a-castle-5.mp4") == 24
    code, out, err = vqclip("a castle", "--video", "--format", "frames", *paint, paint=False)
    assert (code, out) == (2, "") and "--save-every" in err


def test_a_making_of_that_begins_as_a_picture_is_less_eased(vqclip, tiny_models, tmp_path, monkeypatch):
    from vqclip.runs import picture
    from vqclip.sinks.making import EASE, EASE_OF_PICTURES

    Image.new("RGB", (32, 32), (90, 40, 10)).save(tmp_path / "a.png")
    made, plain = [], picture.MakingOf
    monkeypatch.setattr(picture, "MakingOf", lambda *given, ease, **how: made.append(ease) or plain(*given, **how))
    paint = [*tiny_models.flags(), "--steps", "2", "--size", "32x32", "--cutouts", "2", "--video", "-q"]
    for start in (["--init", "codes"], ["--init-image", "a.png"]):
        assert vqclip("a castle", *paint, "--video-seconds", "1", *start, paint=False)[0] == 0
    assert made == [EASE, EASE_OF_PICTURES]


def test_a_folder_of_pictures_becomes_a_film(vqclip, tmp_path):
    for n in range(1, 11):
        Image.new("RGB", (64, 48), (20 * n, 0, 0)).save(tmp_path / f"{n}.png")
    code, out, _ = vqclip("encode-film", ".", "-o", "a.mp4", "--seconds", "0.3", "--hold-last", "0.5", paint=False)
    assert (code, out) == (0, "a.mp4\n") and length("a.mp4") == 27
    code, out, _ = vqclip("encode-film", ".", "-o", "b.gif", "--fps", "10", "--interpolate", "20", paint=False)
    assert code == 0 and length("b.gif") >= 15
    Image.new("RGB", (8, 8)).save(tmp_path / "11.png")
    code, out, err = vqclip("encode-film", ".", "-o", "c.mp4", paint=False)
    assert (code, out) == (6, "") and "8x8" in err and not os.path.exists("c.mp4")


@pytest.mark.long
def test_memory_does_not_grow_with_the_film(tiny_models, tmp_path):
    program = (
        "import sys, resource; from vqclip.cli.main import main; code = main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    peaks = []
    for frames in (100, 1000):
        args = ["zoom", "a castle", "--frames", str(frames), *tiny_models.flags(), *SMALL, "--quiet"]
        ran = start_python(program, *args, "-o", str(tmp_path / f"{frames}.mp4"))
        _, err = ran.communicate(timeout=900)
        assert ran.returncode == 0, err
        peaks.append(int(err.split()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 40, peaks


def test_an_encoded_film_tells_no_more_than_the_film_did(vqclip, tiny_models, tmp_path):
    for name, more in (("open", []), ("shut", ["--private"])):
        assert vqclip("zoom", "a castle", "--frames", "2", *more, "-o", f"{name}.mp4", "-q")[0] == 0
        assert vqclip("encode-film", f"{name}.frames", "-o", f"{name}2.mp4", "-q", paint=False)[0] == 0
    said, hidden = ((tmp_path / f"{name}2.mp4").read_bytes() for name in ("open", "shut"))
    assert b"a castle" in said and b"a castle" not in hidden
    folder = str(Path(tiny_models.vqgan).parent).encode()
    assert folder not in said + hidden and Path(tiny_models.vqgan).name.encode() in said
