"""All that a film depends on beside its first picture: length, motion, how it is painted on. Each default is here."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from vqclip.errors import UsageError
from vqclip.settings import Checked
from vqclip.words import counted

Pair = tuple[float, float]
Carrying = Literal["picture", "state", "cells"]
Change = Literal["sketch", "paint"]
RimKind = Literal["mirror", "wrap", "smear", "fresh"]
MOST_FRAMES = 1_000_000
FILM_JOB = "film.json"
"""The file in a film's folder of frames that says how it was begun."""
_SPEED = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*(/s|/f)?\s*")


class Reel(Checked):
    """What every film has, beside the settings of its first picture.

    frames counts the first picture too. A frame_learning_rate of None is "the model's own". Frames are shown from the
    average of the latents, which keeps the share frame_average at each step.
    """

    frames: int = Field(240, ge=1, le=MOST_FRAMES)
    fps: float = Field(24.0, ge=1, le=240)
    steps_per_frame: int = Field(5, ge=0, le=100_000)
    frame_learning_rate: float | None = Field(None, gt=0, le=100)
    frame_average: float = Field(0.8, ge=0, lt=1)

    @property
    def painted(self) -> int:
        """How many frames have to be painted."""
        return self.frames


class RestyleSettings(Reel):
    """Everything that changes a restyled clip's pixels beside the settings of its first picture.

    source_weight is how hard the clip's frame holds the picture, keep the share of what was painted onto a frame that
    the next one begins with, hold the share of the frame before that is shown in a frame; flow: whether both move along
    with what moves in the clip.
    """

    source_weight: float = Field(0.0, ge=0, le=1000)
    keep: float = Field(0.9, ge=0, le=1)
    hold: float = Field(0.6, ge=0, lt=1)
    flow: bool = False


class FilmSettings(Reel):
    """Everything that changes a flight's pixels beside the settings of its first picture. Motion is per frame.

    zoom above 1 goes in; pan in pixels, right and down; rotate in degrees by which the picture turns clockwise; shear
    and tilt as in `ops.camera`. carry, hold and sharpen are those of `engine.film.Carry`. loop is the number of frames
    at the end that fade into the first ones (0 = no loop). story are further prompts, each after change_every frames;
    by change a model that has a prior sketches them over the picture ("sketch"), or they are painted out of it. renew:
    whenever the camera has gone in by this factor under one prompt, what it names has grown out of sight, and a prior
    sketches it once more, in the middle and as much smaller (0 = never; None = "the model's own"). clarity and calm are
    how frames are shown (`ops.clarity.Showing`).
    """

    zoom: float = Field(1.02, ge=0.5, le=2)
    pan: Pair = (0.0, 0.0)
    rotate: float = Field(0.0, ge=-180, le=180)
    shear: Pair = (0.0, 0.0)
    tilt: Pair = (0.0, 0.0)
    rim: RimKind = "mirror"
    frame_average: float = Field(0.9, ge=0, lt=1)
    clarity: float = Field(1.2, ge=0, le=2)
    calm: float = Field(1.0, ge=0, le=10)
    carry: Carrying = "cells"
    hold: float = Field(0.95, ge=0, lt=1)
    sharpen: float = Field(0.3, ge=0, le=1)
    loop: int = Field(0, ge=0)
    story: tuple[str, ...] = ()
    change_every: int = Field(0, ge=0)
    change: Change = "sketch"
    renew: float | None = Field(None, ge=0, le=1000)

    def check(self) -> FilmSettings:
        """Checks what no single field can. Raises: UsageError."""
        if max(map(abs, (*self.shear, *self.tilt))) > 0.5:
            raise UsageError("shear and tilt lie between -0.5 and 0.5", hint="they are for one frame: try 0.01")
        if self.story and not self.change_every:
            raise UsageError("the prompts of a story take turns of at least one frame", hint="try --change-every 48")
        if self.renew and self.renew < 1.1:
            raise UsageError(
                f"a renewal whenever the camera has gone in by {self.renew:g} leaves no time between",
                hint="try --renew 3, or 0 for none",
            )
        if self.loop and self.loop * 2 > self.frames:
            raise UsageError(
                f"a film of {counted(self.frames, 'frame')} is too short to loop over {self.loop}",
                hint="make it longer: --seconds",
            )
        return self

    @property
    def painted(self) -> int:
        """As of any reel; a loop needs some more, which fade away into its first ones."""
        return self.frames + self.loop


