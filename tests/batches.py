"""Tools of the tests of batches: tiny models on the command line, and what lies in a folder afterwards."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from steps import start_python

from vqclip.sinks.ledger import job_of

# Step 2 of any picture hangs. A file says so, as it may be another process's; it also ends the hour of `--timeout 1h`,
# with short patience for the step. Another file says that the first signal was heard.
HANGING = """
import sys, threading, time
from pathlib import Path
from types import SimpleNamespace
import vqclip.cli.limit as limit
import vqclip.runs.picture as room
from vqclip.cli.main import main
from vqclip.sinks.play import StopFlag

hung, heard = (Path(__file__).with_name(name) for name in ("hung", "heard"))
paint, tell = room.painting, StopFlag.set

class Hour(threading.Event):
    def wait(self, timeout=None):
        while timeout == 3600 and not hung.exists():
            time.sleep(0.02)
        return super().wait(0 if timeout == 3600 else timeout)

def hanging(*args, **more):
    for event in paint(*args, **more):
        if event.index == 2:
            hung.touch()
            time.sleep(600)
        yield event

def telling(stop, number):
    tell(stop, number)
    heard.touch()

limit.threading = SimpleNamespace(Event=Hour, Thread=threading.Thread)
limit.PATIENCE = 1.0
room.painting, StopFlag.set = hanging, telling
if __name__ == "__main__":
    sys.exit(main())
"""
# A program with a file, which worker processes read too.
_FROM_FILE = "import sys\n__file__ = sys.argv.pop(1)\nexec(compile(open(__file__).read(), __file__, 'exec'))"

SMALL = ("--steps", "3", "--size", "32x32", "--cutouts", "2")


def pixels(path: str | Path) -> str:
    """A hash of a picture's pixels; the whole file is read, so a broken one is an error."""
    with Image.open(path) as picture:
        return hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()


def pictures(folder: Path) -> dict[str, str]:
    """The finished jobs of a folder: id -> pixels. Fails if a job is there twice, or a picture is not whole."""
    found = [(job_of(path), pixels(path)) for path in sorted(folder.glob("*.png"))]
    assert len({job for job, _ in found}) == len(found), "a job was painted twice"
    assert all(job for job, _ in found), "a picture of no job"
    return {job: hash_ for job, hash_ in found if job}


def strays(folder: Path) -> list[str]:
    """Everything in a folder of a batch that should not stay there when all is done."""
    kept = {".vqclip", "jobs.jsonl"}
    return [path.name for path in folder.rglob("*") if path.suffix != ".png" and path.name not in kept]


def wait_for(folder: Path, number: int, process: subprocess.Popen, seconds: float = 300) -> None:
    """Waits until there are so many pictures."""
    until = time.monotonic() + seconds
    while len(list(folder.glob("*.png"))) < number and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)


def start_hanging(folder: Path, *args: object) -> subprocess.Popen:
    """Starts `vqclip ARGS` with a step that hangs; files called `hung` and `heard` appear in the folder."""
    program = folder / "hanging.py"
    program.write_text(HANGING)
    return start_python(_FROM_FILE, program, *args)


def wait_for_file(path: Path, process: subprocess.Popen, seconds: float = 300) -> None:
    """Waits until a running process has made a file."""
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)


def wait_for_end_of(processes: Callable[[], list[int]], seconds: float = 60) -> None:
    """Waits until there are none of these."""
    until = time.monotonic() + seconds
    while processes():
        assert time.monotonic() < until
        time.sleep(0.1)


def stop_at(monkeypatch: pytest.MonkeyPatch, moment: int, *, picture: int = 1, number: int = signal.SIGINT) -> None:
    """Sends this process a signal at a step of the n-th picture that is painted, once; ignored before or not."""
    import vqclip.runs.picture as room

    paint: Callable[..., Any] = room.painting
    begun = 0

    def painting(*args: Any, **more: Any) -> Any:
        nonlocal begun
        begun += 1
        for event in paint(*args, **more):
            if (begun, event.index) == (picture, moment):
                os.kill(os.getpid(), number)
            yield event

    monkeypatch.setattr(room, "painting", painting)
    if signal.getsignal(number) is signal.SIG_IGN:  # as in a run in the background
        signal.signal(number, signal.SIG_DFL)
