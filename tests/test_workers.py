"""Several processes: nothing is lost and nothing painted twice, whoever is killed, and the pixels are the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from batches import SMALL, pictures, pixels, start_hanging, strays, wait_for, wait_for_end_of, wait_for_file
from steps import start_python

from vqclip.cli.main import main
from vqclip.errors import MemoryFullError
from vqclip.runs import workers as room
from vqclip.runs.jobs import Ask, Job, make_jobs
from vqclip.runs.painter import LOST_DEVICE, Report
from vqclip.settings import Delivery
from vqclip.sinks.ledger import Ledger
from vqclip.sinks.play import StopFlag
from vqclip.wildcards import Wildcards

RUN = "import sys\nfrom vqclip.cli.main import main\nsys.exit(main(sys.argv[1:]))"


def jobs_of(tiny_models, count: int, **more: object) -> list[Job]:
    asks = [Ask(1, tiny_models.settings(**more), seeds=tuple(range(count)))]
    return make_jobs(asks, expand="no", wildcards=Wildcards([]), most=count).jobs


def here(folder: Path, jobs: list[Job], **more: object) -> dict[str, str]:
    """Paints jobs in this process; gives id -> pixels."""
    from vqclip.runs.painter import paint_job

    ledger = Ledger(folder)
    ledger.prepare()
    delivery = Delivery(device="cpu", threads=1, quiet=True, **more)
    assert all(paint_job(job, ledger, delivery, stop=StopFlag(), note=print).path for job in jobs)
    return pictures(folder)


def test_a_killed_worker_is_replaced_and_paints_the_same_pixels(tiny_models, tmp_path) -> None:
    jobs = jobs_of(tiny_models, 3, steps=12)
    ledger = Ledger(tmp_path / "killed")
    ledger.prepare()
    share = Delivery(device="cpu", threads=1, quiet=True, state_every=3)
    hire, killed = room._hire, []

    def hire_and_kill(*args):
        worker = hire(*args)
        if not killed:
            killed.append(worker.process.pid)
            os.kill(worker.process.pid, signal.SIGKILL)
        return worker

    room._hire = hire_and_kill
    try:
        reports = list(room.paint_in_processes(jobs, ledger, [share], stop=StopFlag(), note=print))
    finally:
        room._hire = hire
    assert killed and all(isinstance(report, Report) and report.path for report in reports) and len(reports) == 3
    ledger.tidy([job.id for job in jobs])
    assert pictures(tmp_path / "killed") == here(tmp_path / "here", jobs) and strays(tmp_path / "killed") == []


class Dead:
    """Stands in for a process that died at once."""

    exitcode = -9

    def join(self, timeout: float | None = None) -> None: ...
    def kill(self) -> None: ...


def test_a_job_that_kills_every_worker_fails_alone_and_dying_without_end_ends_it(tiny_models, monkeypatch) -> None:
    from collections import Counter, deque
    from multiprocessing import Pipe

    (job,) = jobs_of(tiny_models, 1)
    queue, tries = deque(), Counter()
    worker = room.Worker(Dead(), Pipe()[0], Delivery(), job)
    for _ in range(room.RETRIES):
        assert list(room._bury(worker, queue, tries)) == [] and queue.popleft() == job
    (report,) = room._bury(worker, queue, tries)
    assert report.failure.code == 7 and "killed by SIGKILL" in report.failure.message and not queue
    with pytest.raises(MemoryFullError, match="again and again"):
        room._require_life(99, [worker], worker)


def test_a_broken_device_ends_its_process_so_that_a_new_one_gets_the_job(tiny_models, tmp_path, monkeypatch) -> None:
    from multiprocessing import Pipe

    from vqclip.runs import cluster, picture

    said = ["CUDA error: an illegal memory access was encountered"]

    def broken(*args: object, **more: object) -> None:
        raise RuntimeError(said[0])

    monkeypatch.setattr(picture, "paint_picture", broken)
    monkeypatch.setattr(os, "_exit", sys.exit)
    (job,) = jobs_of(tiny_models, 1)
    answers = (
        lambda: room._answer(job, Ledger(tmp_path), Delivery(), StopFlag(), Pipe()[0]),
        lambda: cluster._Painter(Ledger(tmp_path), Delivery(), os.getcwd()).paint(job)[0],
    )
    for answer in answers:
        with pytest.raises(SystemExit, match=str(LOST_DEVICE)):
            answer()
    said[0] = "an index is out of range"
    assert [answer().failure.code for answer in answers] == [1, 1]


def write_list(folder: Path, lines: int = 1) -> Path:
    path = folder / "p.txt"
    path.write_text("".join(f"a castle in fog {n}\n" for n in range(lines)))
    return path


def children(pid: int) -> list[int]:
    """The worker processes of a driver."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in found if lives(child)]


