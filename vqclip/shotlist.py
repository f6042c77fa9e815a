"""The shot list of a film: its scenes, and the value of every curve at every frame; nothing in it is left open."""

from __future__ import annotations

import csv
import io
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from vqclip.settings import Checked

# The least and the most that a curve may be.
LIMITS: dict[str, tuple[float, float]] = {
    "zoom": (0.5, 2.0),
    "pan_x": (-8192.0, 8192.0),
    "pan_y": (-8192.0, 8192.0),
    "rotate": (-180.0, 180.0),
    "shear_x": (-0.5, 0.5),
    "shear_y": (-0.5, 0.5),
    "tilt_x": (-0.5, 0.5),
    "tilt_y": (-0.5, 0.5),
    "steps": (0.0, 10_000.0),
    "learning_rate": (1e-9, 100.0),
    "cutouts": (1.0, 1024.0),
    "tv": (0.0, 1000.0),
}
WHOLE = ("steps", "cutouts")
TIME = ("t", "frame", "frames", "fps", "seconds", "s", "p", "scene")
BEATS = ("beat", "beats")
LEVELS = ("loud", "bass", "mids", "highs", "onset")


@dataclass(frozen=True)
class Heard:
    """What formulas know of a sound: its length, the times of its beats, and its levels (0 to 1) at each frame."""

    seconds: float
    beats: Sequence[float] = ()
    levels: Mapping[str, Sequence[float]] = field(default_factory=dict)


class SceneShots(Checked):
    """A scene of a shot list: what it wants to see, and its first frame. A seed of None is the film's."""

    first: int = Field(ge=0)
    prompt: str = ""
    negative: str = ""
    image_prompts: tuple[str, ...] = ()
    seed: int | None = None


class ShotList(Checked):
    """A film in numbers. Nothing is random here and nothing is left open: this is what a run keeps, to go on from.

    shares holds for each frame how much of its scene is there: below 1 the scene before is still fading. curves hold
    a value for each frame: those of LIMITS, and "weight 2.1" for the first part of the second scene's prompt.
    """

    fps: float
    scenes: tuple[SceneShots, ...] = Field(min_length=1)
    shares: tuple[float, ...]
    curves: dict[str, tuple[float, ...]]

    def scene_at(self, frame: int) -> int:
        """The number of the scene that a frame belongs to, counted from 0."""
        return bisect_right([scene.first for scene in self.scenes], frame) - 1

    def weights(self, scene: int, frame: int) -> list[float] | None:
        """What the parts of a scene's prompt are multiplied by at a frame; None where the scene does not say."""
        found = [values[frame] for name, values in self.curves.items() if name.startswith(f"weight {scene + 1}.")]
        return found or None

    def table(self) -> str:
        """All frames as CSV: number, seconds, scene, share, and every curve."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("frame", "seconds", "scene", "share", *self.curves))
        for n, share in enumerate(self.shares):
            values = [f"{values[n]:.6g}" for values in self.curves.values()]
            writer.writerow((n, f"{n / self.fps:.3f}", self.scene_at(n) + 1, f"{share:.4g}", *values))
        return text.getvalue()


@dataclass(frozen=True)
class Script:
    """What a film is made by: its shot list, the text of its film file, and the sound that is heard in it."""

    shots: ShotList
    text: str = ""
    sound: Path | None = None
