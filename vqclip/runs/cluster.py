"""A batch on a Ray cluster: painters that live on its machines, keep their models, and are started anew if they die."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from typing import Any, cast

from vqclip.errors import MemoryFullError, OutputError, UsageError
from vqclip.runs.cores import share_cores
from vqclip.runs.jobs import Job
from vqclip.runs.painter import LOST_DEVICE, Failure, LostDeviceError, Note, Report, paint_job
from vqclip.settings import Delivery
from vqclip.sinks.ledger import Ledger
from vqclip.sinks.play import StopFlag

RETRIES = 3
RESTARTS = 1000
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
        """Paints jobs on the cluster, reporting as they finish. A job whose machine is lost is given to another.

        Raises: OutputError if the folder cannot be written.
        """
        with redirect_stdout(cast(Any, _Stdout())):
            yield from self._paint(jobs, ledger, delivery, stop=stop, note=note)

    def _paint(
        self, jobs: Sequence[Job], ledger: Ledger, delivery: Delivery, *, stop: StopFlag, note: Note
    ) -> Iterator[Report]:
        ray = self._ray
        kind = ray.remote(max_restarts=RESTARTS, max_task_retries=RETRIES, max_concurrency=2, **self._needs)(_Painter)
        delivery = delivery.model_copy(update={"threads": self.threads, "quiet": True})
        free = [kind.remote(ledger, delivery, os.getcwd()) for _ in range(min(self.painters, len(jobs)))]
        crew, queue, busy, told = list(free), deque(jobs), {}, False
        try:
            while busy or (queue and not stop):
                while free and queue and not stop:
                    job, painter = queue.popleft(), free.pop()
                    busy[painter.paint.remote(job)] = job, painter
                while free and (stop or not queue):
                    ray.kill(free.pop())  # one that the cluster has no room for yet, and its job, may have this place
                if stop and not told:
                    told = True
                    for painter in crew:
                        painter.stop.remote()
                for answer in ray.wait(list(busy), timeout=LOOK_SECONDS)[0] if busy else ():
                    job, painter = busy.pop(answer)
                    free.append(painter)
                    yield self._read(answer, job, note)
        finally:
            for painter in crew:
                ray.kill(painter)
            with redirect_stdout(sys.stderr):  # here Ray prints, in this very thread, what it had held back
                ray.shutdown()

    def _read(self, answer: Any, job: Job, note: Note) -> Report:
        try:
            said, notes = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            failure = Failure(f"the cluster lost it {RETRIES + 1} times: {reason}", None, MemoryFullError.exit_code)
            return Report(job, failure=failure)
        for text in notes:
            note(text)
        if isinstance(said, OutputError):
            raise said
        return said


class _Stdout:
    """Standard output for the thread that made it; what others print, as Ray's listener does, goes to stderr."""

    def __init__(self) -> None:
        self._out, self._thread = sys.stdout, threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out if threading.get_ident() == self._thread else sys.stderr, name)


class _Painter:
    """Lives on one machine of the cluster. Failures of a job come back as answers, so Ray repeats only lost ones."""

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
            os._exit(LOST_DEVICE)  # Ray starts the painter anew, and gives it the job again

    def stop(self) -> None:
        self._stop.set(15)
