"""From footage and settings to restyled frames: reads frame after frame, follows what moves, paints over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vqclip.engine.canvas import State
from vqclip.engine.restyle import Manner, Take, restyle
from vqclip.engine.thrift import Thrift
from vqclip.errors import UsageError
from vqclip.events import Frame
from vqclip.films import Reel, RestyleSettings
from vqclip.ops.losses import LatentAnchor
from vqclip.ops.pixels import fit, to_tensor
from vqclip.runs.flow import flow_between, require_flow
from vqclip.runs.footage import Footage, open_footage
from vqclip.runs.parts import Note, Parts
from vqclip.runs.shots import frame_course
from vqclip.settings import Settings

SOURCE = "source"


def first_picture(footage: Footage, settings: Settings) -> Image.Image:
    """The frame that the first picture is painted over. Raises: PictureError."""
    return next(footage.pictures(background=settings.background, note=lambda _: None))


def held_by_source(parts: Parts, film: Reel) -> Parts:
    """The parts of the first picture, which its frame holds as hard as later ones theirs."""
    if not isinstance(film, RestyleSettings) or not film.source_weight:
        return parts
    return replace(parts, extras=[*parts.extras, (SOURCE, film.source_weight, LatentAnchor(parts.latent))])


def restyled_frames(
    parts: Parts,
    film: RestyleSettings,
    footage: Footage,
    state: State,
    *,
    device: torch.device,
    note: Note,
    thrift: Thrift | None = None,
) -> Iterator[Frame]:
    """Yields the frames still to come after `state`, as `engine.restyle.restyle` does.

    Raises: as that; PictureError if a frame cannot be read, UsageError if motion cannot be followed.
    """
    if film.flow:
        require_flow()
    settings = parts.settings
    course = frame_course(parts, film, steps=film.steps_per_frame)
    cut = replace(
        course,
        steps=settings.steps or 0,
        learning_rate=settings.learning_rate or course.learning_rate,
        schedule=settings.schedule or "constant",
    )
    extras = [extra for extra in parts.extras if extra[0] != SOURCE]
    manner = Manner(parts.looks, course, cut, parts.cutouts, film.source_weight, film.keep, film.hold, extras)
    takes = _takes(footage, settings, film, state.get("frame", -1) + 1, device, _once(note))
    how = {"takes": lambda _: next(takes), "frames": film.frames, "manner": manner, "thrift": thrift}
    return restyle(parts.vqgan, parts.vqgan, state, **how)


def footage_values(footage: Footage) -> dict[str, Any]:
    """What a run keeps of its footage, from which `read_footage` finds it again."""
    return {"path": str(footage.path), "sha256": footage.digest}


def read_footage(values: Mapping[str, Any], film: Reel) -> Footage:
    """The footage that a film was begun with. Raises: PictureError if it is gone, UsageError if it has changed."""
    footage = open_footage(Path(str(values.get("path"))), fps=film.fps, at_most=film.frames)
    if footage.digest != values.get("sha256") or footage.frames != film.frames:
        raise UsageError(
            f"{str(footage.path)!r} is not what this film was begun with", hint="put it back, or begin a new film"
        )
    return footage


def footage_facts(footage: Footage) -> dict[str, Any]:
    """What a film's recipe says of its footage: name and digest."""
    return {"footage": {footage.path.name: footage.digest}}


def _takes(
    footage: Footage, settings: Settings, film: RestyleSettings, start: int, device: torch.device, note: Note
) -> Iterator[Take]:
    """The frames from number `start` on, each with the one before it; two are in memory."""
    first = max(start - 1, 0)
    pictures = footage.pictures(first, background=settings.background, note=note)
    size = (settings.width or 0, settings.height or 0)
    before: Image.Image | None = None
    for number, picture in enumerate((fit(one, *size) for one in pictures), start=first):
        if number >= start:
            yield _take(picture, before, film.flow, device)
        before = picture


def _take(picture: Image.Image, before: Image.Image | None, flow: bool, device: torch.device) -> Take:
    source = to_tensor(picture).to(device)
    if before is None:
        return Take(source)
    earlier = to_tensor(before).to(device)
    if not flow:
        return Take(source, earlier)
    return Take(source, earlier, _flow(picture, before, device), _flow(before, picture, device))


def _flow(here: Image.Image, there: Image.Image, device: torch.device) -> Tensor:
    return torch.from_numpy(flow_between(here, there)).permute(2, 0, 1)[None].contiguous().to(device)


def _once(note: Note) -> Callable[[str], None]:
    """Notes each thing only once: what is odd about one frame is odd about a thousand."""
    told: set[str] = set()

    def tell(text: str) -> None:
        if text not in told:
            told.add(text)
            note(text)

    return tell
