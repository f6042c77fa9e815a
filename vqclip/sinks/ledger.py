"""The folder of a batch: which job's picture is where, which failed and why, and the plan; the pictures are the truth.

A job is done if and only if a whole picture of its name says inside that it is that job. All else lies in the folder's
`.vqclip`: the plan (`jobs.jsonl`), the states of jobs that were begun, and the reasons of those that failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vqclip.errors import PictureError, UsageError
from vqclip.sinks.metadata import read_recipe
from vqclip.sinks.names import on_disk, slug
from vqclip.sinks.publish import output_error, prepare, publish, sweep

WORK = ".vqclip"
UNFINISHED = ".unfinished.png"
SCHEMA = 1
MAX_PLAN = 512 * 1024 * 1024

_JOB = re.compile(r"-([0-9a-f]{16})(-\d+)?\.png")
_END_OF_PNG = b"\0\0\0\0IEND\xaeB`\x82"
AT_PLATEAU = "at a plateau"
"""Why a finished picture has fewer steps than were asked for, where its recipe says so."""


class Ledger:
    """Reads and writes the folder of a batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._work = folder / WORK

    def prepare(self) -> None:
        """Checks that the folder can be written, and sweeps what crashed runs left. Raises: OutputError."""
        prepare(self._work / "plan")
        prepare(self.folder / "picture")

    def picture(self, prompt: str, seed: int, job: str) -> Path:
        """The file that a job's picture is meant for: its name ends in the job's id."""
        words = slug(prompt)[:40].strip("-") or "picture"
        return self.folder / on_disk(f"{words}-{seed}-{job}.png")

    def state(self, job: str) -> Path:
        """The file that keeps the state of a job that was begun."""
        return self._work / f"{job}.state"

    def find(self, path: Path, job: str) -> Path | None:
        """The finished picture of a job that is meant for `path`, or None."""
        if not path.exists():
            return None
        names = self.folder.glob(f"*-{job}*.png")
        return next((found for found in sorted(names) if job_of(found) == job), None)

    def done(self) -> dict[str, Path]:
        """Every finished job of the folder by its id, and its picture."""
        finished: dict[str, Path] = {}
        for name in sorted(_names(self.folder)):
            found = _JOB.search(name)
            if found and found[1] not in finished and job_of(self.folder / name) == found[1]:
                finished[found[1]] = self.folder / name
        return finished

    def begun(self) -> set[str]:
        """The jobs that have a state to go on from."""
        return {name.split(".")[0] for name in _names(self._work) if ".state" in name}

    def fail(self, job: str, reason: Mapping[str, Any]) -> None:
        """Remembers why a job failed, and takes its state away: it begins anew. Raises: OutputError."""
        self.forget(job)
        publish(self._work / f"{job}.failed", json.dumps(reason).encode(), overwrite=True, durable=False)

    def failures(self) -> dict[str, dict[str, Any]]:
        """Why the jobs failed that did, by id; what cannot be read is passed over."""
        found: dict[str, dict[str, Any]] = {}
        for name in sorted(_names(self._work)):
            if name.endswith(".failed"):
                with contextlib.suppress(OSError, ValueError):
                    reason = json.loads((self._work / name).read_bytes())
                    found[name.removesuffix(".failed")] = reason if isinstance(reason, dict) else {}
        return found

    def finish(self, job: str) -> None:
        """Removes all that is kept of a job beside its finished picture."""
        self.forget(job)
        for path in self.folder.glob(f"*-{job}{UNFINISHED}"):
            path.unlink(missing_ok=True)

    def forget(self, job: str) -> None:
        """Removes the state of a job, and the reason why it failed."""
        for suffix in (".state", ".state.old", ".failed"):
            with contextlib.suppress(OSError):
                (self._work / f"{job}{suffix}").unlink(missing_ok=True)

    def tidy(self, finished: Iterable[str]) -> None:
        """Removes what finished jobs and dead processes left behind."""
        left = {name.split(".")[0] for name in _names(self._work)}
        left |= {name.removesuffix(UNFINISHED).rpartition("-")[2] for name in _names(self.folder) if UNFINISHED in name}
        for job in left.intersection(finished):
            self.finish(job)
        sweep(self._work)
        sweep(self.folder)

    def write_plan(self, jobs: Iterable[Mapping[str, Any]]) -> None:
        """Writes down all jobs, a JSON object a line, so that `read_plan` gives them back. Raises: OutputError."""
        lines = [{"vqclip": "batch", "schema": SCHEMA}, *jobs]
        text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
        publish(self._work / "jobs.jsonl", text.encode(), overwrite=True)

    def read_plan(self) -> list[dict[str, Any]]:
        """The jobs of the last batch in this folder, which anyone may have written. Raises: UsageError."""
        path = self._work / "jobs.jsonl"
        try:
            if path.stat().st_size > MAX_PLAN:
                raise UsageError(f"{path}: too large for a plan")
            head, *jobs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except OSError as error:
            raise UsageError(
                f"{self.folder} is no folder of a batch", hint="name one that `vqclip batch` filled"
            ) from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}: damaged", hint="run the same `vqclip batch` command again") from error
        if not isinstance(head, dict) or head.get("schema") != SCHEMA or not all(isinstance(one, dict) for one in jobs):
            raise UsageError(f"{path}: not a plan that this version of vqclip reads")
        return jobs


def job_of(path: Path) -> str | None:
    """The id of the job whose finished, whole picture this is; None for anything else."""
    try:
        with path.open("rb") as file:
            file.seek(-len(_END_OF_PNG), os.SEEK_END)
            if file.read() != _END_OF_PNG:
                return None
            file.seek(0)
            recipe = read_recipe(file, name=path.name)
    except (OSError, PictureError):
        return None
    job = recipe.get("job")
    return job if isinstance(job, str) and recipe.get("stopped") in (None, AT_PLATEAU) else None


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise output_error(error, folder) from error
