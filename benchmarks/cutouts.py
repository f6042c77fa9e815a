"""Cutouts, forward and backward: this package's against the kornia pipeline of the peers, in turn, one thread.

python benchmarks/cutouts.py [ROUNDS]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import peers
import torch
from machine import CHANGES, interleaved, summary, write_result

from vqclip.ops.cutouts import CutoutSettings, apply_cutouts, draw_cutouts

COUNT, SIZE, SIDE = 32, 224, 256


def ours(settings: CutoutSettings, image: torch.Tensor, slope: torch.Tensor) -> Callable[[], object]:
    """Draws, cuts and takes the gradient."""
    rng = torch.Generator().manual_seed(0)

    def run() -> object:
        plan = draw_cutouts(settings, size=SIZE, height=SIDE, width=SIDE, rngs=[rng])
        return torch.autograd.grad(apply_cutouts(image, plan), image, slope)

    return run


def main() -> None:
    """Measures and writes results/cutouts.json."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    image = torch.rand(1, 3, SIDE, SIDE, requires_grad=True)
    slope = torch.randn(COUNT, 3, SIZE, SIZE)
    theirs = peers.Cutouts(SIZE, COUNT)
    sides = {"kornia": lambda: torch.autograd.grad(theirs.cut(image), image, slope)}
    for method in ("views", "pooled", "crops"):
        sides[method] = ours(CutoutSettings(count=COUNT, method=method, **CHANGES), image, slope)
    seconds = interleaved(sides, int(sys.argv[1]) if len(sys.argv) > 1 else 10, warm_up=2)
    least = {name: min(all_) for name, all_ in seconds.items()}
    write_result(
        "cutouts",
        {
            "what": f"{COUNT} cuts of {SIZE} px from {SIDE} px, forward and backward, CPU seconds",
            "seconds": {name: summary(all_) for name, all_ in seconds.items()},
            "times_faster": {name: round(least["kornia"] / one, 2) for name, one in least.items() if name != "kornia"},
        },
    )


if __name__ == "__main__":
    main()
