import re
import shlex
import subprocess
from pathlib import Path

import pytest
from door import Door, save_picture

from vqclip.cli.main import build
from vqclip.films import FILM_JOB

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def _blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(TEXTS[page]) if kind == language]


def _commands() -> list[str]:
    """Every line of the pages that is one `vqclip` command and nothing more."""
    lines = [line.strip() for page in PAGES for text in _blocks(page, "sh") for line in text.splitlines()]
    return sorted({line for line in lines if line.startswith("vqclip ") and not {">", "|"} & set(_words(line))})


def _words(line: str) -> list[str]:
    return list(shlex.shlex(line, posix=True, punctuation_chars=True))


def test_the_first_screen_holds_the_two_commands():
    first = TEXTS[ROOT / "README.md"].split("\n## ")[0].split("<!-- gallery")[0]
    blocks = [text for kind, text in BLOCK.findall(first)]
    assert len(blocks) == 2
    assert len(first.splitlines()) <= 24
    for line in blocks:
        assert line.count("\n") == 1
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert blocks[0].endswith('.venv/bin/vqclip "a castle in fog" --steps 300\n')
    assert blocks[1].endswith("-m pytest\n")


def test_the_tests_of_every_change_run_the_readmes_second_command():
    ran = subprocess.run([ROOT / ".ci" / "run", "--print"], capture_output=True, text=True)
    assert ran.returncode == 0
    assert ran.stdout == _blocks(ROOT / "README.md", "sh")[1]


@pytest.mark.parametrize("line", _commands())
def test_every_command_of_the_pages_is_understood(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    door = Door(monkeypatch, capsys)
    monkeypatch.chdir(tmp_path)
    args = shlex.split(line)[1:]
    for name in (arg.partition(":")[0] for arg in args):
        if name.endswith((".png", ".jpg")):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            save_picture(Path(name))
    if "mine.toml" in args:
        Path("mine.toml").write_text("steps = 3\n", encoding="utf-8")
    if "film.toml" in args:
        Path("film.toml").write_text(_blocks(ROOT / "docs/reference/film-files.md", "toml")[0], encoding="utf-8")
    if args[:2] in (["models", "get"], ["models", "add"], ["models", "convert"]):
        return _is_understood(args)  # these need the network, or files
    if args[:1] == ["batch"]:
        Path("prompts.txt").write_text("a castle\n", encoding="utf-8")
        args.append("--dry-run")
    if args[0] == "restyle":  # a folder of frames may stand for a clip
        Path("frames").mkdir()
        save_picture(Path("frames/1.png"))
        args[1] = "frames"
    if args[0] == "resume" and args[1].endswith(".frames"):
        Path(args[1]).mkdir(parents=True)
        (Path(args[1]) / FILM_JOB).touch()
    if args == ["doctor"]:
        monkeypatch.setattr("vqclip.cli.doctor.CHECKS", ())
    monkeypatch.setattr("vqclip.cli.trainers._run", lambda *said: 0)  # no page is worth hours
    ran = door(*args)
    assert ran.code == 0, ran.err


def _is_understood(args: list[str]) -> None:
    command = build().commands[args[0]].commands[args[1]]
    command.make_context(args[1], args[2:])


def test_the_pages_show_enough_commands_to_be_worth_checking():
    assert len(_commands()) > 20


@pytest.mark.parametrize(("page", "text"), [(page, text) for page in PAGES for text in _blocks(page, "python")])
def test_every_python_block_is_python(page: Path, text: str):
    compile(text, str(page), "exec")


@pytest.mark.parametrize(
    "script", [*(ROOT / "examples").glob("*.sh"), ROOT / "scripts" / "check", ROOT / ".ci" / "run"]
)
def test_every_shell_script_parses_and_can_be_started(script: Path):
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert script.stat().st_mode & 0o111
