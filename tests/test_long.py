"""What `scripts/check --long` writes, and a test that only it runs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from batches import pixels
from PIL import Image
from steps import start_python

ROOT = Path(__file__).parent.parent


def test_the_long_check_counts_what_it_ran(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long: slow\n")
    (tmp_path / "test_some.py").write_text(
        "import pytest\ndef test_a(): pass\n@pytest.mark.long\n"
        "def test_b(record_property): record_property('kills', 3)\ndef test_c(): assert False\n"
    )
    to = tmp_path / "result.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "long.py"), "--to", str(to), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    result = json.loads(to.read_text())
    [run] = result["runs"]
    assert done.returncode == run["exit_code"] == 1
    assert (run["passed"], run["failed"]) == (2, 1)
    assert [name.split("::")[1] for name in result["long"]] == ["test_b"]
    assert list(result["figures"].values()) == [{"kills": 3}]
    assert result["machine"]["cpu"] and "date" not in result["machine"]
    subprocess.run([*command, "--add", "-k", "test_a"], cwd=tmp_path, capture_output=True, timeout=120)
    added = json.loads(to.read_text())
    assert [run["passed"] for run in added["runs"]] == [2, 1] and added["long"] == result["long"]
    assert added["figures"] == result["figures"]


@pytest.mark.long
def test_the_starter_paints_the_same_bits_beside_busy_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = (
        "import sys; from vqclip.cli.main import main; "
        "sys.exit(main(['a castle in fog', '--seed', '1', '--steps', '4', '--size', '128', '-o', sys.argv[1]]))"
    )
    pictures = []
    for name, busy in (("calm.png", 0), ("busy.png", 2)):
        others = [start_python("while True: pass") for _ in range(busy)]
        try:
            painting = start_python(code, name)
            _, said = painting.communicate(timeout=300)
            assert painting.returncode == 0, said
        finally:
            for other in others:
                other.kill()
                other.wait()
        with Image.open(tmp_path / name) as picture:
            pictures.append(picture.convert("RGB").tobytes())
    assert pictures[0] == pictures[1]


# Each pair of lines is a `vqclip` of its own: a fork of a process that has torch loaded, so that a start costs little.
# One that has ended stays until the second line, so that a late kill meets nobody else.
FORKS = """
import os, sys
import vqclip.runs.picture
from vqclip.cli.main import main

for line in iter(sys.stdin.readline, ""):
    child = os.fork()
    if not child:
        os.dup2(2, 1)
        os._exit(main(line.rstrip("\\n").split("\\t")))
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """Runs of `vqclip` that may be killed."""

    def __init__(self) -> None:
        command, pipe = [sys.executable, "-c", FORKS], subprocess.PIPE
        self._server = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1)

    def __call__(self, *args: str, kill_after: float | None = None) -> int:
        """The exit code of `vqclip ARGS`, killed after so many seconds if it is not over."""
        assert self._server.stdin and self._server.stdout
        print(*args, sep="\t", file=self._server.stdin)
        child = int(self._server.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        print(file=self._server.stdin)
        return int(self._server.stdout.readline())

    def close(self) -> None:
        self._server.communicate()


@pytest.fixture
def forks() -> Iterator[Forks]:
    running = Forks()
    yield running
    running.close()


@pytest.mark.long
def test_fifty_kills_of_a_single_picture_leave_whole_files_and_the_same_pixels(
    tiny_models, tmp_path, forks, record_property
) -> None:
    paint = ["a castle", "--steps", "60", "--size", "32x32", "--cutouts", "2", "--seed", "5"]
    flags = [*tiny_models.flags(), "--quiet", "--state-every", "1", "--save-every", "5"]
    forks(*paint, *flags, "-o", str(tmp_path / "first.png"))
    began = time.monotonic()
    assert forks(*paint, *flags, "-o", str(tmp_path / "whole.png")) == 0
    seconds = time.monotonic() - began
    rng, kills, painted, looked_at = random.Random(10), 0, 0, 0
    while kills < 50:
        folder = tmp_path / str(painted)
        picture, state = folder / "a.png", folder / "a.png.state"
        while not picture.exists():
            begun = state.exists() or state.with_name("a.png.state.old").exists()
            command = ["resume", str(state)] if begun else [*paint, "-o", str(picture)]
            delay = rng.random() * seconds if kills < 50 else None
            code = forks(*command, *flags, "--preview", str(folder / "now.png"), kill_after=delay)
            assert code == (-signal.SIGKILL if delay is not None and code else 0)
            kills += code != 0
            for path in folder.rglob("*.png"):
                looked_at += bool(pixels(path))
        assert pixels(picture) == pixels(tmp_path / "whole.png")
        painted += 1
    record_property("kills", kills)
    record_property("pictures", painted)
    record_property("files looked at", looked_at)
