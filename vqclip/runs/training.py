"""What all trainings share: their folder, the plan they keep to, how they stop, and how they go on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from vqclip.errors import OutputError, UsageError
from vqclip.events import TrainStep
from vqclip.runs.recipe import versions
from vqclip.sinks.checkpoints import Checkpoint
from vqclip.sinks.curves import LossCurves
from vqclip.sinks.play import Sink, StopFlag, play
from vqclip.sinks.publish import prepare, publish
from vqclip.sinks.training import TrainingLines
from vqclip.train.shelf import OWN_FOLDER
from vqclip.train.team import Crew, Team

Note = Callable[[str], None]
J = TypeVar("J")


class Stateful(Protocol):
    """What is trained, as its checkpoints see it."""

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a training keeps what it makes: the model at `out`, and all else in a folder beside it."""

    out: Path

    @property
    def folder(self) -> Path:
        """Plan, checkpoints, curves and sheet."""
        return self.out.with_suffix(OWN_FOLDER)

    @property
    def checkpoint(self) -> Path:
        """The newest state; the one before it lies beside it."""
        return self.folder / "checkpoint"

    @property
    def plan(self) -> Path:
        """What the training was begun with."""
        return self.folder / "plan.json"

    def prepare(self) -> None:
        """Checks before any work that all of it can be written, and that no model of another origin is in the way.

        Raises: OutputError; UsageError if the name is no .safetensors.
        """
        if self.out.suffix != ".safetensors":
            raise UsageError(f"--out {self.out}: a model is a .safetensors")
        if self.out.exists() and not self.plan.exists():
            raise OutputError(f"{self.out} is there already, and was not made here", hint="name another --out")
        prepare(self.out)
        prepare(self.plan)

    def kept_plan(self, kind: str) -> dict[str, Any] | None:
        """The plan of a training that was begun here, or None. Raises: UsageError if it is damaged or another's."""
        try:
            plan = json.loads(self.plan.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.plan} is damaged: {error}", hint=self._anew()) from error
        if not isinstance(plan, dict) or plan.get("kind") != kind:
            raise UsageError(f"{self.plan} is no plan of a {kind} training", hint=self._anew())
        return plan

    def keep_plan(self, kind: str, job: Any, training: Any, *, leads: bool = True) -> None:
        """Writes the plan: what was said, and the numbers that came of it. Raises: OutputError."""
        if leads:
            plan = {"kind": kind, "job": asdict(job), "training": asdict(training)}
            publish(self.plan, json.dumps(plan, indent=1).encode(), overwrite=True)

    def settle(self, said: Mapping[str, Any], plan: Mapping[str, Any] | None, free: Collection[str]) -> dict[str, Any]:
        """What was said, and for all else what the training was begun with; only what is free may change on the way.

        Raises: UsageError naming what was said differently before.
        """
        kept = dict((plan or {}).get("job", {}))
        for name, value in said.items():
            if name in kept and kept[name] != value and name not in free:
                raise UsageError(
                    f"{self.folder} was begun with {_word(name)} {kept[name]}, not {value}",
                    hint=f"say the same, {self._anew()}",
                )
        return kept | dict(said)

    def _anew(self) -> str:
        return f"name another --out, or remove {self.folder} to begin anew"


class Halt(StopFlag):
    """Asks to stop once a signal has come or the time is up, on all processes of a team between the same two steps."""

    def __init__(self, signals: StopFlag, team: Team, minutes: float | None) -> None:
        super().__init__()
        self._signals = signals
        self._team = team
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes

    def __bool__(self) -> bool:
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return self._team.any(bool(self._signals) or late)


@dataclass(frozen=True)
class Outcome:
    """What became of a training: its file (None: nothing to write yet), steps done and planned, and the last losses.

    exit_code is 0, or says which signal ended it.
    """

    path: Path | None
    steps_done: int
    steps: int
    losses: Mapping[str, float]
    exit_code: int


def make_job(kind: type[J], values: Mapping[str, Any]) -> J:
    """A dataclass of settings from a plan's values. Raises: UsageError if an earlier version wrote others."""
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    except TypeError as error:
        raise UsageError(f"the plan is of another version: {error}", hint="begin anew with another --out") from error


def make_recipe(training: Any, done: int, last: TrainStep | None, **facts: Any) -> dict[str, Any]:
    """What a trained model says about how it was made."""
    losses = {"losses": dict(last.losses)} if last else {}
    return {"training": asdict(training), "steps_done": done, **losses, **facts, "versions": versions()}


def drive(
    parts: Stateful,
    loop: Callable[[int], Iterable[TrainStep]],
    checkpoint: Checkpoint,
    *sinks: Sink,
    stop: StopFlag | None = None,
    leads: bool = True,
) -> tuple[int, TrainStep | None]:
    """Goes on from the last checkpoint, if there is one, to the end; only the process that leads writes anything.

    The checkpoint comes last: what the sinks keep is never behind it, and they cut off what is ahead of it.
    Gives the steps that are done, and the last event, None if there was nothing left to do.
    """
    kept = checkpoint.last()
    if kept is not None:
        parts.load(kept[1])
    start = kept[0] if kept else 0
    last = play(loop(start), *((*sinks, checkpoint) if leads else ()), stop=stop)
    return (last.index if last else start), last


def usual_sinks(place: Place, title: str, every: int, note: Note) -> list[Sink]:
    """Lines on the standard error, and the curves of the losses."""
    return [TrainingLines(title), LossCurves(place.folder / "losses", every=every, title=title, on_note=note)]


def processes() -> int:
    """How many processes torchrun started for this training: 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join_team(device: torch.device) -> tuple[Team, torch.device]:
    """The team of this process as torchrun says, and the device that is its own."""
    if processes() == 1:
        return Team(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    return Crew(device), device


def _word(name: str) -> str:
    """A setting as its flag says it."""
    return {"origin": "from", "origin_config": "from config"}.get(name, name.replace("_", " "))
