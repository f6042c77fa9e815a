"""Measures how well each way of following the camera keeps a film calm and sharp, on the starter.

    OMP_NUM_THREADS=1 python benchmarks/films.py                       # all ways, zooms of 25 frames at 128 px
    OMP_NUM_THREADS=1 python benchmarks/films.py --sheets FOLDER       # also every 8th frame of each, side by side

Every way starts from the same picture and gets the same camera, steps and learning rate. The peers' way is written
plainly: the frame as 8 bits, warped by Pillow, encoded again, a new optimizer. "Shown" are the same frames as films
show them (`ops.clarity`), the peers' too; what is fed back is never changed. Flicker is the mean absolute difference
between a frame and its predecessor warped by the camera, where that was in view; sharpness the mean absolute gradient.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from machine import write_result
from PIL import Image
from torch import Tensor

from vqclip.engine.canvas import State, begin
from vqclip.engine.course import Course
from vqclip.engine.film import Carry, Shot, film, see
from vqclip.engine.paint import paint
from vqclip.films import FilmSettings
from vqclip.ops import geometry as geo
from vqclip.ops.camera import Move, camera
from vqclip.ops.clarity import Showing
from vqclip.ops.pixels import to_picture, to_tensor
from vqclip.runs.painting import painting
from vqclip.runs.parts import Parts, build_parts
from vqclip.runs.plan import resolve
from vqclip.settings import Settings
from vqclip.sinks.play import play

PROMPTS = ("a castle in fog", "a lighthouse at sunset", "a red mushroom by day")
AVERAGE, SHOWING = FilmSettings().frame_average, Showing(FilmSettings().clarity, FilmSettings().calm)
PLAIN = {"hold": 0.0, "sharpen": 0.0}
# Each way as it is, and calmed: what a move loses is held, and the picture comes from the average of the latents.
WAYS: dict[str, tuple[Carry, float]] = {
    "picture": (Carry("picture", **PLAIN), 0.0),
    "state": (Carry("state", **PLAIN), 0.0),
    "cells": (Carry("cells", **PLAIN), 0.0),
    "picture, calmed": (Carry("picture"), AVERAGE),
    "state, calmed": (Carry("state"), AVERAGE),
    "cells, calmed": (Carry("cells"), AVERAGE),
}


def peers(parts: Parts, state: State, shot: Shot, frames: int) -> Iterator[Tensor]:
    """Frame by frame: 8 bits, warp, encode, paint with an optimizer that remembers nothing."""
    seeds, picture = state["seeds"], None
    for index in range(frames):
        course = replace(shot.course, steps=shot.course.steps if index else 0)
        if picture is not None:
            moved = warp_bytes(picture, shot.matrix)
            state = begin(parts.vqgan.tokenize(to_tensor(moved))[0], seeds, step=state["step"] + course.steps)
        last = play(
            paint(
                parts.vqgan,
                shot.looks,
                state,
                course=course,
                cutouts=shot.cutouts,
                extras=shot.extras,
                first=state["step"],
            )
        )
        assert last is not None
        picture = to_picture(last.image)
        yield to_tensor(picture)


def warp_bytes(picture: Image.Image, matrix: Tensor) -> Image.Image:
    """A picture warped by Pillow, in 8 bits."""
    width, height = picture.size
    pixels = torch.tensor([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]], dtype=torch.float64)
    inside = torch.linalg.inv(pixels) @ matrix[0] @ pixels
    numbers = (inside / inside[2, 2]).flatten()[:8].tolist()
    return picture.transform(picture.size, Image.Transform.PERSPECTIVE, numbers, Image.Resampling.BICUBIC)


def measure(frames: list[Tensor], matrix: Tensor) -> dict[str, Any]:
    """Flicker and sharpness of a film [1, 3, H, W] each, without the first frame."""
    height, width = frames[0].shape[2:]
    inside = ~geo.outside(matrix.float(), height=height, width=width)
    changes = [
        float((after - see(before, matrix, "mirror")).abs().mean(1, keepdim=True)[inside].mean())
        for before, after in pairwise(frames)
    ]
    sharp = [float(f.diff(dim=3).abs().mean() + f.diff(dim=2).abs().mean()) for f in frames[1:]]
    return {
        "flicker": round(sum(changes) / len(changes), 5),
        "largest": round(max(changes), 5),
        "sharpness": round(sum(sharp) / len(sharp), 5),
        "sharpness_at_the_end": round(sum(sharp[-8:]) / 8, 5),
    }


def there_and_back(parts: Parts, state: State, shot: Shot, move: Move, carry: Carry, frames: int = 24) -> float:
    """Zooms in and out again without painting: the PSNR in dB where nothing went out of view."""
    side = parts.settings.width or 0
    still = Course(steps=0, learning_rate=0.1)
    there, back = (camera(m, width=side, height=side) for m in (move, Move(zoom=1 / move.zoom)))

    def shots(n: int) -> Shot:
        return Shot(there if n <= frames else back, shot.looks, still, shot.cutouts)

    seen = [
        frame.image for frame in film(parts.vqgan, parts.vqgan, state, shots=shots, frames=2 * frames + 1, carry=carry)
    ]
    edge = int(side / 2 * (1 - move.zoom**-frames)) + 2
    error = (seen[0] - seen[-1])[..., edge:-edge, edge:-edge].square().mean()
    return round(-10 * float(error.clamp(min=1e-12).log10()), 1)


def repeat(shot: Shot) -> Callable[[int], Shot]:
    """The same for every frame, but nothing is painted on the first."""
    return lambda n: shot if n else replace(shot, course=replace(shot.course, steps=0))


def means(films: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The figures of each way, meant over the prompts."""
    first, *_ = films.values()
    return {
        way: {key: round(sum(found[way][key] for found in films.values()) / len(films), 5) for key in figures}
        for way, figures in first.items()
    }


