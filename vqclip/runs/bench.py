"""Measures seconds per step and memory of settings, each in a process of its own, beside what was estimated."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from vqclip.errors import ModelError, VqclipError
from vqclip.runs.estimate import estimate, key_of, work_of
from vqclip.runs.plan import resolve
from vqclip.runs.rates import Measured, remember
from vqclip.runs.recipe import versions
from vqclip.settings import Delivery, Settings
from vqclip.store.folder import at_hand

SIZES = (
    ({"width": 128, "height": 128, "cutouts": 8}),
    ({"width": 256, "height": 256}),
    ({"width": 256, "height": 256, "cutouts": 8}),
)


@dataclass(frozen=True)
class Row:
    """One line of the table: bytes and seconds as measured and as estimated before; None where that is not known.

    machine says on what it was measured: processor, device, dtype, threads and versions.
    """

    model: str
    size: str
    cutouts: int
    seconds: float
    bytes: float
    estimated_seconds: float | None
    estimated_bytes: float | None
    machine: dict[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[float | None, float | None]:
        """How far the estimates of time and memory were off, as shares of what was measured."""
        pairs = ((self.estimated_seconds, self.seconds), (self.estimated_bytes, self.bytes))
        return tuple(None if guess is None else guess / real - 1 for guess, real in pairs)  # type: ignore[return-value]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        time_error, memory_error = self.errors
        return {**asdict(self), "time_error": time_error, "memory_error": memory_error}


def trials(models: Sequence[str] = ()) -> list[Settings]:
    """What is measured where nobody says: three sizes of each model that is at hand."""
    names = models or [model.name for model in at_hand()]
    return [
        resolve(Settings.make({"prompt": "a castle", "seed": 0, "vqgan": name, **size}))[0]
        for name in names
        for size in SIZES
    ]


def bench(jobs: Sequence[Settings], delivery: Delivery, *, steps: int) -> Iterator[Row | VqclipError]:
    """Measures each job, and keeps what was measured for later estimates; an error stands in the place of its row."""
    for settings in jobs:
        guessed, work = estimate(settings, delivery), work_of(settings)
        try:
            found = measure(settings, delivery, steps=steps)
        except VqclipError as error:
            yield error
            continue
        if work is not None:
            remember(key_of(settings, delivery), Measured(work.decode, work.look, found["seconds"]))
        timed = guessed is not None and guessed.measured
        yield Row(
            settings.vqgan,
            f"{settings.width}x{settings.height}",
            settings.cutouts or 0,
            found["seconds"],
            found["bytes"],
            guessed.step if guessed and timed else None,
            guessed.memory if guessed else None,
            found["machine"],
        )


def measure(settings: Settings, delivery: Delivery, *, steps: int) -> dict[str, Any]:
    """Seconds of a step (the least of some) and the largest bytes of a fresh process that paints with these settings.

    Beside them stands the machine that it is.

    Raises: ModelError with what the process said, if it failed.
    """
    words = json.dumps(
        {
            "settings": settings.changed(steps=steps, coarse=0.0).model_dump(mode="json"),
            "delivery": delivery.model_dump(mode="json"),
        }
    )
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(
        command, input=words, capture_output=True, text=True, env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ModelError(f"{settings.vqgan}: {said[-1] if said else 'the process ended without a word'}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """The process that is measured: reads a job from standard input and answers on standard output, as JSON."""
    import torch

    from vqclip.runs.device import set_threads, usable_devices
    from vqclip.runs.painting import painting
    from vqclip.runs.parts import build_parts

    job = json.load(sys.stdin)
    settings, delivery = Settings.make(job["settings"]), Delivery(**job["delivery"])
    set_threads(delivery.threads)
    device, *others = usable_devices(delivery.device)
    parts = build_parts(settings, device=device, others=others, offline=True, note=lambda text: None)
    times = [time.monotonic()]
    for event in painting(parts):
        float(event.loss)  # waits for the device
        times.append(time.monotonic())
    # the first step waits for memory, the last one has no gradient
    steps = [after - before for before, after in pairwise(times[1:-1])] or [times[1] - times[0]]
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak()
    machine = {
        "processor": processor(),
        "device": ", ".join(_name(one) for one in (device, *others)),
        "dtype": parts.settings.dtype,
        "threads": torch.get_num_threads(),
        **versions(),
    }
    print(json.dumps({"seconds": min(steps), "bytes": peak, "machine": machine}))


def _name(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _peak() -> float:
    """The most memory this process has held."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    main()
