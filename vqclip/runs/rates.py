"""How fast this machine was: measured step times, kept in the user's cache folder, and what they say of other sizes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vqclip.runs.free import cache_folder

MOST_KEPT = 24
GUESS = {2: 45.0, 4: 25.0}  # GFLOP per second and thread, for machines that were never measured
FILE = "rates.json"


@dataclass(frozen=True)
class Measured:
    """One measurement: GFLOP of decoder and CLIP in a step, and its seconds."""

    decode: float
    look: float
    seconds: float


def rate_key(device: str, dtype: str, threads: int, models: Sequence[str]) -> str:
    """What a measurement holds for: another device, number format, number of threads or model has another speed."""
    return "|".join([device, dtype, str(threads), *models])


def remember(key: str, measured: Measured, path: Path | None = None) -> None:
    """Keeps a measurement, the newest last; a cache that cannot be written is no reason to fail."""
    path = path or cache_folder() / FILE
    known = _read(path)
    known[key] = [*known.get(key, []), asdict(measured)][-MOST_KEPT:]
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(known), encoding="utf-8")
        part.replace(path)


def recall(key: str, path: Path | None = None) -> list[Measured]:
    """The measurements of a key, the newest last."""
    found = []
    for values in _read(path or cache_folder() / FILE).get(key, []):
        with contextlib.suppress(TypeError, ValueError, KeyError):
            one = Measured(*(float(values[name]) for name in ("decode", "look", "seconds")))
            if min(one.decode, one.look, one.seconds) > 0:
                found.append(one)
    return found


def predict(decode: float, look: float, measured: Sequence[Measured]) -> float:
    """The seconds of a step of so much work, from measured ones.

    Decoder and CLIP each get the rate that fits all measurements best (least squares of the relative errors); where
    the measurements cannot tell the two apart, both get one.
    """
    rows = [(one.decode / one.seconds, one.look / one.seconds) for one in measured]
    aa, ab, bb = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b = (sum(row[i] for row in rows) for i in (0, 1))
    det = aa * bb - ab * ab
    if det > 1e-3 * aa * bb:
        first, second = (a * bb - b * ab) / det, (b * aa - a * ab) / det
        if first > 0 and second > 0:
            return decode * first + look * second
    total = [row[0] + row[1] for row in rows]
    return (decode + look) * sum(total) / sum(one * one for one in total)


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: rows for key, rows in known.items() if isinstance(rows, list)} if isinstance(known, dict) else {}
