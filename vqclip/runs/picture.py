"""One picture, from settings to file: nothing is lost, whatever happens on the way."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vqclip.engine.canvas import State
from vqclip.engine.precision import capability
from vqclip.engine.thrift import Thrift, is_out_of_memory
from vqclip.errors import DivergedError, MemoryFullError, OutputError, UsageError
from vqclip.events import Step
from vqclip.ops.clarity import Showing
from vqclip.ops.pixels import to_picture
from vqclip.runs.clock import Clock
from vqclip.runs.device import REMEDIES, memory_errors, set_threads, usable_devices
from vqclip.runs.estimate import fit
from vqclip.runs.inputs import check_devices
from vqclip.runs.painting import painting
from vqclip.runs.parts import Parts, build_parts, showing_of
from vqclip.runs.plan import resolve, target
from vqclip.runs.recipe import make_recipe
from vqclip.runs.resume import earlier_state, with_state
from vqclip.runs.spending import Spending
from vqclip.settings import SEEDS, Delivery, Settings
from vqclip.sinks.codecs import choose_encoder
from vqclip.sinks.film import FilmFile
from vqclip.sinks.images import SavePicture, save_result
from vqclip.sinks.ledger import AT_PLATEAU, job_of
from vqclip.sinks.making import EASE, EASE_OF_PICTURES, MakingOf
from vqclip.sinks.play import Sink, StopFlag, play, signals
from vqclip.sinks.preview import Preview
from vqclip.sinks.progress import progress
from vqclip.sinks.publish import prepare
from vqclip.sinks.state import SaveState, remove_state, save_state
from vqclip.store.folder import digest

if TYPE_CHECKING:
    from PIL import Image

Note = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What became of a run. path is None if it was stopped before there was any picture; stopped is the signal.

    state is the file from which a stopped run can go on, film the film of its making, if one was wanted.
    """

    path: Path | None
    settings: Settings
    seconds: float
    steps_done: int
    stopped: int | None = None
    state: Path | None = None
    film: Path | None = None


def generate(prompt: str, *, device: str = "auto", offline: bool = False, **settings: Any) -> Image.Image:
    """Paints a picture and gives it as a PIL picture; settings are the fields of `vqclip.settings.Settings`.

    offline keeps a missing CLIP from being fetched. The picture's recipe, with its seed, is in `.info["vqclip"]`; what
    there is to remark comes as a warning.

    Raises: UsageError, ModelError, PictureError, DivergedError, MemoryFullError.
    """
    if settings.get("seed") is None:
        settings["seed"] = secrets.randbelow(SEEDS)
    resolved, notes = resolve(Settings.make({"prompt": prompt, **settings}, source="generate").check())
    for text in notes:
        _warn(text)
    with memory_errors():
        check_devices(resolved, device)
        where, *others = usable_devices(device)
        parts = build_parts(resolved, device=where, others=others, offline=offline, note=_warn)
        last = play(painting(parts))
    assert last is not None
    picture = to_picture(showing_of(parts.settings)(last.image))
    facts = {"device": _names([where, *others]), "threads": torch.get_num_threads(), "steps_done": last.index}
    picture.info["vqclip"] = make_recipe(parts.settings, parts.models, capability=capability(), **facts)
    return picture


