import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TinyModels
from door import save_picture
from PIL import Image
from test_footage import clip

from vqclip.sinks.collection import find_pictures, read_pictures
from vqclip.sinks.filmdata import read_film_recipe

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "examples").glob("*.sh"))
PROGRAM = "import sys; from vqclip.cli.main import main; sys.exit(main())"


def run(
    script: str, *args: str, models: TinyModels, folder: Path, answer: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Runs an example in `folder` with tiny models and settings, and this very vqclip on its path."""
    program = folder / "bin" / "vqclip"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{PROGRAM}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    tiny = {"STEPS": "2", "DRAFT_STEPS": "1", "SIZE": "32x32", "MORE": shlex.join([*models.flags(), "--cutouts", "2"])}
    environment = {
        **os.environ,
        **tiny,
        **settings,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [ROOT / "examples" / script, *args],
        cwd=folder,
        env=environment,
        input=answer,
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.long
def test_a_nightly_batch_leaves_pictures_a_sheet_and_a_page_and_paints_nothing_twice(
    tiny_models: TinyModels, tmp_path: Path
):
    (tmp_path / "prompts.txt").write_text("# two\na castle\nfog\n", encoding="utf-8")
    first = run("nightly-batch.sh", "prompts.txt", models=tiny_models, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    pictures = find_pictures(tmp_path / "outputs" / "nightly")
    assert {one.prompt for one in read_pictures(pictures)} == {"a castle", "fog"}
    assert (tmp_path / "outputs" / "nightly" / "gallery.html").exists()
    again = run("nightly-batch.sh", "prompts.txt", models=tiny_models, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(read_pictures(find_pictures(tmp_path / "outputs" / "nightly"))) == 2


@pytest.mark.long
def test_random_prompts_are_drawn_anew_for_each_picture(tiny_models: TinyModels, tmp_path: Path):
    ran = run("random-prompts.sh", "3", models=tiny_models, folder=tmp_path, SEED="5")
    assert ran.returncode == 0, ran.stderr
    painted = read_pictures(find_pictures(tmp_path / "outputs" / "random"))
    assert [one.settings["seed"] for one in sorted(painted, key=lambda one: one.settings["seed"])] == [5, 6, 7]
    assert not [one.prompt for one in painted if "__" in one.prompt or "{" in one.prompt]
    assert len({one.prompt for one in painted}) > 1


@pytest.mark.long
def test_a_folder_is_painted_over_and_what_is_done_stays(tiny_models: TinyModels, tmp_path: Path):
    (tmp_path / "my photos").mkdir()
    for name in ("a {1}.png", "b 'x'.JPG"):
        Image.new("RGB", (40, 30), "teal").save(tmp_path / "my photos" / name)
    save_picture(tmp_path / "done.png")
    (tmp_path / "outputs" / "styled").mkdir(parents=True)
    shutil.move(tmp_path / "done.png", tmp_path / "outputs" / "styled" / "b 'x'.png")
    ran = run("style-folder.sh", "my photos", "a woodcut", models=tiny_models, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "outputs/styled/a {1}.png\n"
    [new, old] = read_pictures(find_pictures(tmp_path / "outputs" / "styled"))
    assert (new.prompt, new.settings["init"], old.prompt) == ("a woodcut", "image", "a castle")


@pytest.mark.long
def test_every_clip_of_a_folder_is_restyled_and_a_stopped_one_goes_on(tiny_models: TinyModels, tmp_path: Path):
    (tmp_path / "my clips").mkdir()
    clip(tmp_path / "my clips" / "a {1}.mp4", range(3))
    small = shlex.join([*tiny_models.flags(), "--cutouts", "2", "--size", "32x32"])
    for _ in range(2):  # the second time there are only frames to go on with
        ran = run("restyle-clips.sh", "my clips", models=tiny_models, folder=tmp_path, MORE=small, PER_FRAME="1")
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == "outputs/restyled/a {1}.mp4\n"
        (tmp_path / "outputs" / "restyled" / "a {1}.mp4").unlink()


@pytest.mark.long
def test_the_winner_of_a_race_of_seeds_is_refined(tiny_models: TinyModels, tmp_path: Path):
    ran = run("seed-race.sh", "a castle", "2", models=tiny_models, folder=tmp_path, answer="nonsense\n2\n")
    assert ran.returncode == 0, ran.stderr
    race = tmp_path / "outputs" / "race"
    [refined] = read_pictures(find_pictures(race / "refined"))
    drafts = read_pictures(path for path in find_pictures(race) if path.parent == race)
    assert len(drafts) == 2 and (race / "sheet.png").exists()
    assert refined.settings["seed"] == max(one.settings["seed"] for one in drafts)
    assert refined.settings["steps"] == 2


@pytest.mark.long
def test_a_film_flies_into_the_best_of_a_batch(tiny_models: TinyModels, tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("a castle\nfog\n", encoding="utf-8")
    assert run("nightly-batch.sh", "prompts.txt", models=tiny_models, folder=tmp_path).returncode == 0
    night = "outputs/nightly"
    ran = run("zoom-from-best.sh", night, models=tiny_models, folder=tmp_path, answer="7\n2\n", LENGTH="0.1")
    assert ran.returncode == 0, ran.stderr
    sheet, film = ran.stdout.splitlines()
    assert sheet == "outputs/zoom/sheet.png"
    best = sorted(path for path in (tmp_path / night).glob("*.png") if path.name != "sheet.png")[1]
    settings, [chosen] = read_film_recipe(tmp_path / film)["settings"], read_pictures([best])
    assert all(settings[key] == chosen.settings[key] for key in ("prompt", "seed", "steps", "width"))
    nothing = run("zoom-from-best.sh", "bin", models=tiny_models, folder=tmp_path)
    assert nothing.returncode == 1 and "no pictures of a batch" in nothing.stderr


def test_every_example_begins_with_its_settings_and_stops_at_the_first_mistake():
    assert len(SCRIPTS) >= 5
    for script in SCRIPTS:
        text = script.read_text(encoding="utf-8")
        assert text.startswith("#!/usr/bin/env bash\n# ") and "\n# Usage: examples/" in text
        assert "\nset -euo pipefail\n" in text and "STEPS=${STEPS:-" in text


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="there is no shellcheck here")
def test_shellcheck_finds_nothing_in_the_examples():
    ran = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
