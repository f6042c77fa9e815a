"""The command line from end to end, with real models made tiny: what lands on disk, on stdout, and as exit code."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from PIL import Image
from steps import start_python

from vqclip.cli.main import main

GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture
def vqclip(tiny_models, tmp_path, monkeypatch, capsys):
    """Runs `vqclip ARGS` with the tiny models in a fresh folder; gives (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    models = ["--vqgan", str(tiny_models.vqgan), "--clip", str(tiny_models.clip)]
    small = [*models, "--device", "cpu", "--threads", "1", "--steps", "2", "--size", "32x32", "--cutouts", "2"]

    def run(*args: str, paint: bool = True) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*args, *(small if paint else [])])
        return (code, *capsys.readouterr())

    return run


def pixels(path: str | Path) -> bytes:
    with Image.open(path) as picture:
        return picture.convert("RGB").tobytes()


def test_paint_show_and_again_give_the_same_pixels(vqclip) -> None:
    code, out, _ = vqclip("a castle in fog", "--seed", "5")
    assert (code, out) == (0, "outputs/a-castle-in-fog-5.png\n")
    code, shown, _ = vqclip("show", out.strip(), "--json", paint=False)
    assert code == 0 and json.loads(shown)["settings"]["prompt"] == "a castle in fog"
    code, repainted, _ = vqclip("again", out.strip())
    assert (code, repainted) == (0, "outputs/a-castle-in-fog-5-2.png\n")
    assert pixels(out.strip()) == pixels(repainted.strip())


def test_again_asks_for_models_of_ones_own(vqclip) -> None:
    _, out, _ = vqclip("a castle", "--seed", "5")
    code, _, err = vqclip("again", out.strip(), paint=False)
    assert code == 2 and "tiny-clip.safetensors" in err and "--clip PATH" in err


def test_several_pictures_get_neighboring_seeds(vqclip) -> None:
    code, out, _ = vqclip("a castle", "--seed", "5", "--count", "2", "--output", "{n}-{seed}.png")
    assert code == 0 and out.split() == ["1-5.png", "2-6.png"]
    assert pixels("1-5.png") != pixels("2-6.png")


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_other_formats_carry_the_recipe_too(vqclip, suffix) -> None:
    code, out, _ = vqclip("a castle", "--seed", "5", "-o", f"fog{suffix}")
    assert code == 0
    code, shown, _ = vqclip("show", out.strip(), "--json", paint=False)
    assert code == 0 and json.loads(shown)["settings"]["seed"] == 5


def test_json_gives_one_object_for_each_picture(vqclip) -> None:
    code, out, _ = vqclip("a castle", "--seed", "5", "--json")
    line = json.loads(out)
    assert code == 0 and Path(line["path"]).is_file() and line["steps"] == 2 and line["settings"]["width"] == 32


@pytest.mark.parametrize("name", ["malicious_system_call.ckpt", "malicious_eval.ckpt", "truncated.ckpt", "empty.ckpt"])
def test_a_hostile_or_broken_checkpoint_is_refused_in_one_sentence(vqclip, name, tiny_models) -> None:
    file = next(GOLDENS.rglob(name))
    code, out, err = vqclip(
        "a castle", "--init", "codes", "--vqgan", str(file), "--clip", str(tiny_models.clip), paint=False
    )
    assert code == 4 and out == "" and "error: " in err and "Traceback" not in err


def test_a_real_taming_checkpoint_paints(vqclip, tiny_models) -> None:
    folder = GOLDENS / "taming_gumbel"
    file = next(GOLDENS.rglob("taming_gumbel/last.ckpt"), folder)
    args = ["--vqgan", str(file), "--clip", str(tiny_models.clip), "--steps", "1", "-s", "24", "24", "--cutouts", "2"]
    code, out, err = vqclip("a castle", "--seed", "1", *args, paint=False)
    assert code == 0, err
    with Image.open(out.strip()) as picture:
        assert picture.size == (24, 24)


def test_a_broken_init_image_is_exit_5(vqclip, tmp_path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    code, out, err = vqclip("a castle", "--init-image", "broken.png")
    assert code == 5 and out == "" and "broken.png" in err


def test_a_file_in_the_place_of_a_folder_is_exit_6(vqclip, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    code, out, _ = vqclip("a castle", "-o", "file/castle.png")
    assert code == 6 and out == ""


def test_a_full_disk_is_exit_6_and_leaves_nothing_behind(tiny_models, tmp_path) -> None:
    program = (
        "import resource, sys; from vqclip.cli.main import main; import vqclip.runs.picture;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); sys.exit(main(sys.argv[1:]))"
    )
    args = ["a castle", *tiny_models.flags(), "--steps", "1", "--size", "128x128", "--cutouts", "2", "--seed", "1"]
    ran = start_python(program, *args, "-o", f"{tmp_path}/castle.png")
    out, err = ran.communicate(timeout=120)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 5000
    assert ran.returncode == 6, err
    assert out == "" and list(tmp_path.iterdir()) == []


def test_an_unknown_word_gets_one_plain_warning(vqclip) -> None:
    code, _, err = vqclip("a zeppelin", "--seed", "5")
    assert code == 0 and err.count("zeppelin") <= 2 and "does not know zeppelin" in err


def test_again_takes_the_recipes_number_of_threads(vqclip, tiny_models) -> None:
    models = ["--vqgan", str(tiny_models.vqgan), "--clip", str(tiny_models.clip)]
    small = [*models, "--device", "cpu", "--steps", "1", "--size", "32x32", "--cutouts", "2", "--seed", "5"]
    vqclip("a castle", *small, "--threads", "2", paint=False)
    for more, threads in (([], 2), (["--threads", "1"], 1)):
        _, out, _ = vqclip("again", "outputs/a-castle-5.png", *models, *more, paint=False)
        _, shown, _ = vqclip("show", out.strip(), "--json", paint=False)
        assert json.loads(shown)["threads"] == threads


def test_pictures_of_one_count_never_replace_each_other(vqclip, tmp_path) -> None:
    code, out, err = vqclip("a castle", "--count", "2", "--overwrite", "-o", "one.png")
    assert (code, out) == (2, "") and "replace" in err and list(tmp_path.iterdir()) == []


def test_again_takes_a_size_in_two_words(vqclip, tiny_models) -> None:
    _, out, _ = vqclip("a castle", "--seed", "5")
    models = ["--vqgan", str(tiny_models.vqgan), "--clip", str(tiny_models.clip)]
    code, out, err = vqclip("again", out.strip(), *models, "--size", "48", "32", paint=False)
    assert code == 0, err
    with Image.open(out.strip()) as picture:
        assert picture.size == (48, 32)


def test_a_preview_that_is_no_picture_is_refused_before_models_are_loaded(vqclip, tmp_path) -> None:
    code, out, err = vqclip("a castle", "--preview", "now.gif")
    assert (code, out) == (2, "") and "now.gif" in err and list(tmp_path.iterdir()) == []
