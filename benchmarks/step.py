"""One painting step at 256 px with 32 cuts, f16-16384 VQGAN and ViT-B/32 at full size: this package's against the
peers' way, and without its fast paths. Random weights (the speed does not depend on them), one thread, in turn in one
process; the peak memory of each side is taken in a process of its own. The first step's gradients at the latent, from
the same weights and random numbers, are compared with those in float32 without fast paths.

    python benchmarks/step.py [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from machine import CHANGES, forget_peak, held_megabytes, interleaved, peak_megabytes, summary, write_result
from torch import Tensor

from vqclip.configs import VQGANConfig
from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.paint import Look, paint
from vqclip.engine.precision import choose_dtype
from vqclip.engine.starts import from_codes
from vqclip.engine.streams import stream
from vqclip.events import Step
from vqclip.models.vqgan import VQGAN
from vqclip.ops.cutouts import CutoutSettings
from vqclip.ops.guide import Targets
from vqclip.store.openclip import build_clip
from vqclip.store.perceptor import ClipPerceptor

SIDE, COUNT = 256, 32
VIT_B_32 = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}


def events(
    dtype: torch.dtype, micro_batch: int | None = None, *, fast: bool = True, side: int = SIDE, count: int = COUNT
) -> Iterator[Step]:
    """This package's loop with its default cutouts; without the fast paths layers are as their authors wrote them."""
    torch.manual_seed(0)
    decoder = VQGAN(VQGANConfig(), encoder=False).requires_grad_(False)
    decoder = (decoder.fuse() if fast else decoder).cast(dtype).to(memory_format=torch.channels_last)
    with nullcontext() if fast else patch("vqclip.store.perceptor.quicken", lambda tower: tower):
        perceptor = ClipPerceptor(
            build_clip(VIT_B_32),
            lambda texts: torch.zeros(len(texts), 77, dtype=torch.long),
            name="random",
            path=Path("random"),
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
            dtype=dtype,
        )
    wanted = F.normalize(torch.randn(1, 1, 512), dim=-1)
    look = Look("random", perceptor, Targets(wanted, torch.ones(1), torch.tensor([-torch.inf])))
    latent = from_codes(decoder.codebook, (side // 16, side // 16), [stream(0, "init")])
    cutouts = CutoutSettings(count=count, roll=16, **CHANGES)
    course = Course(steps=10_000, optimizer="adam", learning_rate=0.1, micro_batch=micro_batch)
    return paint(decoder, [look], begin(latent, [0]), course=course, cutouts=cutouts)


def ours(
    dtype: torch.dtype, micro_batch: int | None = None, *, fast: bool = True, side: int = SIDE, count: int = COUNT
) -> Callable[[], object]:
    """This package's loop; each call is one step."""
    steps = events(dtype, micro_batch, fast=fast, side=side, count=count)
    return lambda: next(steps).loss.item()


def gradient(dtype: torch.dtype, *, fast: bool) -> Tensor:
    """The direction of the first step's gradient at the latent, which Adam's first moment keeps after it."""
    steps = events(dtype, fast=fast)
    next(steps)
    return next(steps).state()["optimizer"]["state"][0]["exp_avg"].flatten()


def cosines() -> dict[str, float]:
    """How well the first step's gradients agree with those in float32 without fast paths."""
    exact = gradient(torch.float32, fast=False)
    ways = {"ours": (choose_dtype("cpu"), True), "ours in float32": (torch.float32, True)}
    ways["ours without fast paths"] = (choose_dtype("cpu"), False)
    return {
        name: round(float(F.cosine_similarity(gradient(dtype, fast=fast), exact, dim=0)), 5)
        for name, (dtype, fast) in ways.items()
    }


def theirs(side: int = SIDE, count: int = COUNT) -> Callable[[], object]:
    """The peers' loop; each call is one step."""
    import peers

    return peers.Painter(build_clip(VIT_B_32), side=side, count=count).step


def memory_of(step: Callable[[], object]) -> dict[str, float]:
    """Runs some steps in this process, which should run nothing else: MB held before them, and at most during them."""
    before = held_megabytes()
    forget_peak()
    for _ in range(4):
        step()
    return {"before": round(before), "peak": round(peak_megabytes()), "step": round(peak_megabytes() - before)}


def main() -> None:
    """Measures and writes results/step.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.memory:
        print(json.dumps(memory_of(SIDES[options.memory]())))
        return
    memory = {name: _in_own_process(name) for name in SIDES}
    seconds = interleaved({name: make() for name, make in SIDES.items()}, options.rounds)
    base, names = min(seconds["peers"]), [name for name in SIDES if name != "peers"]
    fast, slow = (min(seconds[name]) for name in ("ours", "ours without fast paths"))
    write_result(
        "step",
        {
            "what": f"one step, {SIDE} px, {COUNT} cuts, f16-16384 decoder, ViT-B-32: CPU seconds and MB",
            "dtype": str(choose_dtype("cpu")).removeprefix("torch."),
            "seconds": {name: summary(all_) for name, all_ in seconds.items()},
            "megabytes": memory,
            "times_faster": {name: round(base / min(seconds[name]), 2) for name in names},
            "times_faster_by_fast_paths": round(slow / fast, 2),
            "cosine_of_gradient": cosines(),
            "share_of_peak": {name: round(memory[name]["peak"] / memory["peers"]["peak"], 2) for name in names},
            "share_of_step": {name: round(memory[name]["step"] / memory["peers"]["step"], 2) for name in names},
        },
    )


def _in_own_process(side: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--memory", side]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


SIDES: dict[str, Callable[[], Callable[[], object]]] = {
    "peers": theirs,
    "ours": lambda: ours(choose_dtype("cpu")),
    "ours without fast paths": lambda: ours(choose_dtype("cpu"), fast=False),
    "ours, 8 pieces at once": lambda: ours(choose_dtype("cpu"), micro_batch=8),
    "ours in float32": lambda: ours(torch.float32),
}


if __name__ == "__main__":
    main()
