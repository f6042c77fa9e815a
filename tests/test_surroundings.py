"""Odd clocks and odd locales: the same pictures under the same names, and words that arrive as they were typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import time_machine
from batches import SMALL, pixels

from vqclip.cli.main import main
from vqclip.sinks.metadata import read_recipe

SEEDED = (*SMALL, "--seed", "7", "--quiet")
MOMENTS = {
    "today": datetime.now(UTC),
    "1970": datetime(1970, 1, 1, tzinfo=UTC),
    "after 2038": datetime(2040, 2, 29, 12, tzinfo=UTC),
    "the hour that comes twice": datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
}


def test_neither_names_nor_files_depend_on_the_time(tiny_models, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "p.txt").write_text("a castle\nfog\n")
    left = []
    for name, moment in MOMENTS.items():
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        with time_machine.travel(moment):
            assert main(["a castle", *tiny_models.flags(), *SEEDED, "--sidecar"]) == 0
            assert main(["batch", str(tmp_path / "p.txt"), *tiny_models.flags(), *SEEDED]) == 0
            assert main(["batch", str(tmp_path / "p.txt"), *tiny_models.flags(), *SEEDED]) == 0
            assert main(["a castle", *SEEDED, "--dry-run", "-o", "{date} {time}.png"]) == 0
        files = [path for path in folder.rglob("*") if path.is_file()]
        left.append({path.relative_to(folder): path.read_bytes() for path in files})
    assert len(left[0]) > 3 and all(one == left[0] for one in left)
    capsys.readouterr()


def test_date_and_time_in_a_name_are_those_of_the_clock(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    with time_machine.travel(datetime(2040, 2, 29, 12, tzinfo=ZoneInfo("UTC")), tick=False):
        assert main(["a castle", "--dry-run", "--json", "-o", "{date} {time}.png"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["output"] == "2040-02-29 12-00-00.png"


@pytest.mark.parametrize("hours", [-24, -1, 24])
def test_a_clock_that_jumps_while_it_paints_changes_nothing(tiny_models, tmp_path, monkeypatch, capsys, hours) -> None:
    import vqclip.runs.picture as room
    import vqclip.sinks.progress as showing

    steady = [*tiny_models.flags(), *SEEDED]
    assert main(["a castle", *steady, "-o", str(tmp_path / "steady.png")]) == 0
    capsys.readouterr()
    paint = room.painting
    with time_machine.travel(datetime(2026, 3, 29, 1, 59, tzinfo=UTC)) as traveller:

        def jumping(*args: object, **more: object) -> Iterator[object]:
            for event in paint(*args, **more):
                if event.index == 2:
                    traveller.shift(hours * 3600)
                yield event

        monkeypatch.setattr(room, "painting", jumping)
        monkeypatch.setattr(showing, "_SHOW_SECONDS", 0.0)
        flags = [*steady[:-1], "--json", "--state-every", "1", "--preview", str(tmp_path / "now.png")]
        assert main(["a castle", *flags, "-o", str(tmp_path / "a.png")]) == 0
    out, err = capsys.readouterr()
    told = [json.loads(line) for line in err.splitlines() if line.startswith('{"event": "step"')]
    left = [one["seconds_left"] for one in told if one["seconds_left"] is not None]
    assert len(left) >= 2 and all(0 <= seconds < 300 for seconds in left)
    assert 0 <= json.loads(out)["seconds"] < 300
    assert pixels(tmp_path / "a.png") == pixels(tmp_path / "steady.png")


# Several calls of `vqclip` in one process, which the operating system gives their words.
PROGRAM = """
import sys
from vqclip.cli.main import main

words = sys.argv[1:]
while words:
    end = words.index("--then") if "--then" in words else len(words)
    code = main(words[:end])
    if code:
        sys.exit(f"{words[:end]}: {code}")
    words = words[end + 1 :]
