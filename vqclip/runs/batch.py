"""A batch from jobs to pictures: who paints them, what is left to paint, and what is written down about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqclip.errors import UsageError
from vqclip.presets import Preset, merge, preset_from_recipe
from vqclip.runs.cores import allowed_cores, usual_threads
from vqclip.runs.inputs import read_devices
from vqclip.runs.jobs import Job, make_job
from vqclip.runs.painter import Note, Report, paint_job
from vqclip.runs.recipe import plain_settings
from vqclip.settings import Delivery, Settings
from vqclip.sinks.ledger import Ledger
from vqclip.sinks.play import StopFlag

STATE_EVERY = 100
CORES_OF_A_WORKER = 2

Crew = Callable[[Sequence[Job], StopFlag, Note], Iterator[Report]]


@dataclass(frozen=True)
class Standing:
    """How a batch stands: its finished jobs and their pictures, why others failed, and which of the rest are begun."""

    done: Mapping[str, Path]
    failed: Mapping[str, Mapping[str, Any]]
    begun: frozenset[str]
    left: Sequence[Job]


def standing(jobs: Sequence[Job], ledger: Ledger) -> Standing:
    """Looks into the folder; loads no torch. left holds what the next run would paint, failed jobs among it."""
    wanted = {job.id for job in jobs}
    done = {job: path for job, path in ledger.done().items() if job in wanted}
    failed = {job: reason for job, reason in ledger.failures().items() if job in wanted and job not in done}
    left = [job for job in jobs if job.id not in done]
    return Standing(done, failed, frozenset(ledger.begun() & {job.id for job in left}), left)


def choose_crew(ledger: Ledger, delivery: Delivery, *, workers: str = "1", ray: str | None = None) -> Crew:
    """Who paints: this process ("1"), several ("3", or "auto": one for each GPU or pair of cores), or a Ray cluster.

    Raises: UsageError for a cluster that does not answer, and for several painters on a list of devices.
    """
    if len(read_devices(delivery.device)) > 1 and (ray or workers != "1"):
        raise UsageError(
            f"--device {delivery.device}: these devices paint each picture together, by one process",
            hint="leave out --workers and --ray, or name one --device",
        )
    if delivery.state_every is None:
        delivery = delivery.model_copy(update={"state_every": STATE_EVERY})
    if ray:
        from vqclip.runs.cluster import Cluster

        cluster = Cluster(ray, painters=None if workers == "auto" else int(workers), threads=delivery.threads)
        return lambda jobs, stop, note: cluster.paint(jobs, ledger, delivery, stop=stop, note=note)
    shares = [delivery] if workers == "1" else _shares(delivery, workers)
    if len(shares) == 1:
        return lambda jobs, stop, note: _alone(jobs, ledger, shares[0], stop=stop, note=note)
    from vqclip.runs.workers import paint_in_processes

    return lambda jobs, stop, note: paint_in_processes(jobs, ledger, shares, stop=stop, note=note)


def read_workers(text: str | None, *, ray: bool = False) -> str:
    """How many processes paint; if nobody says one, or as many as a Ray cluster has room for.

    Raises: UsageError unless it is `auto`, or a number.
    """
    if text is None:
        return "auto" if ray else "1"
    if text == "auto" or (re.fullmatch("[0-9]{1,4}", text) and int(text)):
        return text
    raise UsageError(f"--workers {text!r:.80} is no number of processes", hint="write a number, or auto")


def paint_batch(
    jobs: Sequence[Job], stands: Standing, ledger: Ledger, crew: Crew, *, stop: StopFlag, note: Note
) -> Iterator[Report]:
    """Paints what is left and reports on each job; failures are written down, and what is over is tidied up.

    jobs are all of the batch, which may be more than those whose standing this is: a shard paints only its own.

    Raises: OutputError if the folder cannot be written.
    """
    ledger.write_plan({"id": job.id, "line": job.line, "settings": plain_settings(job.settings)} for job in jobs)
    finished = set(stands.done)
    try:
        for report in crew(stands.left, stop, note):
            if report.path is not None:
                finished.add(report.job.id)
                ledger.finish(report.job.id)
            elif report.failure is not None:
                ledger.fail(report.job.id, {**report.failure.facts(), "line": report.job.line})
            yield report
    finally:
        ledger.tidy(finished)


def planned_jobs(ledger: Ledger, given: Mapping[str, Any], note: Note) -> list[Job]:
    """The jobs of the batch that filled a folder. given names the files they were painted with, which a plan may not.

    Raises: UsageError if the plan cannot be read, needs a file that is not given, or another one than this.
    """
    jobs = []
    for entry in ledger.read_plan():
        preset = preset_from_recipe(entry, name="the plan")
        _require_given(preset, given)
        files = {key: value for key, value in given.items() if key in preset.dropped}
        line = entry.get("line")
        settings = Settings.make(merge(preset.settings, files), source="the plan")
        job = make_job(settings, line if isinstance(line, int) else 0, note)
        if job.id != entry.get("id"):
            raise UsageError(
                "a model, a picture or this version of vqclip is not the one that the batch was planned with",
                hint="run the `vqclip batch` command itself again",
            )
        jobs.append(job)
    return jobs


def take_shard(jobs: Sequence[Job], text: str) -> list[Job]:
    """The i-th of n parts of all jobs, written i/n, counted from 1. Raises: UsageError for anything else."""
    number, _, of = text.partition("/")
    plain = all(re.fullmatch("[0-9]{1,9}", one) for one in (number, of))
    if not (plain and 1 <= int(number) <= int(of)):
        raise UsageError(f"--shard {text!r} is no part", hint="write --shard 1/4, 2/4, 3/4 and 4/4")
    return list(jobs[int(number) - 1 :: int(of)])


def _alone(jobs: Sequence[Job], ledger: Ledger, delivery: Delivery, *, stop: StopFlag, note: Note) -> Iterator[Report]:
    for job in jobs:
        if stop:
            return
        yield paint_job(job, ledger, delivery, stop=stop, note=note)


def _shares(delivery: Delivery, workers: str) -> list[Delivery]:
    """A delivery for each worker: its device, its part of the cores, and no bar of its own."""
    gpus = _gpus(delivery.device)
    cores = len(allowed_cores())
    number = int(workers) if workers != "auto" else gpus or max(1, cores // CORES_OF_A_WORKER)
    threads = delivery.threads or max(1, min(usual_threads(), cores // number))
    return [
        delivery.model_copy(
            update={"device": f"cuda:{n % gpus}" if gpus else delivery.device, "threads": threads, "quiet": True}
        )
        for n in range(number)
    ]


def _gpus(device: str) -> int:
    """How many GPUs there are to share; 0 if the device is named otherwise."""
    if device not in ("auto", "cuda"):
        return 0
    import torch

    return torch.cuda.device_count()


def _require_given(preset: Preset, given: Mapping[str, Any]) -> None:
    missing = [key for key in preset.dropped if key not in given]
    if missing:
        raise UsageError(
            f"the batch was painted with a file of its own ({missing[0]}), and a plan may not open files",
            hint="run the `vqclip batch` command itself again, or name the file here",
        )