def renewals(zooms: Sequence[float], by: float) -> list[tuple[int, int]]:
    """For each frame of a camera how often it has gone in by a factor (0: never), and how many frames ago last.

    zooms are those of its moves, the first one unused: it begins where the first frame is, and anew each time.
    """
    found, times, ago, gone = [], 0, 0, 1.0
    for number, zoom in enumerate(zooms):
        ago, gone = (ago + 1, gone * zoom) if number else (0, 1.0)
        if by and gone >= by:
            times, ago, gone = times + 1, 0, 1.0
        found.append((times, ago))
    return found


def frame_count(frames: int | None, seconds: float | None, fps: float) -> int:
    """How many frames a film has by what was said: their number, or its length. Raises: UsageError."""
    if frames is not None and seconds is not None:
        raise UsageError("both --frames and --seconds say how long the film is", hint="leave one of them out")
    length = frames if frames is not None else (10.0 if seconds is None else seconds) * fps
    if not length > 0.5:  # nor is what is no number a length
        raise UsageError("a film needs at least one frame", hint="try --seconds 3")
    if length > MOST_FRAMES:
        raise UsageError(f"a film has at most {MOST_FRAMES} frames")
    return round(length)


def turns(text: str) -> list[str]:
    """The prompts of a story, which `^` joins. Raises: UsageError if one is empty."""
    parts = [part.strip() for part in text.split("^")]
    if not all(parts):
        raise UsageError(f"the story {text!r} has an empty prompt", hint='write it as "a castle ^ a forest ^ the sea"')
    return parts


def speed(text: str, fps: float, *, flag: str, factor: bool = False) -> float:
    """A speed for each frame: "2" is per frame, "48/s" per second. A factor (zoom) is multiplied up, all else added.

    Raises: UsageError for anything else, naming the flag.
    """
    found = _SPEED.fullmatch(text)
    value = float(found[1]) if found else math.nan
    if found is None or (factor and value <= 0):
        example = "1.02, or 1.6/s" if factor else "2, or 48/s"
        raise UsageError(f"{flag} {text!r} is no speed", hint=f"write it per frame or per second: {example}")
    if found[2] != "/s":
        return value
    return value ** (1 / fps) if factor else value / fps


def speeds(text: str, fps: float, *, flag: str) -> Pair:
    """Two speeds with a comma between them, as `speed`; one alone is the first. Raises: UsageError."""
    parts = text.split(",")
    if len(parts) > 2:
        raise UsageError(f"{flag} {text!r} is no pair of speeds", hint=f"write two numbers: {flag} 2,-1")
    across, down = (speed(part, fps, flag=flag) for part in (*parts, "0")[:2])
    return across, down


def loop_frames(frames: int, fps: float) -> int:
    """How many frames of a loop fade into its first ones: a second, or a third of a short film."""
    return max(1, min(round(fps), frames // 3))


def kept_film_values(values: dict[str, Any], *, restyled: bool = False) -> Reel:
    """The same of values that this or an earlier version kept; earlier ones showed what was painted, renewing nothing.

    Raises: UsageError.
    """
    earlier = {} if restyled else {"clarity": 0.0, "calm": 0.0, "renew": 0.0}
    return film_values({**earlier, **values}, restyled=restyled)


def film_values(values: dict[str, Any], *, restyled: bool = False) -> Reel:
    """Checked film settings of plain values, of a restyled clip or of any other film. Raises: UsageError."""
    if restyled:
        return RestyleSettings.make(values, source="the film")
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return FilmSettings.make(plain, source="the film").check()
