"""A batch on a Ray cluster: painters that live on its machines, keep their models, and are replaced if they die."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout, suppress
from functools import partial
from typing import Any, NamedTuple, cast

from vqclip.errors import MemoryFullError, OutputError, UsageError
from vqclip.runs.cores import share_cores
from vqclip.runs.jobs import Job
from vqclip.runs.painter import LOST_DEVICE, Failure, LostDeviceError, Note, Report, paint_job
from vqclip.settings import Delivery
from vqclip.sinks.ledger import Ledger
from vqclip.sinks.play import StopFlag
from vqclip.words import counted

LOSSES = 5
"""How many painters one job may lose before it counts as failed: each time, all other jobs go first."""
LOST_CODE = MemoryFullError.exit_code
LOOK_SECONDS = 0.2
CORES_OF_A_PAINTER = 2
SAME_EVERYWHERE = "the same vqclip must be installed on all its machines"


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
        machine = max((int(one["Resources"].get("CPU", 0)) for one in ray.nodes() if one["Alive"]), default=cores)
        self.threads = threads or (max(1, min(CORES_OF_A_PAINTER, machine)) if not gpus else max(1, cores // gpus))
        if not gpus and self.threads > machine:
            ray.shutdown()
            cores_of = counted(machine, "core")
            raise UsageError(f"--threads {self.threads}: no machine of the cluster has more than {cores_of}")
        self.painters = painters or gpus or max(1, cores // self.threads)
        self._needs = {"num_gpus": 1} if gpus else {"num_cpus": self.threads}

    def paint(
        self, jobs: Sequence[Job], ledger: Ledger, delivery: Delivery, *, stop: StopFlag, note: Note
    ) -> Iterator[Report]:
        """Paints jobs on the cluster, reporting as they finish. One that loses its painter waits again.

        Raises: OutputError if the folder cannot be written; UsageError if no painter can be started, MemoryFullError
        if they are lost again and again before any has painted.
        """
        ray = self._ray
        kind = ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=2, **self._needs)(_Painter)
        delivery = delivery.model_copy(update={"threads": self.threads, "quiet": True})
        with redirect_stdout(cast(Any, _Stdout())):
            crew = _Crew(ray, partial(kind.remote, ledger, delivery, os.getcwd()), jobs, self.painters)
            try:
                while crew.busy or (crew.queue and not stop):
                    crew.employ(stop)
                    yield from crew.listen(note, stop)
            finally:
                crew.dismiss()
                with redirect_stdout(sys.stderr):  # here Ray prints, in this very thread, what it had held back
                    ray.shutdown()


class _Hand(NamedTuple):
    """A painter, and what Ray answers as soon as it has a place."""

    painter: Any
    here: Any


class _Crew:
    """The painters, those that are free and those that are busy, and the jobs that wait for one."""

    def __init__(self, ray: Any, hire: Callable[[], Any], jobs: Sequence[Job], number: int) -> None:
        self._ray, self._hire = ray, hire
        self.queue, self.busy = deque(jobs), dict[Any, tuple[Job, _Hand]]()
        self._free = [self._new() for _ in range(min(number, len(jobs)))]
        self._most = LOSSES * number
        self._losses, self._worked, self._told = Counter[str](), False, False

    def employ(self, stop: StopFlag) -> None:
        """Gives the free ones a job each, or lets them go; those that are busy are told once that it is over.

        These first, while none of them can get the place of one that went.
        """
        while self._free and self.queue and not stop:
            job, hand = self.queue.popleft(), self._free.pop()
            self.busy[hand.painter.paint.remote(job)] = job, hand
        if stop and not self._told:
            self._told = True
            self._tell()
        while self._free and (stop or not self.queue):
            self._ray.kill(self._free.pop().painter)  # one without a place yet, and its job, may have this one's

    def listen(self, note: Note, stop: StopFlag) -> Iterator[Report]:
        """What became of jobs since. One whose painter is lost waits again, behind all others.

        Raises: OutputError; UsageError if nobody is left because none can be started; MemoryFullError.
        """
        for answer in self._ray.wait(list(self.busy), timeout=LOOK_SECONDS)[0] if self.busy else ():
            job, hand = self.busy[answer]
            try:
                report = self._read(answer, job, note)
                self._worked = True
                del self.busy[answer]
                self._free.append(hand)
            except _LostError as lost:
                del self.busy[answer]
                self._ray.kill(hand.painter)  # should it be out of reach only
                found = self._bury(job, lost, stop)
                if found is None:
                    continue
                report = found
            yield report

    def dismiss(self) -> None:
        """Ends all painters."""
        for hand in (*self._free, *(hand for _, hand in self.busy.values())):
            self._ray.kill(hand.painter)

    def _new(self) -> _Hand:
        painter = self._hire()
        return _Hand(painter, painter.here.remote())

    def _tell(self) -> None:
        """Lets those that paint finish their step; those without a place yet would only start in order to stop."""
        waits = {hand.here: answer for answer, (_, hand) in self.busy.items()}
        here = self._ray.wait(list(waits), num_returns=len(waits), timeout=LOOK_SECONDS)[0] if waits else ()
        for answer, (job, hand) in list(self.busy.items()):
            if hand.here in here:
                hand.painter.stop.remote()
            else:
                del self.busy[answer]
                self._ray.kill(hand.painter)
                self.queue.appendleft(job)

    def _read(self, answer: Any, job: Job, note: Note) -> Report:
        """A painter's report on its job. Raises: OutputError; _LostError if the painter is lost."""
        errors = self._ray.exceptions
        try:
            said, notes = self._ray.get(answer)
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", None)
            reason = _line(error, -1) if cause is None else f"{type(cause).__name__}: {cause}"
            trace = getattr(error, "traceback_str", None)
            return Report(job, failure=Failure(f"a bug: {reason}", "please report it", 1, trace))
        except errors.RayError as error:
            started = not getattr(error, "actor_init_failed", False)
            raise _LostError(_line(error, 0 if started else -1), started=started) from error
        for text in notes:
            note(text)
        if isinstance(said, OutputError):
            raise said
        return cast(Report, said)

    def _bury(self, job: Job, lost: _LostError, stop: StopFlag) -> Report | None:
        """Puts the job of a lost painter back and hires another one, or reports that it was lost too often.

        A painter that raised an error when it was made is not replaced: its machine would do so for every job.
        Raises: UsageError if it was the last; MemoryFullError if so many are lost before any painted.
        """
        if not lost.started:
            self.queue.appendleft(job)
            if not (self._free or self.busy or stop):
                raise UsageError(f"no painter can be started on the cluster: {lost}", hint=SAME_EVERYWHERE) from lost
            return None
        self._losses[job.id] += 1
        if not self._worked and self._losses.total() > self._most:
            hint = "is the memory too small? try fewer --workers"
            raise MemoryFullError(f"the cluster loses its painters again and again: {lost}", hint=hint) from lost
        if not stop:
            self._free.append(self._new())
        if self._losses[job.id] < LOSSES:
            self.queue.append(job)
            return None
        return Report(job, failure=Failure(f"the cluster lost it {LOSSES} times: {lost}", None, LOST_CODE))


class _LostError(Exception):
    """A painter is lost, its words are the reason; started is false if it never was one."""

    def __init__(self, reason: str, *, started: bool) -> None:
        super().__init__(reason)
        self.started = started


def _line(error: Exception, which: int) -> str:
    """A line of what Ray says: the first tells what happened to a process, the last of a traceback what was raised."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[which].strip()


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

    def here(self) -> None:
        """Answers, as soon as there is a place for it."""

    def stop(self) -> None:
        self._stop.set(15)
