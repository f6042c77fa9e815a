"""Carries a batch out for `batch` and `resume`: says what is there, what is painted, what failed, and how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqclip.cli import say
from vqclip.cli.limit import limited
from vqclip.cli.options import Asked
from vqclip.errors import PartialError
from vqclip.settings import Delivery
from vqclip.words import counted

if TYPE_CHECKING:
    from vqclip.runs.batch import Standing
    from vqclip.runs.jobs import Job
    from vqclip.runs.painter import Report
    from vqclip.sinks.ledger import Ledger

MOST_FAILURES = 20


def show_standing(jobs: Sequence[Job], folder: Path, delivery: Delivery, own: Mapping[str, Any]) -> int:
    """Prints what is done, failed and left, of the shard if one was said. Returns 0. Loads no torch.

    own holds what was said of the batch, and is checked as if it were to be painted. Raises: UsageError.
    """
    from vqclip.runs.batch import standing
    from vqclip.sinks.ledger import Ledger

    mine, _ = _share(jobs, own)
    stands = standing(mine, Ledger(folder))
    counts = _counts(mine, stands)
    if delivery.json_lines:
        say.json_line({"event": "status", **counts, "failures": dict(stands.failed)})
        return 0
    say.data("\n".join(f"{name:8} {number}" for name, number in counts.items()))
    for job, reason in list(stands.failed.items())[:MOST_FAILURES]:
        say.data(f"{job}: line {reason.get('line')}: {reason.get('message')}")
    return 0


def carry_out_batch(jobs: Sequence[Job], folder: Path, asked: Asked, own: Mapping[str, Any]) -> int:
    """Paints what is missing in the folder, or shows the plan. Returns the exit code.

    own holds what was said of the batch (workers, ray, shard) and `words`, the whole command, to print how to go on.

    Raises: PartialError if some failed; OutputError; UsageError.
    """
    from vqclip.runs.batch import choose_crew, paint_batch, standing
    from vqclip.runs.cores import share_cores
    from vqclip.sinks.ledger import Ledger

    ledger, delivery = Ledger(folder.resolve()), asked.delivery
    mine, workers = _share(jobs, own)
    if asked.dry_run:
        return _show_plan(mine, ledger, delivery)
    ledger.prepare()
    stands = standing(mine, ledger)
    teller = _Teller(delivery, len(mine), len(mine) - len(stands.left))
    teller.begin(_counts(mine, stands), folder)
    if not stands.left:
        ledger.tidy(stands.done)
        _write_grid(mine, ledger, own, teller.note)
        return 0
    share_cores()
    crew = choose_crew(ledger, delivery, workers=workers, ray=own.get("ray"))
    with limited(asked) as stop:
        for report in paint_batch(jobs, stands, ledger, crew, stop=stop, note=teller.note):
            stop.reach(f"line {report.job.line}")
            teller.tell(report)
    teller.end()
    _write_grid(mine, ledger, own, teller.note)
    if stop.signal is not None and teller.left:
        teller.say_how_to_go_on(own["words"], folder)
        return stop.exit_code
    if teller.failures:
        raise PartialError(
            f"{len(teller.failures)} of {counted(len(mine), 'picture')} failed", hint=_reasons(teller.failures)
        )
    return 0


def _share(jobs: Sequence[Job], own: Mapping[str, Any]) -> tuple[list[Job], str]:
    """(the jobs that fall to this run, how many processes paint them). Raises: UsageError."""
    from vqclip.runs.batch import read_workers, take_shard

    workers = read_workers(own.get("workers"), ray=bool(own.get("ray")))
    return take_shard(jobs, own["shard"]) if own.get("shard") is not None else list(jobs), workers


def _write_grid(jobs: Sequence[Job], ledger: Ledger, own: Mapping[str, Any], note: Callable[[str], None]) -> None:
    """The contact sheet of what is done, in the order of the jobs, where --grid asks for it. Raises: OutputError."""
    if not own.get("grid"):
        return
    from vqclip.sinks.collection import read_pictures
    from vqclip.sinks.sheets import MOST, sheet_of, write_sheet

    done = ledger.done()
    found = read_pictures(done[job.id] for job in jobs if job.id in done)
    if not 0 < len(found) <= MOST:
        note(f"no sheet: it would show {len(found)} pictures, and 1 to {MOST} fit")
        return
    note(f"sheet: {write_sheet(ledger.folder / 'sheet.png', sheet_of(found))}")


class _Teller:
    """Says what happens: paths of pictures to stdout, or all events as JSON lines; the rest to stderr."""

    def __init__(self, delivery: Delivery, number: int, done: int) -> None:
        self._json = delivery.json_lines
        self._quiet = delivery.quiet
        self._number = number
        self._done = done
        self.failures: list[Report] = []
        self._said: set[str] = set()

    @property
    def left(self) -> int:
        """How many are neither painted nor failed."""
        return self._number - self._done - len(self.failures)

    def begin(self, counts: Mapping[str, int], folder: Path) -> None:
        """Says how the batch stands."""
        if self._json:
            say.json_line({"event": "begin", "folder": str(folder), **counts})
        elif not self._quiet:
            say.note(f"{counted(counts['jobs'], 'picture')}, {counts['done']} done, into {folder}")

    def note(self, text: str) -> None:
        """Passes a remark on, once."""
        if not self._quiet and text not in self._said:
            say.note(text)
        self._said.add(text)

    def tell(self, report: Report) -> None:
        """Says what became of a job."""
        job = {"job": report.job.id, "line": report.job.line}
        if report.path is not None:
            self._done += 1
            facts = {"path": report.path, "seed": report.job.settings.seed, "seconds": report.seconds}
            self._event("done", {**job, **facts, "steps": report.steps, "new": report.new})
            if not self._json:
                say.result(report.path)
        elif report.failure is not None:
            self.failures.append(report)
            self._event("failed", {**job, **report.failure.facts()})
            if report.failure.traceback and not (self._json or self._quiet):
                say.trace(report.failure.traceback)
            if not self._json:
                say.failure(f"line {report.job.line}: {report.failure.message}", report.failure.hint, 3)
        else:
            self._event("stopped", {**job, "steps": report.steps})

    def end(self) -> None:
        """Sums up."""
        self._event("end", {"done": self._done, "failed": len(self.failures), "left": self.left})

    def say_how_to_go_on(self, words: Sequence[str], folder: Path) -> None:
        """Prints the line that resumes: the words of this very command, or the folder if its prompts were piped in."""
        if self._quiet:
            return
        left = f"{counted(self.left, 'picture is', 'pictures are')} left"
        if "-" in words:
            say.note(f"{left}; go on with: {shlex.join(['vqclip', 'resume', str(folder)])}")
        else:
            say.note(f"{left}; the same command goes on: {shlex.join(['vqclip', *words])}")

    def _event(self, name: str, facts: Mapping[str, Any]) -> None:
        if self._json:
            say.json_line({"event": name, **facts})


def _show_plan(jobs: Sequence[Job], ledger: Ledger, delivery: Delivery) -> int:
    from vqclip.runs.estimate import estimate_all, in_words

    for job in jobs:
        prompt = "picture" if delivery.metadata == "private" else job.settings.prompt
        path = ledger.picture(prompt, job.settings.seed or 0, job.id)
        values = {**job.settings.model_dump(mode="json"), "job": job.id, "line": job.line, "output": str(path)}
        if delivery.json_lines:
            say.json_line({"plan": values})
        else:
            say.data(f"line {job.line}: {path.name}")
    if not delivery.quiet:
        say.note(counted(len(jobs), "picture"))
        say.table(in_words(estimate_all([job.settings for job in jobs], delivery)))
    return 0


def _counts(jobs: Sequence[Job], stands: Standing) -> dict[str, int]:
    left = len(stands.left) - len(stands.failed)
    counts = {"jobs": len(jobs), "done": len(stands.done), "failed": len(stands.failed)}
    return {**counts, "left": left, "begun": len(stands.begun)}


def _reasons(failures: Sequence[Report]) -> str:
    lines = [f"line {one.job.line}: {one.failure.message}" for one in failures[:MOST_FAILURES] if one.failure]
    more = [f"and {len(failures) - MOST_FAILURES} more"] if len(failures) > MOST_FAILURES else []
    return "\n".join(["the others are finished; run it again to try these once more:", *lines, *more])
