"""Out of memory at the command line: exit code 7, the picture so far, what to do; and the next picture begins anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vqclip.cli.main import main
from vqclip.models.vqgan import VQGAN
from vqclip.runs import picture as room
from vqclip.sinks.metadata import read_recipe
from vqclip.store.perceptor import ClipPerceptor

SMALL = ["--steps", "3", "--cutouts", "2", "--init", "codes", "--coarse", "0", "--seed", "5"]
REMEDIES = ("--micro-batch", "--cutouts", "--size")


@pytest.fixture
def vqclip(tiny_models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> tuple[int, str, str]:
        code = main([*args, *tiny_models.flags(), *SMALL])
        return (code, *capsys.readouterr())

    return run


def fill_memory(monkeypatch, pictures: int) -> None:
    """Of the first so many pictures only the first step fits, however it is done."""
    decode, painting, begun, decoded = VQGAN.decode, room.painting, [], []

    def start(*args, **more):
        begun.append(1)
        decoded.clear()
        return painting(*args, **more)

    def full(self, quantized, *, lean=False):
        decoded.append(lean)
        if len(begun) <= pictures and len(decoded) > 1:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
        return decode(self, quantized, lean=lean)

    monkeypatch.setattr(room, "painting", start)
    monkeypatch.setattr(VQGAN, "decode", full)


def saved() -> list[Path]:
    found = sorted(Path("outputs").glob("*.png"))
    assert all(read_recipe(path.read_bytes())["stopped"] == "out of memory" for path in found)
    return found


def test_a_picture_whose_every_step_runs_out_of_memory_ends_with_7_the_picture_and_remedies(vqclip, monkeypatch):
    fill_memory(monkeypatch, 1)
    code, out, err = vqclip("a castle", "--size", "32")
    assert (code, out) == (7, "") and err.count("error: ") == 1 and "Traceback" not in err
    assert "CLIP now looks at 1 view at a time" in err and "the decoder now works lean" in err
    hint = err.split("hint: ")[1]
    assert all(remedy in hint for remedy in REMEDIES) and [path.name for path in saved()] == ["a-castle-5.png"]
    assert "a-castle-5.png" in hint and "step 0" in hint


def test_with_json_the_error_is_one_object(vqclip, monkeypatch):
    fill_memory(monkeypatch, 1)
    code, out, err = vqclip("a castle", "--size", "32", "--json")
    told = json.loads(err.splitlines()[-1])
    assert (code, out, told["code"]) == (7, "", 7) and "not enough memory" in told["error"]
    assert all(remedy in told["hint"] for remedy in REMEDIES) and len(saved()) == 1 and "Traceback" not in err


@pytest.mark.parametrize(("full", "code"), [(2, 7), (1, 3)])
def test_of_several_pictures_each_is_tried_and_says_what_became_of_it(vqclip, monkeypatch, full, code):
    fill_memory(monkeypatch, full)
    found, out, err = vqclip("a castle", "--size", "32", "--count", "2", "-o", "{seed}.png")
    assert found == code and "Traceback" not in err and out == ("" if full == 2 else "6.png\n")
    assert err.count("CLIP now looks at 1 view at a time") == err.count("the decoder now works lean") == full
    hints = [line for line in err.splitlines() if line.startswith("hint: ") and "--micro-batch" in line]
    named = [name for name in ("5.png", "6.png") if any(name in hint for hint in hints)]
    assert named == ["5.png", "6.png"][:full]
    assert read_recipe(Path("5.png").read_bytes())["stopped"] == "out of memory"
    assert ("stopped" in read_recipe(Path("6.png").read_bytes())) == (full == 2)


def test_after_a_job_that_fell_back_the_next_one_has_all_its_views_and_is_not_lean(vqclip, monkeypatch):
    decode, look_at = VQGAN.decode, ClipPerceptor.embed_image
    decoded: list[tuple[bool, bool]] = []  # (wide, lean)
    seen: list[tuple[bool, int]] = []  # (wide, views)

    def full(self, quantized, *, lean=False):
        wide = quantized.shape[3] > 8
        decoded.append((wide, lean))
        if wide and not lean:
            raise MemoryError
        return decode(self, quantized, lean=lean)

    def look(self, image):
        seen.append((decoded[-1][0], len(image)))
        return look_at(self, image)

    monkeypatch.setattr(VQGAN, "decode", full)
    monkeypatch.setattr(ClipPerceptor, "embed_image", look)
    Path("p.txt").write_text("a castle --width 32\nfog --width 64\nin fog --width 32\n", encoding="utf-8")
    code, out, err = vqclip("batch", "p.txt", "--height", "32")
    assert code == 0, err
    lean = [one for one in decoded if one[0]]
    assert lean[:2] == [(True, False)] * 2 and set(lean[2:]) == {(True, True)}
    assert decoded[0] == decoded[-1] == (False, False) and {one for one in decoded if not one[0]} == {(False, False)}
    assert {views for wide, views in seen if wide} == {1} and {views for wide, views in seen if not wide} == {2}
    assert not seen[0][0] and not seen[-1][0]
    recipes = [read_recipe(Path(path).read_bytes()) for path in out.split()]
    assert [len(recipe.get("memory", ())) for recipe in recipes] == [0, 2, 0]
    assert not any(recipe["settings"]["lean"] for recipe in recipes)
