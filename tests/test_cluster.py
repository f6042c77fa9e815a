"""A batch on a Ray cluster that the test starts: killed painters are replaced, and the pixels are the usual ones."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from batches import SMALL, pictures, strays
from steps import start_python

from vqclip.cli.main import main

RUN = "import sys\nfrom vqclip.cli.main import main\nsys.exit(main(sys.argv[1:]))"


def test_without_a_cluster_it_is_a_sentence(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "p.txt").write_text("a castle\n")
    assert main(["batch", str(tmp_path / "p.txt"), "--ray", "auto", "-o", str(tmp_path / "out")]) == 2
    assert "vqclip[cluster]" in capsys.readouterr().err


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
def test_painters_killed_on_a_cluster_lose_nothing(tiny_models, tmp_path, monkeypatch) -> None:
    # Ray's own processes wait politely for all others; beside a busy core they would never have their turn.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    (tmp_path / "p.txt").write_text("a castle in fog\n")
    folder = tmp_path / "out"
    command = ["batch", str(tmp_path / "p.txt"), *tiny_models.flags(), *SMALL, "--seed", "1..24", "--quiet"]
    more = ["--ray", "local", "--workers", "2", "--state-every", "1", "-o", str(folder)]
    driver = start_python(RUN, *command, *more)
    killed, until = 0, time.monotonic() + 300
    while driver.poll() is None and time.monotonic() < until:
        if len(list(folder.glob("*.png"))) >= 5 * (killed + 1) and killed < 3 and (found := painters()):
            os.kill(found[0], signal.SIGKILL)
            killed += 1
        time.sleep(0.05)
    if driver.poll() is None:
        driver.terminate()
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 0, err
    assert killed and len(pictures(folder)) == 24 and strays(folder) == []
    assert main([*command, "-o", str(tmp_path / "here")]) == 0
    assert pictures(tmp_path / "here") == pictures(folder)
