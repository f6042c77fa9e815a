"""Moves a painting with the camera: the whole state (latent, average, the optimizer's moments), by one matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from vqclip.engine.canvas import State
from vqclip.engine.streams import stream
from vqclip.ops import geometry as geo

Rim = Literal["mirror", "wrap", "smear", "fresh"]
PADDING: dict[str, Literal["reflection", "wrap", "border"]] = {
    "mirror": "reflection",
    "wrap": "wrap",
    "smear": "border",
    "fresh": "reflection",
}


def warp(
    state: State, matrix: Tensor, *, rim: Rim = "mirror", latent_range: tuple[Tensor, Tensor] | None = None
) -> State:
    """The state of a painting, seen through a moved camera: everything that has a place moves along.

    Everything is taken bilinearly, so that no second moment becomes negative and no latent leaves its range; a
    shift by whole cells is exact. Beyond the edges lies what `rim` says; "fresh" puts random values of the latent's
    range there, drawn by seed and step, with moments of zero.
    Shapes: matrix [1, 3, 3], from the new places to the old (see `ops.geometry`); latent_range ([C], [C]) for "fresh".
    Raises: ValueError for "fresh" without a latent_range.
    """
    rows, columns = state["latent"].shape[2:]
    beyond = None
    if rim == "fresh":
        if latent_range is None:
            raise ValueError("painting fresh at the rim needs the latent's range")
        beyond = geo.outside(matrix, height=rows, width=columns).to(state["latent"].device)

    def move(value: Tensor) -> Tensor:
        return geo.warp(value, matrix, height=rows, width=columns, padding=PADDING[rim])

    moved = {**state, "latent": move(state["latent"])}
    if beyond is not None and latent_range is not None:
        moved["latent"] = torch.where(beyond, _fresh(state, *latent_range), moved["latent"])
    if "average" in state:
        moved["average"] = move(state["average"])
        if beyond is not None:
            share = state["weight"][:, None, None, None]
            moved["average"] = torch.where(beyond, moved["latent"] * share, moved["average"])
    if "optimizer" in state:
        moved["optimizer"] = moved_moments(state["optimizer"], lambda value: _emptied(move(value), beyond))
    return moved


def with_latent(state: State, latent: Tensor) -> State:
    """The state with another latent; its average, if there is one, becomes that latent too."""
    changed = {**state, "latent": latent}
    if "average" in state:
        changed["average"] = latent * state["weight"][:, None, None, None]
    return changed


def finished(state: State) -> Tensor:
    """The latent that a picture of this state is decoded from: the average, where one is taken [B, C, h, w]."""
    weight = state["weight"][:, None, None, None] if "weight" in state else state["latent"].new_zeros(())
    return torch.where(weight > 0, state.get("average", state["latent"]) / weight.clamp(min=1e-9), state["latent"])


def moved_moments(optimizer: dict[str, Any], move: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The optimizer's state with everything that has the latent's shape moved, and its counters as they are."""
    held = {
        number: {name: move(value) if _has_place(value) else value for name, value in kept.items()}
        for number, kept in optimizer["state"].items()
    }
    return {**optimizer, "state": held}


def _has_place(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _emptied(value: Tensor, beyond: Tensor | None) -> Tensor:
    return value if beyond is None else torch.where(beyond, 0.0, value)


def _fresh(state: State, low: Tensor, high: Tensor) -> Tensor:
    rngs = [stream(seed, "rim", state["step"]) for seed in state["seeds"]]
    share = torch.stack([torch.rand(state["latent"].shape[1:], generator=rng) for rng in rngs]).to(low.device)
    return torch.lerp(*(side.float()[None, :, None, None] for side in (low, high)), share)
