"""A batch on a Ray cluster that the test starts: killed painters are replaced, and the pixels are the usual ones."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from batches import SMALL, pictures, strays, wait_for, wait_for_end_of
from steps import start_python

from vqclip.cli.main import main
from vqclip.runs.cluster import _Stdout

RUN = "import sys\nfrom vqclip.cli.main import main\nsys.exit(main(sys.argv[1:]))"


def test_without_a_cluster_it_is_a_sentence(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "p.txt").write_text("a castle\n")
    assert main(["batch", str(tmp_path / "p.txt"), "--ray", "auto", "-o", str(tmp_path / "out")]) == 2
    assert "vqclip[cluster]" in capsys.readouterr().err


@pytest.mark.parametrize(("said", "painters"), [((), None), (("--workers", "auto"), None), (("--workers", "1"), 1)])
def test_a_cluster_paints_with_all_it_has_unless_a_number_is_said(tmp_path, monkeypatch, said, painters) -> None:
    asked = []

    class Nobody:
        def __init__(self, address: str, **how: object) -> None:
            asked.append((address, how["painters"]))

        def paint(self, *args: object, **how: object) -> list[object]:
            return []

    monkeypatch.setattr("vqclip.runs.cluster.Cluster", Nobody)
    (tmp_path / "p.txt").write_text("a castle\n")
    assert main(["batch", str(tmp_path / "p.txt"), "--ray", "auto", *said, "-o", str(tmp_path / "out")]) == 0
    assert asked == [("auto", painters)]


def test_what_ray_prints_does_not_come_between_the_paths(capsys) -> None:
    with redirect_stdout(_Stdout()):
        print("a.png")
        listener = threading.Thread(target=print, args=("a worker died",))
        listener.start()
        listener.join()
    assert capsys.readouterr() == ("a.png\n", "a worker died\n")


JOBS, EVERY = 200, 9


def painters() -> list[int]:
    """The processes of Ray that paint."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            found += [int(entry.name)] if title.startswith(b"ray::_Painter") else []
    return found


@pytest.mark.long
def test_painters_and_drivers_killed_on_a_cluster_lose_nothing(
    tiny_models, tmp_path, monkeypatch, record_property
) -> None:
    # Ray's own processes wait politely for all others; beside a busy core they would never have their turn.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    (tmp_path / "p.txt").write_text("a castle in fog\n")
    folder = tmp_path / "out"
    command = ["batch", str(tmp_path / "p.txt"), *tiny_models.flags(), *SMALL, "--seed", f"1..{JOBS}", "--quiet"]
    more = ["--ray", "local", "--workers", "2", "--state-every", "1", "-o", str(folder)]
    driver = start_python(RUN, *command, *more)
    wait_for(folder, EVERY, driver)
    driver.kill()
    driver.communicate()
    wait_for_end_of(painters)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    driver, rng, killed = start_python(RUN, *command, *more), random.Random(1), 0
    for number in range(len(before), JOBS, EVERY):
        wait_for(folder, number, driver)
        time.sleep(rng.random() * 0.3)
        while not (found := painters()) and driver.poll() is None:
            time.sleep(0.05)  # both are just being replaced
        if found:
            os.kill(rng.choice(found), signal.SIGKILL)
            killed += 1
    out, err = driver.communicate(timeout=600)
    record_property("kills", killed)
    assert driver.returncode == 0, err
    assert killed == len(range(len(before), JOBS, EVERY)) and strays(folder) == []
    assert len(pictures(folder)) == JOBS and len(out.split()) == len(set(out.split())) == JOBS - len(before)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert main([*command, "-o", str(tmp_path / "here")]) == 0
    assert pictures(tmp_path / "here") == pictures(folder)


@pytest.mark.long
def test_painters_that_the_cluster_has_no_room_for_keep_no_job_from_being_done(
    tiny_models, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "0")
    (tmp_path / "p.txt").write_text("a castle in fog\n")
    number = str((os.cpu_count() or 1) + 2)
    command = ["batch", str(tmp_path / "p.txt"), *tiny_models.flags(), *SMALL, "--seed", f"1..{number}", "--quiet"]
    driver = start_python(RUN, *command, "--ray", "local", "--workers", number, "-o", str(tmp_path / "out"))
    out, err = driver.communicate(timeout=600)
    assert driver.returncode == 0, err
    assert len(out.split()) == len(pictures(tmp_path / "out")) == int(number)
