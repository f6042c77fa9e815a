"""Several processes that paint a batch together: each keeps its models, and one that dies is replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from vqclip.errors import MemoryFullError, OutputError
from vqclip.runs.jobs import Job
from vqclip.runs.painter import LOST_DEVICE, Failure, LostDeviceError, Note, Report, paint_job
from vqclip.settings import Delivery
from vqclip.sinks.ledger import Ledger
from vqclip.sinks.play import StopFlag

RETRIES = 3
LOOK_SECONDS = 0.1
GRACE_SECONDS = 10.0


@dataclass(eq=False)
class Worker:
    """A process, the line to it, and the job it is at."""

    process: BaseProcess
    line: Connection
    delivery: Delivery
    job: Job | None = None
    told: bool = False


def paint_in_processes(
    jobs: Sequence[Job], ledger: Ledger, deliveries: Sequence[Delivery], *, stop: StopFlag, note: Note
) -> Iterator[Report]:
    """Paints jobs with one process for each delivery (they differ in device and threads), reporting as they finish.

    A process that dies loses its job's last steps at most: the job goes to another, up to RETRIES times. `stop` lets
    each finish its step and keep its state.
    Raises: OutputError if the folder cannot be written; MemoryFullError if processes die again and again.
    """
    queue, tries, deaths = deque(jobs), Counter[str](), 0
    crew: list[Worker] = []
    try:
        for delivery in deliveries[: len(jobs)]:
            crew.append(_hire(ledger, delivery))
        while (queue and not stop) or any(worker.job for worker in crew):
            for worker in crew:
                _employ(worker, queue, stop)
            for worker in _with_news(crew):
                try:
                    report = _listen(worker, note)
                except EOFError:
                    if worker.told and worker.job is None:
                        crew.remove(worker)  # it went home, as it was told
                        continue
                    deaths += 1
                    _require_life(deaths, crew, worker)
                    yield from _bury(worker, queue, tries)
                    crew.remove(worker)
                    crew += [] if stop else [_hire(ledger, worker.delivery)]
                    continue
                if report is not None:
                    deaths = 0
                    yield report
    except BaseException:
        for worker in crew:
            worker.process.kill()
        raise
    finally:
        _dismiss(crew)


def _hire(ledger: Ledger, delivery: Delivery) -> Worker:
    """Starts a process. Signals are held back meanwhile, and the child keeps them so: only its line can stop it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, ledger, delivery))
    with _signals_held_back():
        process.start()
    theirs.close()
    return Worker(process, ours, delivery)


def _employ(worker: Worker, queue: deque[Job], stop: StopFlag) -> None:
    """Gives a free worker its next job, or tells a busy one to stop."""
    with contextlib.suppress(OSError):  # that it is dead is found out when it is listened to
        if stop and not worker.told:
            worker.told = True
            worker.line.send(None)
        elif not stop and worker.job is None and queue:
            worker.job = queue.popleft()
            worker.line.send(worker.job)


def _with_news(crew: Sequence[Worker]) -> list[Worker]:
    ready = set(wait([worker.line for worker in crew], timeout=LOOK_SECONDS))
    return [worker for worker in crew if worker.line in ready]


def _listen(worker: Worker, note: Note) -> Report | None:
    """What a worker says next: a report, or a remark that is passed on. Raises: OutputError; EOFError if it is dead."""
    try:
        said = worker.line.recv()
    except OSError as error:
        raise EOFError from error
    if isinstance(said, OutputError):
        raise said
    if isinstance(said, Report):
        worker.job = None
        return said
    note(said)
    return None


def _bury(worker: Worker, queue: deque[Job], tries: Counter[str]) -> Iterator[Report]:
    """Puts a dead worker's job back, or reports that it is too much for any worker."""
    job = worker.job
    if job is None:
        return
    tries[job.id] += 1
    if tries[job.id] <= RETRIES:
        queue.appendleft(job)
        return
    died = f"its process died {tries[job.id]} times ({_cause(worker)})"
    yield Report(job, failure=Failure(died, "is the memory too small? try fewer --workers", MemoryFullError.exit_code))


def _require_life(deaths: int, crew: Sequence[Worker], worker: Worker) -> None:
    """Raises: MemoryFullError if so many died without a single report that going on makes no sense."""
    worker.process.join(GRACE_SECONDS)
    worker.process.kill()
    if deaths > RETRIES * (len(crew) + 1):
        raise MemoryFullError(
            f"the worker processes die again and again ({_cause(worker)})", hint="try fewer --workers, or --workers 1"
        )


def _cause(worker: Worker) -> str:
    code = worker.process.exitcode
    if code == LOST_DEVICE:
        return "the device failed"
    return f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


def _dismiss(crew: Sequence[Worker]) -> None:
    """Closes the lines, on which idle processes end, and waits until all have."""
    for worker in crew:
        worker.line.close()
    for worker in crew:
        worker.process.join(GRACE_SECONDS)
        worker.process.kill()
        worker.process.join()


def _work(line: Connection, ledger: Ledger, delivery: Delivery) -> None:
    """The life of a worker: job after job until it is told to stop, or its line ends because the parent is gone."""
    stop = _Told(line)
    with contextlib.suppress(EOFError, OSError):
        while True:
            job = line.recv()
            if job is None:
                return
            line.send(_answer(job, ledger, delivery, stop, line))


def _answer(job: Job, ledger: Ledger, delivery: Delivery, stop: StopFlag, line: Connection) -> Report | OutputError:
    try:
        return paint_job(job, ledger, delivery, stop=stop, note=partial(_tell, line))
    except OutputError as error:
        return error
    except LostDeviceError:
        os._exit(LOST_DEVICE)


def _tell(line: Connection, text: str) -> None:
    with contextlib.suppress(OSError):  # the parent may be gone, and the picture is finished all the same
        line.send(text)


class _Told(StopFlag):
    """True once the parent has said anything, or is gone, while a job is being painted."""

    def __init__(self, line: Connection) -> None:
        super().__init__()
        self._line = line

    def __bool__(self) -> bool:
        if self.signal is None and self._line.poll():
            self.set(signal.SIGTERM)
        return self.signal is not None


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
