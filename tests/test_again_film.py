"""`vqclip again` of a film: a zoom is filmed again, and of any other film it is said what to type."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vqclip.cli.main import main

SMALL = ["--steps", "1", "--size", "32x32", "--cutouts", "2", "--seed", "5"]
FILM = '[picture]\nwidth = 32\nheight = 32\nsteps = 1\n[[scene]]\nprompt = "a castle"\n'


@pytest.fixture
def vqclip(tiny_models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*args):
        capsys.readouterr()
        code = main([*args])
        return (code, *capsys.readouterr())

    return run


def pictures(folder):
    return {path.name: Image.open(path).tobytes() for path in sorted(Path(folder).glob("*.png"))}


def test_a_zoom_is_filmed_again_in_its_format_and_with_its_story(vqclip, tiny_models):
    zoom = ["zoom", "a castle ^ fog", "--frames", "4", "--fps", "12", "--pan", "3,0", "--steps-per-frame", "1"]
    assert vqclip(*zoom, *SMALL, *tiny_models.flags(), "-o", "whole.gif", "-q")[0] == 0
    code, out, err = vqclip("again", "whole.gif", *tiny_models.flags(), "-q")
    assert (code, out) == (0, "outputs/a-castle-5.gif\n"), err
    assert pictures("outputs/a-castle-5.frames") == pictures("whole.frames") and len(pictures("whole.frames")) == 4


def test_flags_change_a_zoom_that_is_filmed_again(vqclip, tiny_models):
    zoom = ["zoom", "a castle", "--frames", "2", "--steps-per-frame", "1", *SMALL]
    assert vqclip(*zoom, *tiny_models.flags(), "-o", "a.mp4", "-q")[0] == 0
    changed = ["--seed", "6", "--fps", "8", "--format", "webm", "--dry-run", "--json"]
    code, out, err = vqclip("again", "a.mp4", *tiny_models.flags(), *changed)
    plan = json.loads(out)["plan"]
    assert code == 0 and (plan["seed"], plan["fps"], plan["frames"]) == (6, 8, 2), err
    assert plan["output"] == "outputs/a-castle-6.webm"
    code, out, err = vqclip("again", "a.mp4", *tiny_models.flags(), "--count", "3")
    assert (code, out) == (2, "") and "--count is for pictures" in err


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["film", "film.toml"], "vqclip film FILE.toml"),
        (["film", "--story", "a ^ fog", "--frames", "2"], "vqclip film --story"),
        (["restyle", "clip", "fog"], "vqclip restyle CLIP"),
    ],
)
def test_of_another_film_it_is_said_what_to_type(vqclip, tiny_models, tmp_path, args, words, encoded):
    (tmp_path / "film.toml").write_text("frames = 2\n" + FILM, encoding="utf-8")
    (tmp_path / "clip").mkdir()
    for n in range(2):
        draw(tmp_path / f"clip/{n}.png")
    assert vqclip(*args, *SMALL, *tiny_models.flags(), "-o", "a.mp4", "-q")[0] == 0
    if encoded:
        assert vqclip("encode-film", "a.frames", "-o", "a.mp4", "--overwrite", "-q")[0] == 0
    before = sorted(path.name for path in tmp_path.rglob("*"))
    code, out, err = vqclip("again", "a.mp4", *tiny_models.flags())
    assert (code, out) == (2, "") and words in err
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def draw(path):
    Image.new("RGB", (32, 32), (90, 60, 30)).save(path)
