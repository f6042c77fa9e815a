"""A film, from settings to file: its first picture, its frames, each kept as it comes, and the film made of them."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from vqclip.engine.canvas import State
from vqclip.engine.film import film as film_loop
from vqclip.engine.precision import capability
from vqclip.engine.thrift import Thrift
from vqclip.errors import ModelError, UsageError, VqclipError
from vqclip.events import Frame
from vqclip.films import FILM_JOB, FilmSettings, Reel, RestyleSettings, kept_film_values
from vqclip.runs.clock import Clock
from vqclip.runs.device import memory_errors, set_threads, usable_device
from vqclip.runs.filmplan import fit_film
from vqclip.runs.footage import Footage
from vqclip.runs.inputs import require_one_device
from vqclip.runs.painting import painting
from vqclip.runs.parts import Parts, build_parts, choose_device
from vqclip.runs.plan import film_target
from vqclip.runs.planned import planned_frames, read_script, script_facts, script_values
from vqclip.runs.recipe import make_recipe
from vqclip.runs.restyle import (
    first_picture,
    footage_facts,
    footage_values,
    held_by_source,
    read_footage,
    restyled_frames,
)
from vqclip.runs.shots import make_carry, make_showing, zoom_shots
from vqclip.runs.sound import is_readable
from vqclip.runs.spending import Spending
from vqclip.settings import Delivery, Settings
from vqclip.shotlist import Script
from vqclip.sinks.codecs import choose_encoder
from vqclip.sinks.film import write_film
from vqclip.sinks.frames import STATE, SaveFrames, frame_path, read_frame, read_frames
from vqclip.sinks.play import Sink, StopFlag, play, signals
from vqclip.sinks.preview import Preview
from vqclip.sinks.progress import progress
from vqclip.sinks.publish import claim_folder, prepare, publish
from vqclip.sinks.state import SaveState, load_state, remove_state, save_state

Note = Callable[[str], None]

OPENING = "opening.state"
FORMAT = "vqclip-film"
SCHEMA = 1
_OPENING_EVERY = 25


@dataclass(frozen=True)
class FilmResult:
    """What became of a film. path is None if it was stopped or frames alone were wanted; folder holds the frames."""

    path: Path | None
    folder: Path
    settings: Settings
    film: Reel
    frames_done: int
    seconds: float
    stopped: int | None = None


def shoot(
    settings: Settings,
    film: Reel,
    delivery: Delivery,
    *,
    on_note: Note,
    script: Script | None = None,
    footage: Footage | None = None,
    stop: StopFlag | None = None,
) -> FilmResult:
    """Films a zoom, or a script, or restyles footage; settings come from `resolve`, film from `resolve_film`.

    The frames lie in a folder beside the film, with all that is needed to go on when the run is stopped (by a signal,
    or `stop`, for who listens to signals already) or killed. With delivery.fit the settings are fitted into what is
    free once, before the first picture.
    Raises: every kind of VqclipError.
    """
    path = film_target(settings, delivery)
    prepare(path)
    probe(settings, film, delivery, on_note)
    if delivery.fit:
        settings = fit_film(settings, delivery, on_note, script=script)
    folder = claim_folder(path.with_suffix(".frames"))
    path = path.with_name(folder.stem + path.suffix)
    job = _Job(folder, path, settings, film, delivery, on_note, script, footage)
    return job.run({}, stop)


def resume(
    folder: Path, *, on_note: Note, delivery: Mapping[str, Any] | None = None, stop: StopFlag | None = None
) -> FilmResult:
    """Goes on with a film at the frame after the last one that is kept; a film that was finished is only made again.

    delivery replaces what the film was begun with, key by key (quiet, preview, ...). The folder is trusted as the
    command line is: it says which models to load.
    Raises: UsageError if the folder holds no film; every kind of VqclipError.
    """
    named = folder if folder.name not in ("", "..") else folder.resolve()  # the film lies beside it, by its name
    job, models = _read_job(named, on_note, dict(delivery or {}))
    probe(job.settings, job.film, job.delivery, on_note)
    return job.run(models, stop)


def is_film(folder: Path) -> bool:
    """Whether a folder holds a film that `resume` can go on with."""
    return (folder / FILM_JOB).is_file()


def probe(settings: Settings, film: Reel, delivery: Delivery, on_note: Note) -> None:
    """Looks at device and encoder before anything is painted.

    Raises: UsageError for several devices, or one that is not here; OutputError if there is no encoder.
    """
    require_one_device(delivery.device)
    usable_device(delivery.device)
    if delivery.film_format != "frames":
        size = (settings.width or 256, settings.height or 256)
        _, note = choose_encoder(delivery.film_format, *size, rate(film.fps))
        if note:
            on_note(note)


def rate(fps: float) -> Fraction:
    """Frames per second as a fraction that containers can hold."""
    return Fraction(fps).limit_denominator(1001)


@dataclass(frozen=True)
class _Job:
    """One film on its way: its folder of frames, the file it is meant for, and all that it depends on."""

    folder: Path
    path: Path
    settings: Settings
    film: Reel
    delivery: Delivery
    note: Note
    script: Script | None = None
    footage: Footage | None = None

    def run(self, models: Mapping[str, str], stop: StopFlag | None) -> FilmResult:
        """Paints what is missing and makes the film. models are the digests it was begun with, none for a new one."""
        started = time.monotonic()
        threads = set_threads(self.delivery.threads)
        torch.use_deterministic_algorithms(self.delivery.deterministic, warn_only=True)
        device = choose_device(self.delivery.device)
        with signals() if stop is None else nullcontext(stop) as stop, memory_errors("film"):
            parts = self._parts(device)
            self._same_models(models, parts)
            job = replace(self, settings=parts.settings)
            recipe = make_recipe(
                parts.settings,
                parts.models,
                film=self.film.model_dump(mode="json"),
                device=str(device),
                capability=capability(),
                threads=threads,
                **(script_facts(self.script) if self.script else {}),
                **(footage_facts(self.footage) if self.footage else {}),
            )
            if not models:
                job.write(parts, threads)
            try:
                with memory_errors("film"):
                    done = job.paint(parts, recipe, device, stop)
                path = None if stop or self.delivery.film_format == "frames" else job.make(recipe)
            except VqclipError as error:
                error.hint = f"{error.hint + '; ' if error.hint else ''}what is done is kept in {self.folder}"
                raise
        return FilmResult(path, self.folder, parts.settings, self.film, done, time.monotonic() - started, stop.signal)

    def write(self, parts: Parts, threads: int) -> None:
        """Writes down everything that `resume` needs. Raises: OutputError."""
        values = {
            "format": FORMAT,
            "schema": SCHEMA,
            "path": self.path.name,
            "settings": self.settings.model_dump(mode="json", exclude_none=True),
            "film": self.film.model_dump(mode="json"),
            "delivery": {**self.delivery.model_dump(mode="json"), "threads": threads, "output": None},
            "models": parts.models,
            "script": script_values(self.script) if self.script else None,
            "footage": footage_values(self.footage) if self.footage else None,
        }
        publish(self.folder / FILM_JOB, (json.dumps(values, indent=2) + "\n").encode(), overwrite=True)

    def paint(self, parts: Parts, recipe: dict[str, Any], device: torch.device, stop: StopFlag) -> int:
        """Paints all frames that are still missing, and gives how many there are then.

        What was done when memory ran out is said, and written into the recipe; it holds for all frames of this run.
        """
        thrift = Thrift(parts.settings.micro_batch, bool(parts.settings.lean))
        tell = Spending(thrift, recipe, self.note)
        try:
            state = self._state(parts, thrift, tell, stop)
            if state is None:
                return 0
            loop = self._loop(parts, state, device, thrift)
            before = state.get("frame", -1) + 1
            sinks = [tell, SaveFrames(self.folder, recipe=recipe), *self._shows(stop, parts.settings.prompt)]
            last: Frame | None = play(loop, *sinks, stop=stop)
        finally:
            tell()
        remove_state(self.folder / OPENING)
        done = before if last is None else last.index + 1
        if stop:
            self.note(f"stopped after frame {done} of {self.film.painted}; {self._how_to_go_on()}")
        return done

    def _parts(self, device: torch.device) -> Parts:
        how: dict[str, Any] = {"device": device, "offline": self.delivery.offline, "note": self.note}
        if self.footage is None:
            return build_parts(self.settings, encoder=True, **how)
        first = first_picture(self.footage, self.settings)
        return held_by_source(build_parts(self.settings, encoder=True, picture=first, **how), self.film)

    def _loop(self, parts: Parts, state: State, device: torch.device, thrift: Thrift) -> Iterator[Frame]:
        how: dict[str, Any] = {"device": device, "note": self.note, "thrift": thrift}
        if isinstance(self.film, RestyleSettings):
            assert self.footage is not None
            return restyled_frames(parts, self.film, self.footage, state, **how)
        assert isinstance(self.film, FilmSettings)
        how["offline"] = self.delivery.offline
        if self.script is not None:
            return planned_frames(parts, self.film, self.script.shots, state, **how)
        shots = zoom_shots(parts, self.film, **how)
        show = {"carry": make_carry(self.film), "showing": make_showing(self.film), "thrift": thrift}
        return film_loop(parts.vqgan, parts.vqgan, state, shots=shots, frames=self.film.painted, **show)

    def make(self, recipe: Mapping[str, Any]) -> Path:
        """Makes the film of the frames in the folder. Raises: OutputError, PictureError if one is missing."""
        paths = [frame_path(self.folder, index) for index in range(self.film.painted)]
        return write_film(
            self.path,
            read_frames(paths, loop=self.film.painted - self.film.frames),
            size=read_frame(paths[0]).size,
            fps=rate(self.film.fps),
            recipe=recipe,
            private=self.delivery.metadata == "private",
            overwrite=self.delivery.overwrite,
            sound=self._sound(),
            on_note=self.note,
        )

    def _sound(self) -> Path | None:
        told = self.script or self.footage
        sound = told.sound if told else None
        if sound is not None and not sound.is_file():
            self.note(f"{sound} is gone: the film is silent")
            return None
        if sound is not None and self.footage and not is_readable(sound, seconds=self.film.frames / self.film.fps):
            self.note(f"the sound of {sound.name} is damaged: the film is silent")
            return None
        return sound

    def _state(self, parts: Parts, thrift: Thrift, tell: Sink, stop: StopFlag) -> State | None:
        """The state to film from: that of the last frame, or of the first picture, painted now; None if stopped."""
        if (self.folder / STATE).exists():
            return load_state(self.folder / STATE)[0]
        path = self.folder / OPENING
        begun = load_state(path)[0] if path.exists() else None
        keep = SaveState(path, every=_OPENING_EVERY)
        shows = [Clock(parts.settings, self.delivery, thrift), *self._shows(stop, parts.settings.prompt)]
        last = play(painting(parts, begun, thrift), tell, keep, *shows, stop=stop)
        if last is not None and last.is_last:
            return last.state()
        if last is not None:
            save_state(path, last.state())
        self.note(f"stopped at the first picture; {self._how_to_go_on()}")
        return None

    def _shows(self, stop: StopFlag, title: str) -> list[Sink]:
        delivery = self.delivery
        shown: list[Sink] = [progress(title or "film", quiet=delivery.quiet, json_lines=delivery.json_lines, stop=stop)]
        if delivery.preview:
            shown.append(Preview(Path(delivery.preview), every=delivery.preview_every, on_note=self.note))
        return shown

    def _how_to_go_on(self) -> str:
        return f"go on with: {shlex.join(['vqclip', 'resume', str(self.folder)])}"

    def _same_models(self, models: Mapping[str, str], parts: Parts) -> None:
        changed = [name for name, digest in models.items() if parts.models.get(name) != digest]
        if changed:
            raise ModelError(
                f"{changed[0]} is not the model that this film was begun with",
                hint="put that model back, or begin a new film",
            )


def _read_job(folder: Path, note: Note, changes: dict[str, Any]) -> tuple[_Job, Mapping[str, str]]:
    try:
        values = json.loads((folder / FILM_JOB).read_text(encoding="utf-8"))
        if (values["format"], values["schema"]) != (FORMAT, SCHEMA):
            raise ValueError(f"it is of the kind {values['format']!r}, schema {values['schema']!r}")
        settings = Settings.make(values["settings"], source=FILM_JOB)
        film = kept_film_values(values["film"], restyled=bool(values.get("footage")))
        delivery = Delivery(**{**values["delivery"], **changes})
        path = folder.with_name(Path(values["path"]).name)
        script = read_script(values["script"]) if values.get("script") else None
        kept = values.get("footage")
        models = dict(values["models"])
    except FileNotFoundError as error:
        raise UsageError(
            f"{str(folder)!r} holds no film to go on with", hint="give the folder of its frames"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise UsageError(f"{folder / FILM_JOB} is damaged: {error}", hint="begin a new film") from error
    footage = read_footage(kept, film) if kept else None
    return _Job(folder, path, settings, film, delivery, note, script, footage), models
