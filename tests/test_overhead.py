"""What a batch of many small jobs costs beside what each job is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import pictures
from test_workers import jobs_of
from watch import own_seconds

from vqclip.cli.main import main
from vqclip.engine.paint import paint
from vqclip.engine.precision import capability
from vqclip.runs.device import set_threads
from vqclip.runs.painting import painting
from vqclip.runs.parts import Parts, build_parts
from vqclip.runs.recipe import make_recipe
from vqclip.settings import Settings
from vqclip.sinks.images import save_result

JOBS, STEPS = 100, 10


def pieces(settings: Settings, folder: Path) -> dict[str, Callable[[int], Any]]:
    """What the n-th job is made of, each alone: its share of one long loop, an init, a last evaluation and a save."""

    def build(**changes: int) -> Parts:
        changed = settings.changed(**changes)
        return build_parts(changed, device=torch.device("cpu"), offline=True, note=print)

    parts = build(steps=(JOBS + 1) * STEPS)
    loop, over = painting(parts), replace(parts.stages[-1].course, steps=0)
    first = next(loop)
    state = first.state()
    recipe = make_recipe(parts.settings, parts.models, capability=capability(), device="cpu", threads=1, job="0" * 16)
    return {
        "steps": lambda n: [next(loop) for _ in range(STEPS)],
        "inits": lambda n: painting(build(seed=n)),
        "last evaluations": lambda n: next(paint(parts.vqgan, parts.looks, state, course=over, cutouts=parts.cutouts)),
        "saves": lambda n: save_result(first.image, folder / f"{n}.png", recipe=recipe),
    }


@pytest.mark.long
def test_a_batch_costs_little_more_than_what_its_jobs_are_made_of(tiny_models, tmp_path, record_property) -> None:
    jobs = jobs_of(tiny_models, JOBS, steps=STEPS, width=64, height=64, cutouts=8)
    set_threads(1)
    alone, alone_seconds = pieces(jobs[0].settings, tmp_path / "saves"), Counter[str]()

    def measure(numbers: range) -> None:
        for name, work in alone.items():
            began = own_seconds()
            for number in numbers:
                work(number)
            alone_seconds[name] += own_seconds() - began

    size = ["--steps", str(STEPS), "--size", "64x64", "--cutouts", "8", "--dtype", "float32", "--quiet"]
    (tmp_path / "p.txt").write_text(f"{jobs[0].settings.prompt}\n")
    command = ["batch", str(tmp_path / "p.txt"), *tiny_models.flags(), *size]
    assert main([*command, "--seed", f"{JOBS}", "-o", str(tmp_path / "warm")]) == 0
    measure(range(1))
    alone_seconds.clear()
    measure(range(1, JOBS // 2 + 1))  # half before and half after, so that what drifts meets both sides alike
    began = own_seconds()
    assert main([*command, "--seed", f"0..{JOBS - 1}", "-o", str(tmp_path / "out")]) == 0
    whole = own_seconds() - began
    measure(range(JOBS // 2 + 1, JOBS + 1))
    assert set(pictures(tmp_path / "out")) == {job.id for job in jobs}
    for name, seconds in {**alone_seconds, "batch": whole}.items():
        record_property(name, round(seconds, 2))
    assert whole <= 1.05 * alone_seconds.total()
