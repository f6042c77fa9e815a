"""Decoding, looking and the gradient as one CUDA graph: shapes fixed, random numbers in buffers; elsewhere as ever.

On a GPU a small picture waits for the launches of its thousand kernels; a graph launches them all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vqclip.ops.cutouts import CutoutPlan
from vqclip.ops.guide import Guided

Work = Callable[[Tensor, Sequence[CutoutPlan]], Guided]
WARM_UPS = 3


class Graphed:
    """Does work(latent, plans) from buffers of its own, which each call fills anew.

    On a GPU the work is captured at the first call and replayed at all others; elsewhere it is done as it is, which
    gives the same picture. The plans must keep their shapes and levels, which those of "views" and "pooled" do.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._buffers: list[Tensor] = []
        self._latent: Tensor | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._seen: Guided | None = None

    def __call__(self, latent: Tensor, plans: Sequence[CutoutPlan]) -> Guided:
        """The latents' pictures and gradient; the tensors are the caller's own."""
        values = [value for plan in plans for value in plan_tensors(plan)]
        if self._latent is None:
            self._latent = latent.clone()
            self._buffers = [value.to(latent.device, copy=True) for value in values]
            self._plans = filled(plans, self._buffers)
            if latent.is_cuda:
                self._capture()
        else:
            self._latent.copy_(latent)
            for buffer, value in zip(self._buffers, values, strict=True):
                buffer.copy_(value, non_blocking=True)
        if self._graph is None:
            return self._work(self._latent, self._plans)
        self._graph.replay()
        assert self._seen is not None
        seen = self._seen
        losses = {name: loss.clone() for name, loss in seen.losses.items()}
        return Guided(seen.image.clone(), seen.each.clone(), losses, seen.gradient.clone())

    def _capture(self) -> None:
        assert self._latent is not None
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                self._work(self._latent, self._plans)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._seen = self._work(self._latent, self._plans)


def plan_tensors(plan: CutoutPlan) -> list[Tensor]:
    """All that differs from step to step in a plan, as tensors. Raises: ValueError for a plan of "crops"."""
    if plan.matrices is None:
        raise ValueError('the cutouts of "crops" have no fixed shapes')
    found = [plan.matrices, plan.colors, plan.erased]
    if plan.noise is not None:
        found += [plan.noise.strips, torch.as_tensor(plan.noise.offsets), plan.noise.strengths]
    return [value for value in found if value is not None]


def filled(plans: Sequence[CutoutPlan], values: Sequence[Tensor]) -> list[CutoutPlan]:
    """The plans with these tensors, in the order of `plan_tensors`, in the place of their own."""
    left, made = iter(values), []
    for plan in plans:
        parts = {name: next(left) for name in ("matrices", "colors", "erased") if getattr(plan, name) is not None}
        if plan.noise is not None:
            strips, offsets, strengths = next(left), next(left), next(left)
            parts["noise"] = replace(plan.noise, strips=strips, offsets=offsets, strengths=strengths)
        made.append(replace(plan, **parts))
    return made
