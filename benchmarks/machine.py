"""What every benchmark needs: the machine in words, CPU seconds side by side, peak memory, results as JSON."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"

# How pieces are changed in every benchmark, so that figures of different days stay comparable.
CHANGES = {
    "whole_views": 0.4,
    "smallest_view": 0.35,
    "noise": 0.1,
    "jitter": 0.1,
    "rotation": 10.0,
    "perspective": 0.3,
    "flip": True,
}


def describe() -> dict[str, Any]:
    """The processor, the versions and the threads that a figure belongs to."""
    capabilities = torch.cpu.get_capabilities()
    return {
        "cpu": _cpu_name(),
        "bf16": [name for name in ("avx512_bf16", "amx_bf16") if capabilities.get(name)],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "date": date.today().isoformat(),
    }


def interleaved(sides: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 1) -> dict[str, list[float]]:
    """CPU seconds of each side in each round, in turn, so that a busy machine disturbs all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(warm_up + rounds):
        for name, run in sides.items():
            before = time.process_time()
            run()
            if number >= warm_up:
                seconds[name].append(time.process_time() - before)
    return seconds


def summary(seconds: list[float]) -> dict[str, Any]:
    """The least and all of some seconds, rounded: other work on the machine only ever adds."""
    return {"least": round(min(seconds), 4), "all": [round(one, 4) for one in seconds]}


def forget_peak() -> None:
    """Makes `peak_megabytes` count from now on (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> float:
    """The most memory this process has held since `forget_peak`, in MB (Linux)."""
    return _status("VmHWM")


def held_megabytes() -> float:
    """The memory this process holds now, in MB (Linux)."""
    return _status("VmRSS")


def write_result(name: str, result: Mapping[str, Any]) -> None:
    """Writes and prints a result, with the machine it was measured on."""
    text = json.dumps({"machine": describe(), **result}, indent=2)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise OSError(f"this system does not tell {field}")


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
