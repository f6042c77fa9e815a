"""A batch on a Ray cluster: painters that live on its machines, keep their models, and are replaced if they die."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from functools import partial
from typing import Any, cast

from vqclip.errors import MemoryFullError, OutputError, UsageError
from vqclip.runs.cores import share_cores
from vqclip.runs.jobs import Job
from vqclip.runs.painter import LOST_DEVICE, Failure, LostDeviceError, Note, Report, paint_job
from vqclip.settings import Delivery
from vqclip.sinks.ledger import Ledger
from vqclip.sinks.play import StopFlag

LOSSES = 5
"""How many painters one job may lose before it counts as failed: each time, all other jobs go first."""
LOOK_SECONDS = 0.2
CORES_OF_A_PAINTER = 2


class Cluster:
    """A connection to a Ray cluster, and how many painters it has room for. The folder must be on a shared disk."""

    def __init__(self, address: str, *, painters: int | None, threads: int | None) -> None:
        """Connects; `painters` is how many to start, None for one per GPU, or else for every few cores.

        Raises: UsageError if Ray is not installed or does not answer.
        """
        try:
            import ray
        except ImportError as error:
            raise UsageError("--ray needs Ray", hint="pip install 'vqclip[cluster]'") from error
        self._ray: Any = ray
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UsageError(f"no Ray cluster answers at {address!r}: {reason}", hint="see `ray status`") from error
        has = ray.cluster_resources()
        gpus, cores = int(has.get("GPU", 0)), int(has.get("CPU", 1))
        self.threads = threads or (CORES_OF_A_PAINTER if not gpus else max(1, cores // gpus))
        self.painters = painters or gpus or max(1, cores // self.threads)
        self._needs = {"num_gpus": 1} if gpus else {"num_cpus": self.threads}

    def paint(
        self, jobs: Sequence[Job], ledger: Ledger, delivery: Delivery, *, stop: StopFlag, note: Note
    ) -> Iterator[Report]:
        """Paints jobs on the cluster, reporting as they finish. One that loses its painter waits again.

        Raises: OutputError if the folder cannot be written.
        """
        with redirect_stdout(cast(Any, _Stdout())):
            yield from self._paint(jobs, ledger, delivery, stop=stop, note=note)

    def _paint(
        self, jobs: Sequence[Job], ledger: Ledger, delivery: Delivery, *, stop: StopFlag, note: Note
    ) -> Iterator[Report]:
        ray = self._ray
        kind = ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=2, **self._needs)(_Painter)
        delivery = delivery.model_copy(update={"threads": self.threads, "quiet": True})
        hire = partial(kind.remote, ledger, delivery, os.getcwd())
        free, queue, busy = [hire() for _ in range(min(self.painters, len(jobs)))], deque(jobs), {}
        losses, told = Counter[str](), False
        try:
            while busy or (queue and not stop):
                while free and queue and not stop:
                    job, painter = queue.popleft(), free.pop()
                    busy[painter.paint.remote(job)] = job, painter
                while free and (stop or not queue):
                    ray.kill(free.pop())  # one that the cluster has no room for yet, and its job, may have this place
                if stop and not told:
                    told = True
                    for _, painter in busy.values():
                        painter.stop.remote()
                for answer in ray.wait(list(busy), timeout=LOOK_SECONDS)[0] if busy else ():
                    job, painter = busy.pop(answer)
                    report, lives = self._read(answer, job, note, losses)
                    if not lives:
                        ray.kill(painter)  # should it be out of reach only
                    free.append(painter if lives else hire())
                    if report is None:
                        queue.append(job)
                    else:
                        yield report
        finally:
            for painter in (*free, *(painter for _, painter in busy.values())):
                ray.kill(painter)
            with redirect_stdout(sys.stderr):  # here Ray prints, in this very thread, what it had held back
                ray.shutdown()

    def _read(self, answer: Any, job: Job, note: Note, losses: Counter[str]) -> tuple[Report | None, bool]:
        """What became of a job, None if it is to be painted again, and whether its painter lives."""
        errors = self._ray.exceptions
        try:
            said, notes = self._ray.get(answer)
        except errors.RayError as error:
            reason = str(error).strip().splitlines()[0]
            if isinstance(error, errors.RayTaskError):
                return _failed(job, reason), True
            losses[job.id] += 1
            if getattr(error, "actor_init_failed", False):
                return _failed(job, f"no painter could be started on the cluster: {reason}"), False
            if losses[job.id] < LOSSES:
                return None, False
            return _failed(job, f"the cluster lost it {LOSSES} times: {reason}"), False
        for text in notes:
            note(text)
        if isinstance(said, OutputError):
            raise said
        return said, True


def _failed(job: Job, reason: str) -> Report:
    return Report(job, failure=Failure(reason, None, MemoryFullError.exit_code))


class _Stdout:
    """Standard output for the thread that made it; what others print, as Ray's listener does, goes to stderr."""

    def __init__(self) -> None:
        self._out, self._thread = sys.stdout, threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out if threading.get_ident() == self._thread else sys.stderr, name)


class _Painter:
    """Lives on one machine of the cluster. Failures of a job come back as answers: what Ray raises is its own."""

    def __init__(self, ledger: Ledger, delivery: Delivery, home: str) -> None:
        with suppress(OSError):
            os.chdir(home)  # where the files lie that were named without their folder
        share_cores()
        self._ledger = ledger
        self._delivery = delivery
        self._stop = StopFlag()

    def paint(self, job: Job) -> tuple[Report | OutputError, list[str]]:
        notes: list[str] = []
        try:
            return paint_job(job, self._ledger, self._delivery, stop=self._stop, note=notes.append), notes
        except OutputError as error:
            return error, notes
        except LostDeviceError:
            os._exit(LOST_DEVICE)  # a new painter gets the job

    def stop(self) -> None:
        self._stop.set(15)
