"""A chain of layers that keeps only what went into its first one, and works out the rest again for the gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Layer = Callable[[Tensor, Tensor | None], Tensor]
Slopes = tuple[Tensor, Tensor | None]


@runtime_checkable
class Pulled(Protocol):
    """A layer that knows a leaner way back than through everything it makes."""

    def pulled(self, features: Tensor, style: Tensor | None, slope: Tensor) -> Slopes:
        """The gradients on features and style (None = none) of a layer whose result has the gradient `slope`."""


def recomputed(chains: Sequence[Sequence[Layer]], features: Tensor, style: Tensor | None = None) -> Tensor:
    """What chains of layers with frozen weights make of features, one after the other, every layer with the style.

    Only what goes into each chain is kept. On the way back the input of each of its layers is made again from that, so
    that the maps of one layer exist at a time: of n layers n * (n - 1) / 2 are worked out again. Gradients reach
    features and style.
    Shapes: features [B, C, h, w], style [B, S, y, x] -> what the last layer gives.
    Source: gradient checkpointing (Chen et al., 2016), without keeping anything within a chain.
    """
    return _Recomputed.apply(features, style, chains)


def through(layers: Sequence[Layer], features: Tensor, style: Tensor | None = None) -> Tensor:
    """What the layers make of features [B, C, h, w] one after the other, each with the style."""
    for layer in layers:
        features = layer(features, style)
    return features


def pull(layer: Layer, features: Tensor, style: Tensor | None, slope: Tensor) -> Slopes:
    """The gradients on a layer's features and style, from the gradient `slope` on what it makes of them."""
    if isinstance(layer, Pulled):
        return layer.pulled(features, style, slope)
    with torch.enable_grad():
        inputs = [one.detach().requires_grad_() for one in (features, style) if one is not None]
        made = layer(inputs[0], *inputs[1:] or [None])
    on_features, *on_style = torch.autograd.grad(made, inputs, slope, allow_unused=True)
    return on_features, on_style[0] if on_style else None


def added(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """The sum of two gradients, where None is none."""
    return other if one is None else one if other is None else one + other


class _Recomputed(torch.autograd.Function):
    """One node for all chains: between two nodes autograd would hold a gradient longer than it is needed."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, style: Tensor | None, chains: Sequence[Sequence[Layer]]) -> Tensor:
        ctx.save_for_backward(style)
        ctx.chains, ctx.starts = chains, []
        for chain in chains:
            ctx.starts.append(features)
            features = through(chain, features, style)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        (style,) = ctx.saved_tensors
        on_style, starts = None, ctx.starts
        if not starts:
            raise RuntimeError("a lean decoder's gradient can be asked for once: what it kept is gone")
        for chain in reversed(ctx.chains):
            start = starts.pop()  # the largest is not needed any longer once its chain is done
            for last in reversed(range(len(chain))):
                slope, more = pull(chain[last], through(chain[:last], start, style), style, slope)
                on_style = added(on_style, more)
        return slope, on_style, None