def lives(pid: int | str) -> bool:
    """Whether this is a worker process that has not ended."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_ctrl_c_ends_a_batch_at_once_and_leaves_no_worker(tiny_models, tmp_path, workers) -> None:
    folder = tmp_path / "out"
    command = ["batch", write_list(tmp_path, 2), *tiny_models.flags(), *SMALL, "--workers", workers, "-o", folder]
    driver = start_hanging(tmp_path, *command)
    wait_for_file(tmp_path / "hung", driver)
    crew = children(driver.pid)
    driver.send_signal(signal.SIGINT)
    wait_for_file(tmp_path / "heard", driver)
    with pytest.raises(subprocess.TimeoutExpired):
        driver.wait(0.5)  # the first one waits for the step
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=5)
    assert (driver.returncode, out) == (130, "") and "Traceback" not in err, err
    assert len(crew) == (2 if workers == "2" else 0)
    wait_for_end_of(lambda: [pid for pid in crew if lives(pid)], seconds=5)
    assert pictures(folder) == {}


@pytest.mark.parametrize(
    ("gpus", "cores", "workers", "said", "devices", "threads"),
    [
        (0, 6, "auto", {}, ["auto"] * 3, 2),  # two cores for each
        (0, 1, "auto", {}, ["auto"], 1),
        (0, 6, "4", {}, ["auto"] * 4, 1),
        (0, 4, "auto", {"threads": 3}, ["auto"] * 2, 3),
        (2, 16, "auto", {}, ["cuda:0", "cuda:1"], 4),
        (2, 16, "3", {}, ["cuda:0", "cuda:1", "cuda:0"], 4),
        (2, 6, "auto", {"device": "cpu"}, ["cpu"] * 3, 2),
        (2, 16, "2", {"device": "cuda:1"}, ["cuda:1"] * 2, 4),
    ],
)
def test_workers_share_the_gpus_or_the_cores(monkeypatch, gpus, cores, workers, said, devices, threads) -> None:
    import torch

    from vqclip.runs import batch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(batch, "allowed_cores", lambda: set(range(cores)))
    monkeypatch.setattr(batch, "usual_threads", lambda: 4)
    shares = batch._shares(Delivery(**said), workers)
    assert [share.device for share in shares] == devices
    assert all(share.threads == threads and share.quiet for share in shares)


def test_workers_auto_paints_with_as_many_processes_as_there_are_pairs_of_cores(
    tiny_models, tmp_path, monkeypatch
) -> None:
    from vqclip.runs import batch

    hired: list[int | None] = []
    hire = room._hire
    monkeypatch.setattr(room, "_hire", lambda ledger, share: (hired.append(share.threads), hire(ledger, share))[1])
    monkeypatch.setattr(batch, "allowed_cores", lambda: set(range(4)))
    command = ["batch", str(write_list(tmp_path, 3)), *tiny_models.flags(), *SMALL, "-o", str(tmp_path / "out")]
    assert main([*command, "--workers", "auto"]) == 0
    assert hired == [1, 1] and len(pictures(tmp_path / "out")) == 3


@pytest.mark.long
def test_twenty_kills_among_two_hundred_jobs_lose_nothing(tiny_models, tmp_path, record_property) -> None:
    folder = tmp_path / "out"
    more = ["--seed", "1..200", "--workers", "2", "--state-every", "2", "-o", str(folder), "--quiet"]
    driver = start_python(RUN, "batch", write_list(tmp_path), *tiny_models.flags(), *SMALL, *more)
    rng, killed = random.Random(1), 0
    for number in range(0, 200, 10):
        wait_for(folder, number, driver)
        time.sleep(rng.random() * 0.3)
        while not (found := children(driver.pid)) and driver.poll() is None:
            time.sleep(0.05)  # one that is just being replaced cannot be killed
        if found:
            os.kill(rng.choice(found), signal.SIGKILL)
            killed += 1
    out, err = driver.communicate(timeout=600)
    record_property("kills", killed)
    assert driver.returncode == 0, err
    assert killed == 20
    assert len(pictures(folder)) == 200 == len(out.split()) == len(set(out.split())) and strays(folder) == []


@pytest.mark.long
def test_a_killed_driver_is_only_repeated_and_no_finished_job_with_it(tiny_models, tmp_path) -> None:
    folder = tmp_path / "out"
    more = ["--seed", "1..40", "--workers", "2", "-o", str(folder), "--quiet"]
    command = ["batch", write_list(tmp_path), *tiny_models.flags(), *SMALL, *more]
    driver = start_python(RUN, *command)
    wait_for(folder, 10, driver)
    crew = children(driver.pid)
    driver.kill()
    driver.communicate()
    wait_for_end_of(lambda: [pid for pid in crew if lives(pid)])  # they notice that nobody listens
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    again = start_python(RUN, *command)
    out, err = again.communicate(timeout=600)
    assert again.returncode == 0, err
    assert len(pictures(folder)) == 40 and len(out.split()) == 40 - len(before) and strays(folder) == []
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


@pytest.mark.long
def test_eight_processes_publish_into_one_folder(tiny_models, tmp_path) -> None:
    folder = tmp_path / "out"
    command = ["batch", write_list(tmp_path, 5), *tiny_models.flags(), *SMALL, "-o", str(folder), "--quiet"]
    running = [start_python(RUN, *command) for _ in range(8)]
    for process in running:
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
    assert len(pictures(folder)) == 5 and strays(folder) == []


# A signal before there is anything to finish ends the process itself; a shell says 143 of that too.
STOPPED = {143, -signal.SIGTERM}


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
def test_signals_at_any_time_leave_whole_pictures_and_the_pixels_stay(
    tiny_models, tmp_path, workers, record_property
) -> None:
    folder, rng = tmp_path / "out", random.Random(int(workers))
    size = ["--steps", "40", "--size", "32x32", "--cutouts", "2", "--seed", "1..48", "--workers", workers]
    command = ["batch", write_list(tmp_path), *tiny_models.flags(), *size, "-o", str(folder), "--json", "--quiet"]
    before: dict[str, str] = {}
    for attempt in range(10):
        driver = start_python(RUN, *command)
        assert driver.stdout is not None and '"begin"' in driver.stdout.readline()
        if attempt % 2:  # while it paints; the others come while it loads, or soon after
            wait_for(folder, len(before) + 1, driver)
        time.sleep(rng.random() * (0.5 if attempt % 2 else 4))
        driver.terminate()
        _, err = driver.communicate(timeout=300)
        assert driver.returncode in STOPPED, err
        found = pictures(folder)
        assert before.items() <= found.items()
        before = found
    record_property("pictures before the last run", len(before))
    last = start_python(RUN, *command)
    _, err = last.communicate(timeout=600)
    assert last.returncode == 0, err
    assert strays(folder) == []
    assert main([*map(str, command[:-3]), str(tmp_path / "whole"), "--quiet"]) == 0
    assert pictures(folder) == pictures(tmp_path / "whole") and len(pictures(folder)) == 48


FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)\n"


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_ends_it_with_6_and_no_partial_file(tiny_models, tmp_path, workers) -> None:
    folder = tmp_path / "out"
    program = RUN.replace("from vqclip.cli.main", FULL + "from vqclip.cli.main")
    command = ["batch", write_list(tmp_path), *tiny_models.flags(), "--steps", "2", "--cutouts", "2", "--seed", "1..3"]
    assert main([*map(str, command), "--size", "16x16", "-o", str(folder)]) == 0
    before = pictures(folder)
    driver = start_python(program, "5000", *command, "--size", "128x128", "--workers", workers, "-o", str(folder))
    out, err = driver.communicate(timeout=300)
    assert (driver.returncode, out) == (6, ""), err
    assert pictures(folder) == before and len(before) == 3 and strays(folder) == []


@pytest.fixture
def megabyte(tmp_path) -> Iterator[Path]:
    """A disk of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.long
