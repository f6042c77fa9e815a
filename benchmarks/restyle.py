"""Measures how calm a restyled clip is, against painting every frame anew from the footage, on the starter.

    OMP_NUM_THREADS=1 python benchmarks/restyle.py                      # 24 frames at 128 px
    OMP_NUM_THREADS=1 python benchmarks/restyle.py --sheets FOLDER      # also every 6th frame of each way

The footage is a camera that goes over a drawn scene, so the motion is known exactly. Flicker is the mean absolute
difference between a frame and its predecessor as the camera would now see it, where that was in view; sharpness the
mean absolute gradient; loss the distance from the prompt at the last step; away the mean absolute difference from the
footage.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import write_result
from PIL import Image
from torch import Tensor

from vqclip.engine.canvas import State, begin
from vqclip.engine.course import Course
from vqclip.engine.film import see
from vqclip.engine.paint import paint
from vqclip.engine.restyle import Manner, Take, restyle
from vqclip.ops import geometry as geo
from vqclip.ops.camera import Move, camera
from vqclip.ops.losses import LatentAnchor
from vqclip.ops.pixels import to_picture
from vqclip.runs.parts import Parts, build_parts
from vqclip.runs.picture import painting
from vqclip.runs.plan import resolve
from vqclip.settings import Settings
from vqclip.sinks.play import play
from vqclip.starter.scenes import render
from vqclip.starter.world import random_scene

MOVE = Move(zoom=1.006, pan=(1.3, 0.4))


def footage(count: int, side: int, seed: int) -> tuple[list[Tensor], Tensor]:
    """A camera over a scene drawn twice as large: frames [1, 3, side, side], and the matrix of each move."""
    rng = np.random.default_rng([seed, 0])
    large = torch.from_numpy(render(random_scene(rng), 2 * side, rng)).permute(2, 0, 1)[None].float() / 255
    matrix = camera(MOVE, width=side, height=side)
    view = geo.translate(torch.tensor([-0.2]), torch.tensor([-0.1])).double()
    view = view @ geo.scale(torch.tensor([0.7]), torch.tensor([0.7])).double()
    frames = []
    for _ in range(count):
        seen = geo.warp(large, view, height=2 * side, width=2 * side, mode="bicubic")
        frames.append(torch.nn.functional.avg_pool2d(seen, 2).clamp(0, 1))
        view = view @ matrix
    return frames, matrix


def true_flow(matrix: Tensor, side: int) -> Tensor:
    """A matrix as a flow in pixels [1, 2, side, side]."""
    still = geo.grid(torch.eye(3, dtype=matrix.dtype)[None], side, side)
    return ((geo.grid(matrix, side, side) - still) * side / 2).permute(0, 3, 1, 2).float()


def measured_flow(after: Tensor, before: Tensor) -> Tensor:
    """The flow that OpenCV finds."""
    from vqclip.runs.flow import flow_between

    return torch.from_numpy(flow_between(to_picture(after), to_picture(before))).permute(2, 0, 1)[None]


def anew(parts: Parts, frames: list[Tensor], manner: Manner, state: State) -> Iterator[Tensor]:
    """The usual way: every frame is painted from its own footage, by an optimizer that remembers nothing."""
    step = state["step"]
    for frame in frames:
        latent = parts.vqgan.tokenize(frame)[0]
        extras = [*manner.extras, *([("source", manner.weight, LatentAnchor(latent))] if manner.weight else [])]
        how = {"course": manner.course, "cutouts": manner.cutouts, "extras": extras, "first": step}
        last = play(paint(parts.vqgan, manner.looks, begin(latent, state["seeds"], step=step), **how))
        assert last is not None
        step += manner.course.steps
        yield last


def measure(source: list[Tensor], events: list[Any], matrix: Tensor) -> dict[str, Any]:
    """Flicker, sharpness, distance from the prompt and from the footage; without the first frame."""
    frames = [event.image for event in events]
    inside = ~geo.outside(matrix.float(), height=frames[0].shape[2], width=frames[0].shape[3])
    changes = [
        float((after - see(before, matrix, "mirror")).abs().mean(1, keepdim=True)[inside].mean())
        for before, after in pairwise(frames)
    ]
    sharp = [float(f.diff(dim=3).abs().mean() + f.diff(dim=2).abs().mean()) for f in frames[1:]]
    away = [float((a - b).abs().mean()) for a, b in zip(source[1:], frames[1:], strict=True)]
    losses = [float(event.losses["starter"]) for event in events[1:] if hasattr(event, "losses")]
    means = {"flicker": changes, "sharpness": sharp, "away": away, "loss": losses or [0.0]}
    return {name: round(float(np.mean(values)), 4) for name, values in means.items()} | {
        "largest": round(max(changes), 4),
        "loss_at_the_end": round(float(np.mean((losses or [0.0])[-6:])), 4),
    }


def sheet(frames: list[Tensor], path: Path) -> None:
    """Every 6th frame in a row."""
    shown = [to_picture(frame) for frame in frames[::6]]
    page = Image.new("RGB", (len(shown) * shown[0].width, shown[0].height))
    for n, picture in enumerate(shown):
        page.paste(picture, (n * picture.width, 0))
    page.save(path)


def main() -> None:
    """Measures all ways in one run and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompt", default="an oil painting of a forest in autumn")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--first", type=int, default=60)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--weight", type=float, default=0.0)
    parser.add_argument("--keep", type=float, default=1.0)
    parser.add_argument("--hold", type=float, default=0.6)
    parser.add_argument("--average", type=float, default=0.8)
    parser.add_argument("--ways", default="")
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--dry", action="store_true")
    args = parser.parse_args()
    settings = Settings(
        prompt=args.prompt, seed=args.seed, init="image", width=args.side, height=args.side, steps=args.first
    )
    source, matrix = footage(args.frames, args.side, args.seed)
    parts = build_parts(
        resolve(settings)[0],
        device=torch.device("cpu"),
        offline=True,
        note=print,
        encoder=True,
        picture=to_picture(source[0]),
    )
    if args.weight:
        parts = replace(parts, extras=[*parts.extras, ("source", args.weight, LatentAnchor(parts.latent))])
    first = play(painting(parts))
    assert first is not None
    course = Course(args.steps, args.rate, average=args.average)
    manner = Manner(parts.looks, course, course, parts.cutouts, args.weight, args.keep, args.hold, parts.extras)
    flow = true_flow(matrix, args.side)
    back = true_flow(torch.linalg.inv(matrix), args.side)

    def carried(flows: Callable[[int], tuple[Any, Any]]) -> Iterator[Any]:
        def take(n: int) -> Take:
            return Take(source[n], source[n - 1], *flows(n)) if n else Take(source[0])

        return restyle(parts.vqgan, parts.vqgan, first.state(), takes=take, frames=len(source), manner=manner)

    def opencv(n: int) -> tuple[Tensor, Tensor]:
        return measured_flow(source[n], source[n - 1]), measured_flow(source[n - 1], source[n])

    ways: dict[str, Callable[[], Iterator[Any]]] = {
        "anew, same steps": lambda: anew(parts, source, manner, first.state()),
        "anew, 5 x the steps": lambda: anew(
            parts, source, replace(manner, course=replace(course, steps=5 * args.steps)), first.state()
        ),
        "carried": lambda: carried(lambda n: (None, None)),
        "carried by the true flow": lambda: carried(lambda n: (flow, back)),
        "carried by OpenCV's flow": lambda: carried(opencv),
    }
    found: dict[str, Any] = {}
    for name, way in ways.items():
        if args.ways and not any(part in name for part in args.ways.split(",")):
            continue
        started = time.monotonic()
        events = list(way())
        found[name] = measure(source, events, matrix) | {"seconds": round(time.monotonic() - started, 1)}
        print(f"{name:28}", found[name], flush=True)
        if args.sheets:
            args.sheets.mkdir(parents=True, exist_ok=True)
            sheet([event.image for event in events], args.sheets / f"{name.replace(' ', '-')}.png")
    if args.sheets:
        sheet(source, args.sheets / "footage.png")
    still = [type("Still", (), {"image": frame})() for frame in source]
    found["the footage itself"] = measure(source, still, matrix)
    print("the footage itself", found["the footage itself"])
    if not args.dry:
        write_result("restyle", {"prompt": args.prompt, "frames": args.frames, "side": args.side, "ways": found})


if __name__ == "__main__":
    main()
