"""What `scripts/check --long` writes, and a test that only it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
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
