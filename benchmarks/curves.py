"""Judged quality over seconds, on the starter: the defaults, random codes, and `--preset nerdy`, the usual loop.

    OMP_NUM_THREADS=1 python benchmarks/curves.py paint pictures/ --first 12     # again: what is missing
    python benchmarks/curves.py judge work/judge.pt pictures/                    # writes results/curves.json
    python benchmarks/curves.py plot docs/images/curves.png

Every picture is saved at the same steps, with the CPU seconds on one thread since its settings were read, the models
being loaded. The quality is the share that the judge (`judge.py`) gives to the subject that was asked for, and to each
mood that was, meant over the prompts.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import torch
from judge import likely, load_judge
from machine import RESULTS, write_result
from PIL import Image
from score import MOODS
from sheet import FIRST_SEED

from vqclip.ops.pixels import to_picture
from vqclip.presets import load_preset, merge
from vqclip.runs.painting import painting
from vqclip.runs.parts import build_parts
from vqclip.runs.plan import resolve
from vqclip.settings import Settings

PROMPTS = Path(__file__).parent / "prompts100.csv"
STEPS = 300
WAYS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "codes": {"init": "codes"},
    "nerdy": {**load_preset("nerdy").settings, "steps": STEPS},
}
SAVED = (0, 5, 10, 20, 40, 60, 90, 120, 160, 200, 250, 300)


def read_rows(first: int) -> list[dict[str, str]]:
    """The first prompts of the table, with what must be seen in each."""
    return list(csv.DictReader(PROMPTS.read_text(encoding="utf-8").splitlines()))[:first]


def paint(way: str, number: int, prompt: str, folder: Path) -> None:
    """Paints prompt `number` in one way, and saves it on the way as STEP.png, with the seconds of each in seconds.json.

    A folder claims its picture, so that several processes can share the work.
    """
    place = folder / way / f"{number:03}"
    try:
        place.mkdir(parents=True)
    except FileExistsError:
        return
    values = merge({"prompt": prompt, "seed": FIRST_SEED + number}, WAYS[way])
    settings, before, seconds = resolve(Settings.make(values))[0], time.process_time(), {}
    parts = build_parts(settings, device=torch.device("cpu"), offline=True, note=print)
    for event in painting(parts):
        if event.index in SAVED:
            seconds[event.index] = round(time.process_time() - before, 3)
            began = time.process_time()
            to_picture(event.image).save(place / f"{event.index:03}.png")
            before += time.process_time() - began
    (place / "seconds.json").write_text(json.dumps(seconds))
    print(way, number, prompt, seconds, flush=True)


def judged(weights: Path, folder: Path) -> dict[str, Any]:
    """For each way the quality and the seconds at every saved step, both meant over the prompts that are there."""
    judge, rows, found = load_judge(weights), read_rows(10**9), {}
    for way in WAYS:
        places = sorted(path.parent for path in (folder / way).glob("*/seconds.json"))
        table = {step: [_quality(judge, place, rows, step) for place in places] for step in SAVED}
        seconds = [json.loads((place / "seconds.json").read_text()) for place in places]
        found[way] = {
            "pictures": len(places),
            "curve": [
                {
                    "step": step,
                    "seconds": round(sum(one[str(step)] for one in seconds) / len(places), 2),
                    "subject": round(sum(subject for subject, _ in values) / len(values), 3),
                    "quality": round(sum(whole for _, whole in values) / len(values), 3),
                }
                for step, values in table.items()
            ],
        }
    return found


def _quality(judge: torch.nn.Module, place: Path, rows: list[dict[str, str]], step: int) -> tuple[float, float]:
    """What the judge gives to the subject, and on average to it and the moods that were asked for."""
    row, shares = rows[int(place.name) - 1], likely(judge, Image.open(place / f"{step:03}.png"))
    subject = max(shares["subject"].get(name, 0.0) for name in (row["subject"], row["other"] or row["subject"]))
    moods = [shares[mood][row[mood]] for mood in MOODS if row[mood]]
    return subject, (subject + sum(moods)) / (1 + len(moods))


def reached(curve: list[dict[str, float]], quality: float) -> float | None:
    """The seconds after which a curve has come to a quality, straight between the steps that were saved."""
    before = None
    for point in curve:
        if point["quality"] >= quality:
            if before is None:
                return point["seconds"]
            share = (quality - before["quality"]) / (point["quality"] - before["quality"])
            return round(before["seconds"] + share * (point["seconds"] - before["seconds"]), 2)
        before = point
    return None


def plot(result: dict[str, Any], out: Path) -> None:
    """The curves, as a picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (way, found), color in zip(result["ways"].items(), ("#1f6fb4", "#6aa84f", "#b5651d"), strict=True):
        seconds, quality = zip(*((point["seconds"], point["quality"]) for point in found["curve"]), strict=True)
        axes.plot(seconds, quality, "o-", label=way, color=color, markersize=3)
    axes.set(xlabel="CPU seconds on one thread", ylabel="judged quality", ylim=(0, 1), xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=100)


def main() -> None:
    """Paints, judges or plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    painter = kinds.add_parser("paint")
    painter.add_argument("folder", type=Path)
    painter.add_argument("--first", type=int, default=24)
    judging = kinds.add_parser("judge")
    judging.add_argument("weights", type=Path)
    judging.add_argument("folder", type=Path)
    kinds.add_parser("plot").add_argument("out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.kind == "paint":
        for number, row in enumerate(read_rows(asked.first), start=1):
            for way in WAYS:
                paint(way, number, row["prompt"], asked.folder)
    elif asked.kind == "judge":
        ways = judged(asked.weights, asked.folder)
        wanted = ways["nerdy"]["curve"][-1]
        times = {way: reached(found["curve"], wanted["quality"]) for way, found in ways.items()}
        what = (
            "quality by the judge network over CPU seconds on one thread; seconds to what nerdy has after its last step"
        )
        write_result("curves", {"what": what, "ways": ways, "seconds_to_nerdy": times})
    else:
        plot(json.loads((RESULTS / "curves.json").read_text()), asked.out)


if __name__ == "__main__":
    main()
