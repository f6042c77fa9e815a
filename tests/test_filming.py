"""`vqclip film` from end to end, with real models made tiny."""

import csv
import hashlib
import json
import random
import shutil
import time
from pathlib import Path

import av
import pytest
from door import Door
from steps import start_python

from vqclip.cli.main import main

ROOT = Path(__file__).parent.parent
PROGRAM = "import sys; from vqclip.cli.main import main; sys.exit(main(sys.argv[1:]))"
FILM = """
fps = 8
frames = 9
bpm = 240

[picture]
width = 32
height = 32
steps = 1
cutouts = 2
seed = 5

[camera]
zoom = "1.02 + 0.05 * beat"
pan_x = [[0, 0], [1, 2, "smooth"]]

[paint]
steps = "1 + frame % 2"
learning_rate = 0.5
tv = 1

[[scene]]
prompt = "a castle"
[[scene]]
prompt = "fog | a castle:-0.5"
weights = [1, "1 + s"]
fade = 0.25
seed = 9
[[scene]]
prompt = "a castle in fog"
negative = "a"
"""


@pytest.fixture
def film(tmp_path, monkeypatch, capsys):
    """Writes a film file and runs `vqclip film` on it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(*args, text=FILM, file=("film.toml",), command="film"):
        Path("film.toml").write_text(text, encoding="utf-8")
        capsys.readouterr()
        code = main([command, *file, *args])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def flags(tiny_models):
    return tiny_models.flags()


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(folder).glob("*.png"))}


def test_a_film_file_becomes_a_film_with_its_file_inside(film, flags, capsys):
    code, out, err = film(*flags)
    assert (code, out) == (0, "outputs/film-5.mp4\n"), err
    with av.open("outputs/film-5.mp4") as made:
        assert sum(1 for _ in made.decode(video=0)) == 9 and not made.streams.audio
    assert main(["show", "outputs/film-5.mp4", "--json"]) == 0
    recipe = json.loads(capsys.readouterr().out)
    assert recipe["timeline"] == FILM and recipe["settings"]["prompt"] == "a castle"
    assert recipe["film"]["frames"] == 9


def test_what_a_file_says_later_changes_only_later_frames(film, flags):
    film(*flags, "-o", "whole.mp4", "-q")
    code, *_ = film(*flags, "-o", "other.mp4", "-q", text=FILM.replace("seed = 9", "seed = 10"))
    whole, other = hashes("whole.frames"), hashes("other.frames")
    same = [whole[name] == other[name] for name in whole]
    assert code == 0 and same[:3] == [True] * 3 and not any(same[5:])


@pytest.mark.long
def test_a_film_killed_anywhere_goes_on_the_same(film, flags, tmp_path):
    film(*flags, "-o", "whole.mp4", "-q")
    ran = start_python(PROGRAM, "film", tmp_path / "film.toml", *flags, "-o", tmp_path / "part.mp4")
    wait_for(tmp_path / "part.frames" / f"frame-{random.randrange(1, 7):06}.png", ran)
    ran.kill()
    ran.communicate(timeout=120)
    if ran.returncode:
        code, out, err = film(file=[str(tmp_path / "part.frames")], command="resume")
        assert (code, out) == (0, f"{tmp_path / 'part.mp4'}\n"), err
    assert hashes("part.frames") == hashes("whole.frames")


def test_a_film_goes_on_after_any_frame_the_same(film, flags, tmp_path, monkeypatch):
    """As if the power had gone after that frame: the last one of a scene, and one in the middle of a fade."""
    film(*flags, "-o", "whole.mp4", "-q")
    from vqclip.sinks import frames

    save = frames.save_state

    def save_and_copy(path, state):
        save(path, state)
        shutil.copytree(path.parent, tmp_path / f"after-{state['frame']}.frames")

    monkeypatch.setattr(frames, "save_state", save_and_copy)
    film(*flags, "-o", "again.mp4", "-q")
    monkeypatch.setattr(frames, "save_state", save)
    for frame in (2, 4):
        folder = tmp_path / f"after-{frame}.frames"
        assert len(hashes(folder)) == frame + 1
        assert film("-q", file=[str(folder)], command="resume")[0] == 0
        assert hashes(folder) == hashes("whole.frames")


def wait_for(path, ran):
    end = time.monotonic() + 120
    while not path.exists() and ran.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def test_the_example_is_filmed_to_its_sound(film, flags, tmp_path):
    sound = start_python((ROOT / "examples/night-flight-sound.py").read_text("utf-8"), tmp_path / "night-flight.wav")
    assert sound.wait(timeout=60) == 0
    text = (ROOT / "examples/night-flight.toml").read_text(encoding="utf-8")
    small = text.replace("fps = 24", "fps = 1").replace("steps = 150", "steps = 1").replace("steps = 5", "steps = 1")
    code, out, err = film(
        *flags, "--init", "codes", "--size", "32x32", "--cutouts", "2", "--format", "webm", text=small
    )
    assert (code, out) == (0, "outputs/film-7.webm\n"), err
    with av.open(out.strip()) as made:
        assert sum(1 for _ in made.decode(video=0)) == 12
    with av.open(out.strip()) as made:
        heard = [frame.to_ndarray() for frame in made.decode(audio=0)]
    assert sum(piece.shape[1] for piece in heard) == pytest.approx(12 * 48_000, rel=0.02)
    assert max(abs(piece).max() for piece in heard) > 0.1


def test_a_storyboard_is_drawn_and_nothing_is_painted(film, monkeypatch, capsys, tmp_path):
    door = Door(monkeypatch, capsys)
    code, out, _ = film("--storyboard")
    assert code == 0 and out.split() == ["outputs/film-5.storyboard.png", "outputs/film-5.frames.csv"]
    rows = list(csv.DictReader(Path("outputs/film-5.frames.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 9 and [row["scene"] for row in rows] == ["1"] * 3 + ["2"] * 3 + ["3"] * 3
    assert rows[0]["zoom"] == "1.07" and door.painter.filmed == []
    code, out, _ = film("--storyboard", "--json")
    assert json.loads(out)["storyboard"] == "outputs/film-5.storyboard-2.png"


def test_flags_lie_over_the_file_and_a_story_needs_none(film, monkeypatch, capsys):
    door = Door(monkeypatch, capsys)
    assert film("--seed", "3", "--steps", "7", "--cutouts", "9")[0] == 0
    [(settings, shot)], [script] = door.painter.filmed, door.painter.scripts
    assert (settings.seed, settings.steps, settings.width, shot.frames) == (3, 7, 32, 9)
    assert set(script.shots.curves["cutouts"]) == {9} and script.text == FILM
    assert film("--story", "a ^ b", "--change-every", "6", "--fade", "0.1", "--fps", "12", file=())[0] == 0
    assert door.painter.filmed[-1][1].frames == 12 and len(door.painter.scripts[-1].shots.scenes) == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "give a film file, or a --story"),
        (["film.toml", "--story", "a"], "give a film file, or a --story"),
        (["film.toml", "other.toml"], "one film file at a time"),
        (["noir"], "there is no film file 'noir'"),
        (["film.toml", "--fade", "2"], "--fade is for a --story"),
        (["--story", "a ^ ^ b"], "empty prompt"),
        (["film.toml", "-o", "a.avi"], ".avi"),
    ],
)
def test_a_film_that_makes_no_sense_is_refused(film, tmp_path, args, words):
    code, out, err = film(file=args)
    assert (code, out) == (2, "") and words in err
    assert [path.name for path in tmp_path.iterdir()] == ["film.toml"]


def test_a_sound_that_cannot_be_heard_is_found_before_anything_is_loaded(film, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no sound")
    code, out, err = film(text='sound = "a.wav"\n' + FILM)
    assert (code, out) == (5, "") and "a.wav cannot be read as a sound" in err
