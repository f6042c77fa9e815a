"""A film from pictures that are there: kept frames of a film, of a painting, or anything else of one size."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from PIL import Image

from vqclip.errors import PictureError, VqclipError
from vqclip.films import loop_frames
from vqclip.runs.planned import read_script, script_facts
from vqclip.runs.recipe import plain_settings
from vqclip.settings import Settings
from vqclip.sinks.film import write_film
from vqclip.sinks.frames import frame_files, read_frame, read_frames
from vqclip.sinks.interpolate import interpolated
from vqclip.sinks.metadata import read_recipe
from vqclip.sinks.publish import prepare

FPS = 24.0
JOB = "film.json"


def encode(
    folder: Path,
    path: Path,
    *,
    fps: float | None = None,
    seconds: float | None = None,
    loop: bool = False,
    hold: float = 0.0,
    interpolate: float | None = None,
    sound: Path | None = None,
    overwrite: bool = False,
    on_note: Callable[[str], None],
) -> Path:
    """Makes a film of a folder's pictures, in natural order, and gives its path; its kind is the suffix of `path`.

    fps is by default that of the film whose frames they are, else 24; seconds sets it by the film's length. A film
    that was painted as a loop is made one again; with `loop` any other one too, by fading. sound is heard in it.
    Raises: UsageError, PictureError, OutputError.
    """
    paths = frame_files(folder)
    job = _job(folder)
    recipe = _told(job) or _carried(paths[0])
    film = recipe.get("film") if isinstance(recipe.get("film"), dict) else {}
    overlap = _whole(film.get("loop")) if len(paths) == _whole(film.get("frames")) + _whole(film.get("loop")) else 0
    speed = fps or (_number(film.get("fps")) or FPS)
    if loop and not overlap and len(paths) > 2:
        overlap = loop_frames(len(paths), speed)
    count = len(paths) - overlap
    if seconds:
        speed = min(max(count / seconds, 1.0), 240.0)
    prepare(path)
    rate = Fraction(speed).limit_denominator(1001)
    pictures: Iterable[Image.Image] = read_frames(paths, loop=overlap)
    if hold:
        pictures = chain(pictures, _held(paths[count - 1], round(hold * rate)))
    size = read_frame(paths[0]).size
    if interpolate:
        target = Fraction(interpolate).limit_denominator(1001)
        pictures, rate = interpolated(pictures, size=size, fps=rate, to=target), max(target, rate)
    delivery = job.get("delivery")
    private = isinstance(delivery, dict) and delivery.get("metadata") == "private"
    how = {"recipe": recipe, "private": private, "overwrite": overwrite, "sound": sound, "on_note": on_note}
    return write_film(path, pictures, size=size, fps=rate, **how)


def _job(folder: Path) -> Mapping[str, Any]:
    """What the folder says about its frames: nothing in it is trusted."""
    try:
        values = json.loads((folder / JOB).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _told(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipe of the film whose frames they are, files of its own without their folders; {} where it is not ours."""
    try:
        settings = plain_settings(Settings.make(job["settings"]))
    except (KeyError, TypeError, ValueError, VqclipError):
        return {}
    kept = {key: job[key] for key in ("schema", "film", "models") if key in job}
    return {"schema": 1, **kept, "settings": settings, **_origin(job)}


def _carried(first: Path) -> Mapping[str, Any]:
    """The recipe in the first picture, or {}."""
    try:
        with first.open("rb") as file:
            return read_recipe(file, name=first.name)
    except (OSError, PictureError):
        return {}


def _origin(job: Mapping[str, Any]) -> dict[str, Any]:
    """The film file, the story or the clip that a film was made of, as its recipe tells it."""
    try:
        if job.get("script"):
            return script_facts(read_script(job["script"]))
        if job.get("footage"):
            return {"footage": {Path(job["footage"]["path"]).name: job["footage"]["sha256"]}}
    except (ValueError, KeyError, TypeError):
        pass  # whoever wrote it, it is no film of ours
    return {}


def _held(path: Path, count: int) -> Iterator[Image.Image]:
    return repeat(read_frame(path), count)


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 240 else 0.0
