"""A batch on a Ray cluster, whose painters come and go: first on one that is played, then on one that the test starts.

Killed painters are replaced, and the pixels are the usual ones.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from batches import SMALL, pictures, strays, wait_for, wait_for_end_of
from steps import start_python

from vqclip.cli.main import main
from vqclip.errors import MemoryFullError, OutputError, UsageError
from vqclip.runs.cluster import LOSSES, Cluster, _Stdout
from vqclip.runs.jobs import Job
from vqclip.runs.painter import Report
from vqclip.settings import Delivery, Settings
from vqclip.sinks.ledger import Ledger
from vqclip.sinks.play import StopFlag

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


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(f"ray::_Painter.paint() (pid=1)\n  File x\n{cause!r}")
        self.cause = cause


class ActorDiedError(RayError):
    def __init__(self, text: str, *, init: bool = False) -> None:
        super().__init__(text)
        self.actor_init_failed = init


LOST = ActorDiedError("The actor died.\n\tpid: 1")
UNMADE = ActorDiedError("The actor died in its creation task, ray::x\n  File x\nImportError: no vqclip", init=True)

Play = Callable[[Job, "Painter"], Any]


class Painter:
    """A painter as its driver sees it: what it is asked waits until it has a place, and fails once it is dead."""

    def __init__(self, ray: PlayedRay, number: int) -> None:
        self.ray, self.number, self.dead, self.stopped = ray, number, False, False
        self.here, self.paint, self.stop = (
            SimpleNamespace(remote=ask) for ask in (self._here, self._paint, self._stop)
        )

    def _here(self) -> object:
        return self.ray.answer(self, lambda: None)

    def _paint(self, job: Job) -> object:
        return self.ray.answer(self, lambda: self.ray.painted(job, self))

    def _stop(self) -> object:
        self.stopped = True
        return self.ray.answer(self, lambda: None)


class PlayedRay(SimpleNamespace):
    """As much of Ray as a cluster is asked for. play says what becomes of a job; an error is raised by Ray."""

    def __init__(self, play: Play, *, places: int = 2, cores: Sequence[int] = (4,)) -> None:
        super().__init__(init=lambda **how: None, shutdown=lambda: None)
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.play, self.places, self.cores = play, places, cores
        self.hired: list[Painter] = []
        self.begun: list[tuple[int, int]] = []  # seed of the job, number of its painter
        self.asked: dict[object, tuple[Painter, Callable[[], Any]]] = {}
        self.turns = 0

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(sum(self.cores))}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": float(number)}} for number in self.cores]

    def remote(self, **how: object) -> Callable[[type], object]:
        assert how["max_restarts"] == how["max_task_retries"] == 0
        return lambda kind: SimpleNamespace(remote=self._hire)

    def _hire(self, *given: object) -> Painter:
        self.hired.append(Painter(self, len(self.hired)))
        return self.hired[-1]

    def alive(self) -> list[Painter]:
        return [one for one in self.hired if not one.dead]

    def answer(self, painter: Painter, how: Callable[[], Any]) -> object:
        key = object()
        self.asked[key] = painter, how
        return key

    def painted(self, job: Job, painter: Painter) -> Any:
        self.begun.append((job.line, painter.number))
        said = self.play(job, painter)
        painter.dead |= isinstance(said, ActorDiedError)
        if isinstance(said, RayError):
            raise said
        return said, ["a note"]

    def wait(self, keys: list[object], *, timeout: float, num_returns: int = 1) -> tuple[list[object], list[object]]:
        assert keys and num_returns <= len(keys)
        self.turns += 1
        assert self.turns < 1000, "it goes on for ever"
        placed = self.alive()[: self.places]
        ready = [key for key in keys if self.asked[key][0] in placed or self.asked[key][0].dead][:num_returns]
        return ready, [key for key in keys if key not in ready]

    def get(self, key: object) -> Any:
        painter, how = self.asked[key]
        if painter.dead:
            raise LOST
        return how()

    def kill(self, painter: Painter) -> None:
        painter.dead = True


def a_job(number: int) -> Job:
    return Job(f"{number:016x}", Settings(prompt="fog"), number, {})


def well(job: Job, painter: Painter) -> Report:
    return Report(job, None if painter.stopped else f"{job.line}.png")


def paint(
    monkeypatch: pytest.MonkeyPatch, ray: PlayedRay, number: int, *, stop: StopFlag | None = None, painters: int = 2
) -> list[Report]:
    monkeypatch.setitem(sys.modules, "ray", ray)
    cluster = Cluster("auto", painters=painters, threads=None)
    jobs, notes = [a_job(one) for one in range(1, number + 1)], list[str]()
    how = {"stop": StopFlag() if stop is None else stop, "note": notes.append}
    return list(cluster.paint(jobs, Ledger(Path()), Delivery(), **how))


def lines(reports: list[Report]) -> list[int]:
    """The jobs that have a picture."""
    return [one.job.line for one in reports if one.path is not None]


def test_a_job_that_costs_each_painter_its_life_fails_and_all_others_are_painted(monkeypatch) -> None:
    ray = PlayedRay(lambda job, painter: LOST if job.line == 3 else well(job, painter))
    told = paint(monkeypatch, ray, 8)
    assert sorted(lines(told)) == [1, 2, 4, 5, 6, 7, 8]
    (failed,) = [one for one in told if one.failure]
    assert failed is told[-1] and failed.job.line == 3
    assert failed.failure and failed.failure.message == f"the cluster lost it {LOSSES} times: The actor died."
    assert failed.failure.code == MemoryFullError.exit_code
    tried = [painter for line, painter in ray.begun if line == 3]
    assert len(tried) == len(set(tried)) == LOSSES and not ray.alive()


def test_a_job_lost_once_is_painted_by_a_new_painter_behind_the_others(monkeypatch) -> None:
    lost = Counter[int]()

    def once(job: Job, painter: Painter) -> object:
        lost[job.line] += 1
        return LOST if (job.line, lost[job.line]) == (1, 1) else well(job, painter)

    ray = PlayedRay(once, places=1)
    assert lines(paint(monkeypatch, ray, 4, painters=1)) == [2, 3, 4, 1]
    assert ray.begun == [(1, 0), (2, 1), (3, 1), (4, 1), (1, 1)] and len(ray.hired) == 2


def test_an_error_of_the_painting_itself_is_told_and_not_tried_again(monkeypatch) -> None:
    wrong = RayTaskError(ValueError("two\nlines"))
    ray = PlayedRay(lambda job, painter: wrong if job.line == 2 else well(job, painter))
    told = paint(monkeypatch, ray, 5)
    assert sorted(lines(told)) == [1, 3, 4, 5]
    (failure,) = [one.failure for one in told if one.failure]
    assert failure.message == "a bug: ValueError: two\nlines" and failure.code == 1
    assert Counter(line for line, _ in ray.begun) == dict.fromkeys(range(1, 6), 1) and len(ray.hired) == 2


def test_when_stopped_a_lost_job_is_not_painted_again_and_nobody_is_hired(monkeypatch) -> None:
    stop = StopFlag()

    def lost(job: Job, painter: Painter) -> object:
        stop.set(15)
        return LOST

    ray = PlayedRay(lost)
    assert paint(monkeypatch, ray, 6, stop=stop) == []
    assert [line for line, _ in ray.begun] == [1, 2] and len(ray.hired) == 2 and not ray.alive()


def test_when_stopped_those_that_paint_finish_their_step_and_those_without_a_place_are_let_go(monkeypatch) -> None:
    stop = StopFlag()

    def third(job: Job, painter: Painter) -> object:
        said = well(job, painter)
        if len(painter.ray.begun) == 3:
            stop.set(15)
        return said

    ray = PlayedRay(third, places=2)
    told = paint(monkeypatch, ray, 9, stop=stop, painters=5)
    assert [line for line, _ in ray.begun] == [one.job.line for one in told]
    assert [one.path is None for one in told] == [False, False, False, True]  # the last was stopped on its way
    assert len(ray.hired) == 5 and not ray.alive()


def test_fewer_places_than_painters_paint_all(monkeypatch) -> None:
    ray = PlayedRay(well, places=2)
    assert sorted(lines(paint(monkeypatch, ray, 12, painters=5))) == list(range(1, 13))
    assert len(ray.hired) == 5 and not ray.alive()


def test_a_machine_on_which_no_painter_can_be_made_costs_no_job(monkeypatch) -> None:
    ray = PlayedRay(lambda job, painter: UNMADE if painter.number == 0 else well(job, painter))
    assert sorted(lines(paint(monkeypatch, ray, 5))) == [1, 2, 3, 4, 5]
    assert len(ray.hired) == 2


def test_no_painter_that_can_be_made_is_one_error(monkeypatch) -> None:
    ray = PlayedRay(lambda job, painter: UNMADE)
    with pytest.raises(UsageError, match=r"no painter can be started on the cluster: ImportError: no vqclip$"):
        paint(monkeypatch, ray, 500, painters=3)
    assert len(ray.begun) == len(ray.hired) == 3


def test_painters_that_never_live_to_paint_are_one_error(monkeypatch) -> None:
    ray = PlayedRay(lambda job, painter: LOST)
    with pytest.raises(MemoryFullError, match="again and again: The actor died"):
        paint(monkeypatch, ray, 500)
    assert len(ray.begun) == 2 * LOSSES + 1 and not ray.alive()
    one = PlayedRay(lambda job, painter: LOST)
    assert [report.failure is None for report in paint(monkeypatch, one, 1)] == [False]


def test_a_painter_that_died_while_it_was_free_only_costs_a_try(monkeypatch) -> None:
    def dies_behind_it(job: Job, painter: Painter) -> object:
        painter.ray.play = well
        painter.ray.hired[1].dead = painter.ray.hired[0].dead = True
        return Report(job, "1.png")

    ray = PlayedRay(dies_behind_it)
    assert sorted(lines(paint(monkeypatch, ray, 6))) == [1, 2, 3, 4, 5, 6]
    assert len(ray.hired) == 4 and not ray.alive()


def test_a_full_disk_ends_the_batch_and_all_painters(monkeypatch) -> None:
    full = OutputError("the disk is full")
    ray = PlayedRay(lambda job, painter: full if job.line == 3 else well(job, painter))
    with pytest.raises(OutputError, match="full"):
        paint(monkeypatch, ray, 9)
    assert not ray.alive()


def test_a_painter_needs_no_more_cores_than_a_machine_has(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", PlayedRay(well, cores=(1, 1, 1)))
    cluster = Cluster("auto", painters=None, threads=None)
    assert (cluster.threads, cluster.painters) == (1, 3)
    with pytest.raises(UsageError, match="--threads 2: no machine of the cluster has more than 1 core"):
        Cluster("auto", painters=None, threads=2)


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