def main() -> None:
    """Reads the arguments, films, writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", nargs="*", default=list(PROMPTS))
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--steps", type=int, default=5, help="for each frame")
    parser.add_argument("--lr", type=float, default=0.004, help="of the frames")
    parser.add_argument("--zoom", type=float, default=1.02)
    parser.add_argument("--only", nargs="*", help="these ways alone; no result is written then")
    parser.add_argument("--sheets", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    films = {prompt: ways_of(prompt, asked) for prompt in asked.prompts}
    if not asked.only:
        said = {key: value for key, value in vars(asked).items() if key not in ("sheets", "only", "prompts")}
        write_result("films", {"asked": said, "mean": means(films), "prompts": films})


def ways_of(prompt: str, asked: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Films a prompt in every way, all from the same picture, and measures each."""
    settings = Settings.make(
        {"prompt": prompt, "seed": 7, "width": asked.size, "height": asked.size, "steps": 100, "cutouts": 16}
    )
    parts = build_parts(resolve(settings)[0], device=torch.device("cpu"), offline=True, note=print)
    opening = play(painting(parts))
    assert opening is not None
    state, move = opening.state(), Move(zoom=asked.zoom)
    shot = Shot(
        camera(move, width=asked.size, height=asked.size),
        parts.looks,
        Course(steps=asked.steps, learning_rate=asked.lr),
        parts.cutouts,
        parts.extras,
    )
    found: dict[str, dict[str, float]] = {}
    for name in ("peers", *WAYS):
        if asked.only and name not in asked.only:
            continue
        if name == "peers":
            frames = list(peers(parts, state, shot, asked.frames))
        else:
            carry, average = WAYS[name]
            ours = replace(shot, course=replace(shot.course, average=average))
            loop = film(parts.vqgan, parts.vqgan, state, shots=repeat(ours), frames=asked.frames, carry=carry)
            frames = [frame.image for frame in loop]
        found[name] = measure(frames, shot.matrix)
        if name != "peers":
            found[name]["there_and_back_db"] = there_and_back(parts, state, shot, move, WAYS[name][0])
        shown = {name: frames}
        if name == "peers" or name.endswith("calmed"):
            shown[f"{name}, shown"] = [SHOWING(frame) for frame in frames]
            found[f"{name}, shown"] = measure(shown[f"{name}, shown"], shot.matrix)
        for title, seen in shown.items():
            print(prompt, title, found[title], flush=True)
            if asked.sheets:
                save_row(seen, asked.sheets / f"{prompt} {title}.png".replace(", ", "-").replace(" ", "-"))
    return found


def save_row(frames: list[Tensor], path: Path) -> None:
    """Saves every 8th frame, side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    to_picture(torch.cat([frame[0] for frame in frames[::8]], dim=2)).save(path)


if __name__ == "__main__":
    main()
