"""Paints a numbered contact sheet of a prompt file with the starter, for people to judge.

    python benchmarks/sheet.py benchmarks/prompts100.csv sheet.png --first 24        # the defaults
    python benchmarks/sheet.py benchmarks/prompts100.csv codes.png --set init=codes  # without the prior
    python benchmarks/sheet.py benchmarks/prompts100.csv prior.png --set steps=0     # the prior alone

Prompt number n is painted with seed 1000 + n. The numbers on the sheet are all that a judge may see of the prompts.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from vqclip.sinks.sheets import Tile, contact_sheet

FIRST_SEED = 1000


def paint_one(job: tuple[int, str], *, settings: dict[str, Any], threads: int) -> tuple[Image.Image, float]:
    """Paints prompt number n; gives the picture and the seconds it took."""
    import torch

    import vqclip

    torch.set_num_threads(threads)
    number, prompt = job
    started = time.monotonic()
    picture = vqclip.generate(prompt, seed=FIRST_SEED + number, **settings)
    return picture, time.monotonic() - started


def read_prompts(path: Path) -> list[str]:
    """The prompts of a text file, one a line, or of the column `prompt` of a table."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        return [row["prompt"] for row in csv.DictReader(text.splitlines())]
    return [line.strip() for line in text.splitlines() if line.strip()]


def main() -> None:
    """Reads the arguments, paints, and saves the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as JSON or a word")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--first", type=int, help="only so many prompts")
    parser.add_argument("--after", type=int, default=0, help="none of the first so many")
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--each", type=Path, help="a folder that also gets every picture on its own, as it is painted")
    asked = parser.parse_args()
    jobs = list(enumerate(read_prompts(asked.prompts), start=1))[asked.after : asked.first]
    settings = dict(_pair(text) for text in asked.set)
    if asked.each:
        asked.each.mkdir(parents=True, exist_ok=True)
    tiles, spent = [], 0.0
    with ProcessPoolExecutor(asked.processes) as pool:
        painted = pool.map(partial(paint_one, settings=settings, threads=1), jobs)
        for (n, _), (picture, seconds) in zip(jobs, painted, strict=True):
            tiles.append(Tile(picture, str(n)))
            spent += seconds
            if asked.each:
                picture.save(asked.each / f"{n:02}.png")
    contact_sheet(tiles, columns=asked.columns, side=asked.side).save(asked.out)
    print(json.dumps({"pictures": len(tiles), "seconds_each": round(spent / len(tiles), 1)}))


def _pair(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


if __name__ == "__main__":
    main()
