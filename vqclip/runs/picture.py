"""One picture, from settings to file: nothing is lost, whatever happens on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vqclip.engine.canvas import State, begin
from vqclip.engine.precision import capability
from vqclip.engine.recovery import with_recovery
from vqclip.engine.stages import Stage, paint_stages
from vqclip.errors import DivergedError, MemoryFullError, OutputError, UsageError
from vqclip.events import Step
from vqclip.ops.pixels import to_picture
from vqclip.runs.cores import usual_threads
from vqclip.runs.parts import Parts, build_parts, choose_device
from vqclip.runs.plan import resolve, target
from vqclip.runs.recipe import make_recipe
from vqclip.settings import Delivery, Settings
from vqclip.sinks.images import SavePicture, save_result
from vqclip.sinks.play import Sink, StopFlag, play, signals
from vqclip.sinks.preview import Preview
from vqclip.sinks.progress import progress
from vqclip.sinks.publish import prepare
from vqclip.sinks.state import save_state

if TYPE_CHECKING:
    from PIL import Image

Note = Callable[[str], None]

REMEDIES = "try --micro-batch 4, fewer --cutouts, or a smaller --size"


@dataclass(frozen=True)
class Result:
    """What became of a run. path is None if it was stopped before there was any picture; stopped is the signal."""

    path: Path | None
    settings: Settings
    seconds: float
    steps_done: int
    stopped: int | None = None


def generate(prompt: str, *, device: str = "auto", offline: bool = False, **settings: Any) -> Image.Image:
    """Paints a picture and gives it as a PIL picture; settings are the fields of `vqclip.settings.Settings`.

    offline keeps a missing CLIP from being fetched.

    Raises: UsageError, ModelError, PictureError, DivergedError, MemoryFullError.
    """
    resolved, _ = resolve(Settings.make({"prompt": prompt, **settings}, source="generate").check())
    with memory_errors():
        parts = build_parts(resolved, device=_device(device), offline=offline, note=_ignore)
        last = play(painting(parts))
    assert last is not None
    return to_picture(last.image)


def painting(parts: Parts, state: State | None = None) -> Iterator[Step]:
    """The events of a picture, from its start or from an earlier event's state, with one recovery from divergence."""
    seed = parts.settings.seed or 0

    def start(at: State, factor: float) -> Iterator[Step]:
        stages = [_slowed(stage, factor) for stage in parts.stages]
        return paint_stages(
            parts.vqgan,
            parts.looks,
            at,
            stages=stages,
            cutouts=parts.cutouts,
            extras=parts.extras,
            encoder=parts.vqgan if parts.vqgan.can_encode else None,
        )

    return with_recovery(start, state or begin(parts.latent, [seed]))


def paint_picture(settings: Settings, delivery: Delivery, *, on_note: Note) -> Result:
    """Paints one picture into a file, with its recipe inside; settings come from `resolve`.

    A signal ends the step, saves picture and state, and is told in the result. Out of memory and divergence save the
    last good picture before they are raised.
    Raises: every kind of VqclipError.
    """
    started = time.monotonic()
    path = target(settings, delivery)
    prepare(path)
    threads = set_threads(delivery.threads)
    device = _device(delivery.device)
    torch.use_deterministic_algorithms(delivery.deterministic, warn_only=True)
    with signals() as stop, memory_errors():
        parts = build_parts(settings, device=device, offline=delivery.offline, note=on_note)
        run = _Run(parts, delivery, path, on_note, {"device": str(device), "threads": threads})
        last = run.paint(stop)
        saved = run.save(last) if last is not None else None
    steps_done = last.index if last is not None else 0
    return Result(saved, parts.settings, time.monotonic() - started, steps_done, stop.signal)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turns what torch and Python raise when memory runs out into MemoryFullError with remedies."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise MemoryFullError("not enough memory for this picture", hint=REMEDIES) from error


def set_threads(wanted: int | None) -> int:
    """Sets the number of CPU threads and gives it: what was asked for, else what is usual on this machine.

    Their number can change the last bits of a picture; the recipe keeps it.
    """
    threads = wanted or usual_threads()
    torch.set_num_threads(threads)
    return threads


@dataclass(frozen=True)
class _Run:
    """One painting on its way to its file."""

    parts: Parts
    delivery: Delivery
    path: Path
    note: Note
    facts: dict[str, Any]

    def paint(self, stop: StopFlag) -> Step | None:
        """The last event, or None if a signal came before the first. Raises: MemoryFullError, DivergedError."""
        kept: list[Step] = []

        def keep(event: Step) -> None:
            kept[:] = [event]

        try:
            return play(painting(self.parts), keep, *self._sinks(stop), stop=stop)
        except DivergedError as error:
            where = self._rescue(error.last_good, "diverged")
            raise DivergedError(error.message, hint=f"{where}; {error.hint}", last_good=error.last_good) from error
        except OutputError as error:
            where = self._rescue(kept[0] if kept else None, "a frame could not be written")
            raise OutputError(error.message, hint=where) from error
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            where = self._rescue(kept[0] if kept else None, "out of memory")
            raise MemoryFullError("not enough memory for this picture", hint=f"{where}; {REMEDIES}") from error

    def save(self, last: Step, reason: str | None = None) -> Path:
        """Saves the picture of an event and, if a signal ended the run there, its state too. Raises: OutputError."""
        signaled = reason is None and not last.is_last
        recipe = self._recipe(steps_done=last.index, stopped="by a signal" if signaled else reason)
        saved = save_result(
            last.image,
            self.path,
            recipe=recipe,
            overwrite=self.delivery.overwrite,
            private=self.delivery.metadata == "private",
            quality=self.delivery.quality,
            sidecar=self.delivery.sidecar,
        )
        if signaled:
            beside = saved.with_name(saved.name + ".state")
            private = self.delivery.metadata == "private"
            save_state(beside, last.state(), recipe=None if private else recipe)
            self.note(f"stopped at step {last.index} of {last.steps}; its state is kept in {beside.name}")
        return saved

    def _rescue(self, good: Step | None, reason: str) -> str:
        if good is None:
            return "there was no picture yet to save"
        return f"the last good picture (step {good.index}) is saved as {self.save(good, reason)}"

    def _sinks(self, stop: StopFlag) -> list[Sink]:
        delivery, settings = self.delivery, self.parts.settings
        title = settings.prompt or "picture"
        sinks: list[Sink] = [progress(title, quiet=delivery.quiet, json_lines=delivery.json_lines, stop=stop)]
        if delivery.preview:
            sinks.append(Preview(Path(delivery.preview), every=delivery.preview_every, on_note=self.note))
        if delivery.save_every:
            frames = self.path.with_suffix("")
            sinks.append(SavePicture(frames, every=delivery.save_every, recipe=self._recipe()))
        return sinks

    def _recipe(self, **facts: Any) -> dict[str, Any]:
        return make_recipe(self.parts.settings, self.parts.models, capability=capability(), **self.facts, **facts)


def _device(name: str) -> torch.device:
    try:
        device = choose_device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"there is no device {name!r} here", hint="known: auto, cpu, cuda, cuda:1, mps") from error
    return device


def _slowed(stage: Stage, factor: float) -> Stage:
    return replace(stage, course=replace(stage.course, learning_rate=stage.course.learning_rate * factor))


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in text or "out of memory" in text
    )


def _ignore(text: str) -> None:
    """Takes a note and drops it."""
