import os
from pathlib import Path

import pytest

from vqclip.runs import cores


def machine(root: Path, siblings: list[str]) -> Path:
    for number, text in enumerate(siblings):
        folder = root / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(text)
    return root


def test_twins_of_one_core_count_once(tmp_path: Path) -> None:
    root = machine(tmp_path, ["0,2\n", "1,3\n", "0,2\n", "1,3\n"])
    assert cores._physical_cores({0, 1, 2, 3}, root) == 2
    assert cores._physical_cores({0, 2}, root) == 1
    assert cores._physical_cores({0, 1, 9}, root) == 3  # where the system does not tell, all


@pytest.mark.parametrize(("limit", "granted"), [("150000 100000\n", 2), ("100000 100000\n", 1), ("max 100000\n", None)])
def test_a_container_grants_no_more_than_its_quota(tmp_path: Path, limit: str, granted: int | None) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    found = cores._quota(tmp_path / "cpu.max")
    assert found == granted if granted else found > 1000
    assert cores._quota(tmp_path / "none") > 1000


def test_the_usual_threads_do_not_depend_on_what_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: set(range(64)))
    monkeypatch.setattr(cores, "_physical_cores", lambda logical: len(logical) // 2)
    monkeypatch.setattr(cores, "_quota", lambda: 1 << 20)
    monkeypatch.setattr(cores.Path, "read_text", lambda *a, **k: pytest.fail("looked at what is idle"))
    assert cores.usual_threads() == cores.MOST_THREADS
    monkeypatch.setattr(cores, "_quota", lambda: 3)
    assert cores.usual_threads() == 3


def test_there_is_always_one_thread() -> None:
    assert 1 <= cores.usual_threads() <= len(cores.allowed_cores())


def test_waiting_threads_sleep_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    cores.share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    cores.share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
