"""How a painting step grows with the pixels and the cuts, this package's and the peers', and the floor under it.

f16-16384 and ViT-B/32 of random weights, one thread, both sides in turn in one process; the peak memory of each in a
process of its own. The floor is the least arithmetic that gives the exact step, at the rate at which this core was
seen, in the same run, to do the largest convolutions and matrix products of a step.

    python benchmarks/growth.py [--rounds N] [--missing] [--plot docs/images/growth.png]
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import RESULTS, interleaved, write_result
from step import memory_of, ours, theirs
from torch import Tensor

from vqclip.engine.precision import choose_dtype

GRID = ((128, 32), (256, 8), (256, 32), (256, 64), (384, 32), (512, 32))
DECODER, LOOK = {128: 113.0, 256: 452.0, 384: 1023.0, 512: 1829.0}, 530 / 32
"""GFLOP, forward and to the input: of the decoder at a side, with every upsampling and its convolution as one, and of
ViT-B/32 for one cut, with the class token alone in the last block. Counted by torch's own counter of operations."""
SIDES: dict[str, Callable[[int, int], Callable[[], object]]] = {
    "peers": theirs,
    "ours": lambda side, count: ours(choose_dtype("cpu"), side=side, count=count),
}


def best_rate(operation: Callable[[], Tensor], gflop: float, rounds: int = 12) -> float:
    """The most GFLOP per CPU second that this core did of an operation."""
    least = float("inf")
    for _ in range(rounds):
        before = time.process_time()
        operation()
        least = min(least, time.process_time() - before)
    return gflop / least


def core_rates(dtype: torch.dtype) -> dict[str, float]:
    """GFLOP per second of the decoder's largest convolution and of a ViT's largest matrix product."""
    image = torch.randn(1, 128, 256, 256, dtype=dtype).to(memory_format=torch.channels_last)
    kernel = torch.randn(128, 128, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
    tokens, weight = torch.randn(1600, 768, dtype=dtype), torch.randn(3072, 768, dtype=dtype)
    with torch.no_grad():
        conv = best_rate(lambda: torch.conv2d(image, kernel, padding=1), 2 * 9 * 128 * 128 * 256**2 / 1e9)
        product = best_rate(lambda: tokens @ weight.T, 2 * 1600 * 768 * 3072 / 1e9)
    return {"convolution": round(conv), "matrix product": round(product)}


def floor(side: int, count: int, rates: dict[str, float]) -> float:
    """The CPU seconds of a step that did nothing but its least arithmetic, as fast as this core can."""
    return DECODER[side] / rates["convolution"] + count * LOOK / rates["matrix product"]


def row(side: int, count: int, rounds: int) -> dict[str, Any]:
    """Seconds and memory of both sides at one size and number of cuts."""
    memory = {name: _in_own_process(name, side, count) for name in SIDES}
    before = core_rates(choose_dtype("cpu"))
    seconds = interleaved({name: make(side, count) for name, make in SIDES.items()}, rounds)
    after = core_rates(choose_dtype("cpu"))
    rates = {name: max(before[name], after[name]) for name in before}
    least, lowest = {name: round(min(all_), 2) for name, all_ in seconds.items()}, floor(side, count, rates)
    gc.collect()
    return {
        "side": side,
        "cuts": count,
        "date": time.strftime("%Y-%m-%d"),
        "seconds": least,
        "times_faster": round(least["peers"] / least["ours"], 2),
        "gflop_per_second": rates,
        "floor_seconds": round(lowest, 2),
        "times_the_floor": round(least["ours"] / lowest, 2),
        "megabytes": {name: found["peak"] for name, found in memory.items()},
        "step_megabytes": {name: found["step"] for name, found in memory.items()},
    }


def plot(rows: list[dict[str, Any]], out: Path) -> None:
    """Seconds and memory over the pixels and over the cuts, both sides."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
    looks = {"peers": ("the usual way", "#b5651d"), "ours": ("vqclip", "#1f6fb4")}
    for column, (key, title) in enumerate((("side", "side of the picture, 32 cuts"), ("cuts", "cuts, 256 px"))):
        some = sorted(
            (r for r in rows if (r["cuts"] == 32 if key == "side" else r["side"] == 256)), key=lambda r: r[key]
        )
        across = [r[key] for r in some]
        for name, (label, color) in looks.items():
            axes[0][column].plot(across, [r["seconds"][name] for r in some], "o-", label=label, color=color)
            axes[1][column].plot(across, [r["megabytes"][name] for r in some], "o-", label=label, color=color)
        axes[0][column].plot(across, [r["floor_seconds"] for r in some], ":", label="floor", color="#666666")
        for line, unit in ((0, "CPU seconds a step"), (1, "peak memory, MB")):
            axes[line][column].set(xlabel=title, ylabel=unit, ylim=(0, None), xticks=across)
            axes[line][column].grid(alpha=0.3)
    axes[0][0].legend()
    figure.savefig(out, dpi=100)


def written() -> list[dict[str, Any]]:
    """The rows of results/growth.json, none where it is not there."""
    path = RESULTS / "growth.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def main() -> None:
    """Measures and writes results/growth.json, and draws it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--missing", action="store_true", help="keep the rows there are, measure the others")
    parser.add_argument("--plot", type=Path, help="draw the figures of results/growth.json, measure nothing")
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if asked.memory:
        name, side, count = asked.memory
        print(json.dumps(memory_of(SIDES[name](int(side), int(count)))))
    elif asked.plot:
        plot(written(), asked.plot)
    else:
        what = "one step of f16-16384 and ViT-B/32, random weights, by sides and cuts: CPU seconds and MB"
        facts = {"what": what, "dtype": str(choose_dtype("cpu")).removeprefix("torch.")}
        rows: list[dict[str, Any]] = written() if asked.missing else []
        known = {(row["side"], row["cuts"]) for row in rows}
        for side, count in GRID:  # hours may pass: each is kept as it comes
            if (side, count) in known:
                continue
            rows.append(row(side, count, asked.rounds))
            print(rows[-1], flush=True)
            write_result("growth", {**facts, "rows": rows})


def _in_own_process(name: str, side: int, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--memory", name, str(side), str(count)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