def test_a_disk_of_a_megabyte_fills_up_and_one_that_is_read_only_is_said_at_once(tiny_models, tmp_path, megabyte):
    folder = megabyte / "out"
    size = ["--steps", "1", "--cutouts", "2", "--size", "256x256", "--seed", "1..30", "-o", str(folder)]
    command = ["batch", write_list(tmp_path), *tiny_models.flags(), *size]
    filling = start_python(RUN, *command)
    out, err = filling.communicate(timeout=300)
    assert filling.returncode == 6 and "the disk is full" in err, err
    before = pictures(folder)
    assert 1 <= len(before) == len(out.split()) < 30
    assert [name for name in strays(folder) if not name.endswith(".state")] == []
    subprocess.run(["mount", "-o", "remount,ro", megabyte], check=True)
    refused = start_python(RUN, *command)
    out, err = refused.communicate(timeout=300)
    assert (refused.returncode, out) == (6, "") and "error: " in err, err
    assert pictures(folder) == before


@pytest.mark.long
def test_alone_in_a_batch_of_three_and_on_two_workers_it_is_the_same_picture(tiny_models, tmp_path, capsys) -> None:
    common = [*tiny_models.flags(), *SMALL, "--threads", "1", "--quiet", "--seed", "7"]
    path = write_list(tmp_path, 3)
    assert main(["a castle in fog 1", *common, "-o", f"{tmp_path}/alone.png"]) == 0
    batches = {}
    for workers in ("1", "2"):
        folder = tmp_path / workers
        assert main(["batch", str(path), *common, "--workers", workers, "-o", str(folder)]) == 0
        batches[workers] = pictures(folder)
    assert batches["1"] == batches["2"] and len(batches["1"]) == 3
    assert pixels(tmp_path / "alone.png") in batches["1"].values()
