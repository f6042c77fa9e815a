"""Estimates of memory and time against what was measured: the starter and a full-size model with random weights (their
speed does not depend on them). Each of the twelve settings runs in a process of its own; its time is estimated from the
measurements of the model's other settings, its memory from nothing but the shapes.

    python benchmarks/estimates.py [--large SIDE]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from machine import write_result
from step import VIT_B_32

from vqclip.configs import VQGANConfig
from vqclip.models.vqgan import VQGAN
from vqclip.runs.bench import measure
from vqclip.runs.estimate import estimate, work_of
from vqclip.runs.plan import resolve
from vqclip.runs.rates import Measured, predict
from vqclip.settings import Delivery, Settings
from vqclip.store.openclip import build_clip, write_clip
from vqclip.store.vqgans import save_vqgan

HALF = (0.5, 0.5, 0.5)
SMALL = (
    {"width": 128, "cutouts": 8},
    {"width": 256, "cutouts": 24},
    {"width": 256, "cutouts": 24, "micro_batch": 6},
    {"width": 384, "cutouts": 16},
    {"width": 512, "cutouts": 24},
    {"width": 512, "cutouts": 32, "lean": True},
)
FULL = (
    {"width": 128, "cutouts": 8},
    {"width": 256, "cutouts": 32},
    {"width": 256, "cutouts": 8},
    {"width": 256, "cutouts": 32, "micro_batch": 8},
    {"width": 512, "cutouts": 32},
    {"width": 512, "cutouts": 16, "lean": True},
)
DELIVERY = Delivery(device="cpu", threads=1, offline=True)


def random_models(folder: Path) -> dict[str, object]:
    """Files of an f16-16384 VQGAN and a ViT-B/32 with random weights, as settings."""
    torch.manual_seed(0)
    vqgan, clip = folder / "f16-16384.safetensors", folder / "ViT-B-32.safetensors"
    save_vqgan(VQGAN(VQGANConfig()), vqgan)
    write_clip(clip, build_clip(VIT_B_32).state_dict(), VIT_B_32, ids=[*range(100), -1], words=[], mean=HALF, std=HALF)
    return {"vqgan": str(vqgan), "clip": (str(clip),)}


def job(values: dict[str, object], models: dict[str, object]) -> Settings:
    """A square picture from random codes, which need no other model."""
    square = {"height": values["width"], "prompt": "a castle", "seed": 0, "init": "codes"}
    return resolve(Settings.make({**models, **square, **values}))[0]


def rows(jobs: list[Settings], steps: int) -> list[dict[str, object]]:
    """Measured and estimated values of jobs with the same models."""
    found = [measure(one, DELIVERY, steps=steps) for one in jobs]
    works = [work_of(one) for one in jobs]
    known = [Measured(w.decode, w.look, f["seconds"]) for w, f in zip(works, found, strict=True)]
    table = []
    for number, (one, work, real) in enumerate(zip(jobs, works, found, strict=True)):
        step = predict(work.decode, work.look, known[:number] + known[number + 1 :])
        memory = estimate(one, DELIVERY).memory
        table.append(
            {
                "model": Path(one.vqgan).stem,
                "width": one.width,
                "cutouts": one.cutouts,
                "micro_batch": one.micro_batch,
                "lean": one.lean,
                "seconds": round(real["seconds"], 3),
                "time_error": round(step / real["seconds"] - 1, 3),
                "megabytes": round(real["bytes"] / 2**20),
                "memory_error": round(memory / real["bytes"] - 1, 3),
                "step_megabytes_estimated": round(work.step_bytes / 2**20),
                "model_megabytes_estimated": round(work.model_bytes / 2**20),
            }
        )
        print(table[-1], flush=True)
    return table


def main() -> None:
    """Measures and writes results/estimates.json, or one large step and results/large.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", type=int, help="measure one step of a square picture of this side instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = random_models(Path(folder))
        if options.large:
            one = job({"width": options.large, "cutouts": 32}, models)
            real = measure(one, DELIVERY, steps=1)
            step, memory = real["seconds"], real["bytes"] / 1e9
            facts = {
                "seconds": round(step, 1),
                "gigabytes": round(memory, 2),
                "estimated": round(estimate(one, DELIVERY).memory / 1e9, 2),
            }
            write_result("large", {"what": f"one step at {options.large} px, 32 cuts, f16-16384, ViT-B-32", **facts})
            return
        table = rows([job(values, {}) for values in SMALL], 8) + rows([job(values, models) for values in FULL], 3)
    write_result("estimates", {"what": "estimates of memory and time, as shares off what was measured", "rows": table})


if __name__ == "__main__":
    main()