"""
PROMPT = "ein Schloß im Nebel, İstanbul ılık, 城 🦊"
LOCALES = {
    "usual": {"LC_ALL": "C.UTF-8"},
    "none": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Turkish": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "cp1252"},
}


def env_of(locale: dict[str, str]) -> dict[str, str]:
    """The environment of a process with this locale, which finds the same packages."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), *sys.path]))
    return {**env, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **locale}


# Tells the bytes of the names that a prompt leads to, and that one of them can be made.
NAMES = """
import os, sys
from pathlib import Path
from vqclip.sinks.ledger import Ledger
from vqclip.sinks.names import name_fields, where_to

fields = name_fields(prompt="Schloß 城 ılık " * 9, seed=1, model="ö", steps=1, width=8, height=8)
outputs = ("a/{slug}.png", "{slug}/{model}.png", "b/", None)
paths = [*(where_to(one, fields) for one in outputs), Ledger(Path("a")).picture("Schloß 城 " * 9, 1, "0" * 16)]
paths[1].parent.mkdir()
paths[1].touch()
os.write(1, b"\\n".join(map(os.fsencode, paths)))
"""


@pytest.mark.parametrize("name", LOCALES)
def test_a_prompt_leads_to_the_same_file_whatever_the_locale(name, tmp_path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", NAMES.encode("ascii", "backslashreplace")],
        cwd=tmp_path,
        env=env_of(LOCALES[name]),
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    paths = ran.stdout.decode("utf-8").split("\n")
    assert len(paths) == 5 and all("schloß-城" in path for path in paths) and (tmp_path / paths[1]).is_file()
    assert paths[4] == f"a/{'schloß-城-' * 5}"[:42].rstrip("-") + f"-1-{'0' * 16}.png"


@pytest.mark.long
def test_the_main_commands_do_the_same_whatever_the_locale(tiny_models, tmp_path) -> None:
    flags = [*tiny_models.flags(), *SEEDED]
    shouted = ["--init", "NOISE", "--schedule", "LINEAR", "--dtype", "FLOAT32", "--optimizer", "ADAM", "--tile", "X"]
    commands = [
        [PROMPT, *flags, *shouted, "--preset", "draft", "-o", "ŞİLE.PNG"],
        ["show", "ŞİLE.PNG"],
        ["again", "ŞİLE.PNG", *flags[:4], "--quiet", "-o", "again.png"],
        ["batch", "wörter.txt", *flags, "--expand", "all", "--grid", "-o", "ıslık"],
        ["batch", "wörter.txt", *flags, "--expand", "all", "--status", "-o", "ıslık"],
        ["gallery", "ıslık"],
        ["sheet", "ıslık", "-o", "sheet.png"],
        ["presets"],
        ["models", "list"],
        ["words"],
    ]
    words = [word for command in commands for word in (*command, "--then")][:-1]
    said, left = {}, {}
    for name, locale in LOCALES.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "wörter.txt").write_text(f"{PROMPT}\n{{ışık|IŞIK}} 🏰\n", encoding="utf-8")
        command = [sys.executable, "-c", PROGRAM, *words]
        ran = subprocess.run(command, cwd=folder, env=env_of(locale), capture_output=True)
        assert ran.returncode == 0 and b"Traceback" not in ran.stderr, ran.stderr.decode()
        said[name] = ran.stdout
        left[name] = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert read_recipe(left["usual"][Path("ŞİLE.PNG")])["settings"]["prompt"] == PROMPT
    for name, files in left.items():
        page = files.pop(Path("ıslık/gallery.html")).decode("utf-8")  # its lines for a shell may be quoted otherwise
        assert "<bdi>ıslık</bdi>" in page and PROMPT in page and "<bdi>ein-schloß-im-nebel" in page, name
    for name, files in left.items():
        assert files.keys() == left["usual"].keys()
        assert [path for path in files if files[path] != left["usual"][path]] == [], name
    for out in said.values():  # letters that the locale has not are escaped, but never in the path of a result
        assert out.startswith("ŞİLE.PNG\n".encode()) and out.count(b"\n") == said["usual"].count(b"\n")
