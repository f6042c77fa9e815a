"""Paints one job of a batch: skips it if it is finished, goes on where it was stopped, and answers with a report."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from vqclip.errors import OutputError, VqclipError
from vqclip.runs.jobs import Job, identify
from vqclip.settings import Delivery
from vqclip.sinks.ledger import Ledger
from vqclip.sinks.play import StopFlag

Note = Callable[[str], None]

# What a process ends with when its device broke.
LOST_DEVICE = 75

# What drivers say when the device itself is gone: a new process may find it well again.
_LOST = ("cuda error", "cudnn_status", "cublas_status", "device-side", "hip error", "nccl")


@dataclass(frozen=True)
class Failure:
    """Why a job failed, with the exit code that it would have had alone; of a bug also its traceback."""

    message: str
    hint: str | None
    code: int
    traceback: str | None = None

    def facts(self) -> dict[str, str | int | None]:
        """What is written down and sent on as JSON: all but the traceback."""
        return {"message": self.message, "hint": self.hint, "code": self.code}


@dataclass(frozen=True)
class Report:
    """What became of a job: a picture, a failure, or neither if it was stopped on the way.

    new is false for a picture that was there before; seconds and steps are those of this run.
    """

    job: Job
    path: str | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    steps: int = 0
    new: bool = True


class LostDeviceError(RuntimeError):
    """The device broke, not the job: the same job may well be painted by a new process."""


def paint_job(job: Job, ledger: Ledger, delivery: Delivery, *, stop: StopFlag, note: Note) -> Report:
    """Paints a job into the folder of its batch, unless its picture is there.

    A failure of the job alone is reported, so that others go on.
    Raises: OutputError, because no other job could be written either; LostDeviceError.
    """
    path = ledger.picture(_public_prompt(job, delivery), job.settings.seed or 0, job.id)
    found = ledger.find(path, job.id)
    if found is not None:
        return Report(job, str(found), new=False)
    own = {"output": literal(str(path)), "state": str(ledger.state(job.id)), "job": job.id}
    try:
        _require_same_files(job)
        from vqclip.runs.picture import paint_picture

        done = paint_picture(job.settings, delivery.model_copy(update=own), on_note=note, stop=stop)
    except OutputError:
        raise
    except VqclipError as error:
        return Report(job, failure=Failure(error.message, error.hint, error.exit_code))
    except Exception as error:
        if any(word in str(error).casefold() for word in _LOST):
            raise LostDeviceError(str(error)) from error
        said = f"a bug: {type(error).__name__}: {error}"
        return Report(job, failure=Failure(said, "please report it", 1, traceback.format_exc()))
    path_done = None if done.path is None else str(done.path)
    return Report(job, path_done, seconds=done.seconds, steps=done.steps_done)


def literal(path: str) -> str:
    """A path as an output template that means just this path."""
    return path.replace("{", "{{").replace("}", "}}")


def _public_prompt(job: Job, delivery: Delivery) -> str:
    return "picture" if delivery.metadata == "private" else job.settings.prompt


def _require_same_files(job: Job) -> None:
    if identify(job.settings)[0] != job.id:
        raise VqclipError("a model or picture of this job has changed since it was planned", hint="run the batch again")
