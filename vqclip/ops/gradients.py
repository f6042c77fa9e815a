"""Functions whose backward is not the derivative of their forward, on purpose."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def clamp_with_gradient(x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Clamps, but lets those gradients through that would bring an outside value back towards the range.

    A plain clamp has no gradient outside the range, so a pixel that left it could never return.
    Shapes: any -> the same, within [low, high].
    Source: `clamp_with_grad` in the VQGAN+CLIP notebook (Crowson, 2021).
    """
    return _ClampWithGradient.apply(x, low, high)


def straight_through(value: Tensor, source: Tensor) -> Tensor:
    """Has exactly the first's values, and sends all of its gradient to the second, as if that had been them.

    Shapes: value [...], source the same or broadcast to it -> [...].
    Source: `replace_grad` in the VQGAN+CLIP notebook (Crowson, 2021); the estimator is Bengio et al., 2013.
    """
    return value + (source - source.detach())


def spherical_distance(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared angle between unit vectors: 0 for equal ones, pi^2 / 2 for opposite ones.

    Shapes: a and b [..., D] of length one, broadcast -> [...] in [0, 4.935].
    Source: `2 asin(|a - b| / 2)^2` of the VQGAN+CLIP notebook (Crowson, 2021). Differs: taken from the half angle's
    tangent, which is exact at both ends, so that opposite vectors have a finite gradient instead of infinity.
    """
    near, far = torch.linalg.vector_norm(a - b, dim=-1), torch.linalg.vector_norm(a + b, dim=-1)
    return 2 * torch.atan2(near, far).square()


class _ClampWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.low, ctx.high = low, high
        ctx.save_for_backward(x)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        # a product, not a choice: a NaN gradient must stay visible
        return gradient * (gradient * (x - x.clamp(ctx.low, ctx.high)) >= 0), None, None