def paint_picture(settings: Settings, delivery: Delivery, *, on_note: Note, stop: StopFlag | None = None) -> Result:
    """Paints one picture into a file, with its recipe inside; settings come from `resolve`.

    A signal (or `stop`, for who listens to signals already) ends the step, saves picture and state, and is told in the
    result; of a batch's job only the state is saved. Out of memory and divergence save the last good picture before
    they are raised.
    Raises: every kind of VqclipError.
    """
    started = time.monotonic()
    path = target(settings, delivery)
    prepare(path)
    delivery = with_state(delivery, path)
    probe_film(settings, delivery)
    threads = set_threads(delivery.threads)
    check_devices(settings, delivery.device, graph=delivery.graph)
    device, *others = usable_devices(delivery.device)
    if delivery.graph:
        _require_fixed_shapes(settings)
    if device.type != "cpu" and delivery.device == "auto":
        on_note(f"painting on {device}; --device overrules that")
    torch.use_deterministic_algorithms(delivery.deterministic, warn_only=True)
    if delivery.fit:
        settings = fit(settings, delivery.model_copy(update={"device": str(device)}), on_note)
    with signals() if stop is None else nullcontext(stop) as stop, memory_errors():
        parts = build_parts(settings, device=device, others=others, offline=delivery.offline, note=on_note)
        facts = {"device": _names([device, *others]), "threads": threads, "job": delivery.job}
        run = _Run(parts, delivery, path, on_note, facts, earlier_state(parts, delivery, on_note))
        last = run.paint(stop)
        saved, state = run.finish(last) if last is not None else (None, None)
    steps_done = last.index if last is not None else 0
    return Result(saved, parts.settings, time.monotonic() - started, steps_done, stop.signal, state, run.film)


def _names(devices: Sequence[torch.device]) -> str:
    return ",".join(map(str, devices))


def _require_fixed_shapes(settings: Settings) -> None:
    if settings.cutout_method == "crops":
        raise UsageError("--graph needs cutouts of fixed shapes", hint="leave out --graph, or --cutout-method crops")
    if settings.cutouts_start is not None:
        raise UsageError("--graph needs as many cutouts at every step", hint="leave out --graph, or --cutouts-start")


def probe_film(settings: Settings, delivery: Delivery) -> None:
    """Tries the encoder of a film of the making, before any work. Raises: OutputError, UsageError."""
    if delivery.video and delivery.film_format == "frames":
        raise UsageError("--video --format frames: a film is one file", hint="to keep pictures, use --save-every 10")
    if delivery.video:
        size = (settings.width or 256, settings.height or 256)
        choose_encoder(delivery.film_format, *size, Fraction(delivery.fps).limit_denominator(1001))


