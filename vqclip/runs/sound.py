"""Reads a sound file, and hears what formulas of a film can use: levels and beats."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vqclip.errors import PictureError
from vqclip.ops.sound import RATE, beat_times, levels
from vqclip.shotlist import Heard
from vqclip.sinks.soundtrack import KINDS, open_sound

MOST_SECONDS = 3600


def hear(path: Path, *, fps: float) -> Heard:
    """What a sound does at each frame of a film; at most its first hour. Raises: PictureError if it cannot be read."""
    samples = read_sound(path)
    seconds = len(samples) / RATE
    return Heard(seconds, beat_times(samples), levels(samples, fps=fps, frames=int(seconds * fps) + 1))


def read_sound(path: Path) -> NDArray[np.float32]:
    """The first hour of a sound file, mono at RATE, as numbers in [-1, 1]. Raises: PictureError."""
    try:
        with open_sound(path) as container:
            pieces = _pieces(container)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise PictureError(f"{path.name} cannot be read as a sound: {error}", hint=KINDS) from None
    if not pieces:
        raise PictureError(f"there is no sound in {path.name}", hint=KINDS)
    return np.concatenate(pieces)[: MOST_SECONDS * RATE]


def is_readable(path: Path, *, seconds: float) -> bool:
    """Whether a sound can be decoded as far as a film of so many seconds needs it."""
    try:
        with open_sound(path) as container:
            for frame in container.decode(audio=0):
                if frame.time is not None and frame.time > seconds:
                    break
    except (av.FFmpegError, OSError, ValueError, PictureError):
        return False
    return True


def _pieces(container: av.container.InputContainer) -> list[NDArray[np.float32]]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    pieces: list[NDArray[np.float32]] = []
    for frame in container.decode(audio=0):
        pieces += [piece.to_ndarray().reshape(-1) for piece in resampler.resample(frame)]
        if frame.time is not None and frame.time > MOST_SECONDS:
            break
    return pieces + [piece.to_ndarray().reshape(-1) for piece in resampler.resample(None)]