@dataclass(frozen=True)
class _Run:
    """One painting on its way to its file."""

    parts: Parts
    delivery: Delivery
    path: Path
    note: Note
    facts: dict[str, Any]
    start: State | None = None
    films: list[MakingOf] = field(default_factory=list)

    def paint(self, stop: StopFlag) -> Step | None:
        """The last event, or None if a signal came before the first. Raises: MemoryFullError, DivergedError."""
        kept: list[Step] = []
        thrift = Thrift(self.parts.settings.micro_batch, bool(self.parts.settings.lean))
        tell = Spending(thrift, self.facts, self.note)

        def keep(event: Step) -> None:
            kept[:] = [event]
            tell()

        try:
            events = painting(self.parts, self.start, thrift, graph=self.delivery.graph)
            return play(events, keep, *self._sinks(stop, thrift), stop=stop)
        except DivergedError as error:
            where = self._rescue(error.last_good, "diverged")
            raise DivergedError(error.message, hint=f"{where}; {error.hint}", last_good=error.last_good) from error
        except OutputError as error:
            where = self._rescue(kept[0] if kept else None, "a frame could not be written")
            raise OutputError(error.message, hint=where) from error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            tell()
            where = self._rescue(kept[0] if kept else None, "out of memory")
            raise MemoryFullError("not enough memory for this picture", hint=f"{where}; {REMEDIES}") from error

    def finish(self, last: Step) -> tuple[Path | None, Path | None]:
        """Saves the last event: (the picture, the state if a signal ended the run there). Raises: OutputError."""
        kept = Path(self.delivery.state) if self.delivery.state else None
        signaled = not last.is_last
        saved = None if signaled and self.delivery.job else self.save(last, "by a signal" if signaled else None)
        state = saved.with_name(saved.name + ".state") if saved is not None else kept
        if signaled and state is not None:
            unfinished = digest(saved) if saved is not None else None
            save_state(state, last.state(), recipe=self._recipe(steps_done=last.index, picture=unfinished))
            self.note(f"stopped at step {last.index} of {last.steps}; its state is kept in {state.name}")
        if kept is not None and not (signaled and kept == state):
            remove_state(kept)
        return saved, state if signaled else None

    def save(self, last: Step, reason: str | None = None) -> Path:
        """Saves the picture of an event; reason says why it is not the finished one. Raises: OutputError."""
        job = self.delivery.job
        unfinished = job is not None and reason is not None
        return save_result(
            self._show(last.image),
            self.path.with_stem(f"{self.path.stem}.unfinished") if unfinished else self.path,
            recipe=self._recipe(steps_done=last.index, stopped=reason or self._early(last)),
            overwrite=self.delivery.overwrite or unfinished,
            private=self.delivery.metadata == "private",
            quality=self.delivery.quality,
            sidecar=self.delivery.sidecar,
            same=None if job is None else lambda path: job_of(path) == job,
        )

    def _early(self, last: Step) -> str | None:
        """Why a finished picture has fewer steps than were asked for, if it has, and says so."""
        steps = self.parts.settings.steps or 0
        if not last.is_last or last.index >= steps:
            return None
        self.note(f"stopped at step {last.index} of {steps}: nothing improved any more")
        return AT_PLATEAU

    def _rescue(self, good: Step | None, reason: str) -> str:
        if good is None:
            return "there was no picture yet to save"
        return f"the last good picture (step {good.index}) is saved as {self.save(good, reason)}"

    def _sinks(self, stop: StopFlag, thrift: Thrift) -> list[Sink]:
        delivery, settings = self.delivery, self.parts.settings
        title = settings.prompt or "picture"
        sinks: list[Sink] = [progress(title, quiet=delivery.quiet, json_lines=delivery.json_lines, stop=stop)]
        sinks.append(Clock(settings, delivery, thrift))
        if delivery.preview:
            sinks.append(
                Preview(Path(delivery.preview), every=delivery.preview_every, on_note=self.note, show=self._show)
            )
        if delivery.video:
            sinks.append(self._making_of())
        if delivery.save_every:
            frames = self.path.with_suffix("")
            resumed = self.start is not None
            sinks.append(
                SavePicture(frames, every=delivery.save_every, recipe=self._recipe(), resume=resumed, show=self._show)
            )
        if delivery.state and delivery.state_every:
            sinks.append(SaveState(Path(delivery.state), every=delivery.state_every, recipe=self._recipe()))
        return sinks

    def _making_of(self) -> MakingOf:
        delivery, settings = self.delivery, self.parts.settings
        size = (settings.width or 0, settings.height or 0)
        film = FilmFile(
            self.path.with_suffix(f".{delivery.film_format}"),
            size=size,
            fps=Fraction(delivery.fps).limit_denominator(1001),
            recipe=self._recipe(),
            private=delivery.metadata == "private",
            overwrite=delivery.overwrite,
            on_note=self.note,
        )
        frames = max(1, round(delivery.video_seconds * delivery.fps))
        ease = EASE_OF_PICTURES if settings.init in ("prior", "image") else EASE
        how: dict[str, Any] = {"fps": delivery.fps, "on_note": self.note, "ease": ease, "show": self._show}
        self.films.append(MakingOf(film, size, frames=frames, **how))
        return self.films[-1]

    @property
    def _show(self) -> Showing:
        return showing_of(self.parts.settings)

    @property
    def film(self) -> Path | None:
        """The film of the making, once `paint` is over."""
        return self.films[-1].path if self.films else None

    def _recipe(self, **facts: Any) -> dict[str, Any]:
        return make_recipe(self.parts.settings, self.parts.models, capability=capability(), **self.facts, **facts)


def _warn(text: str) -> None:
    """Passes a note on to who uses the package from Python."""
    warnings.warn(text, stacklevel=3)
