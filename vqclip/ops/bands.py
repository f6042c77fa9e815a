"""A decoder's commonest three layers (group norm, swish, 3x3 convolution) as one, worked through in bands of rows.

Only the input is kept for the backward, a third of what the three layers keep; the two maps between them exist one band
at a time. Every band reads one row more on both sides, and the norm's moments are those of the whole map, so the result
is the whole map's up to rounding: no seam can arise. On a CPU a band that fits its cache also takes a fifth to a third
less time than the whole map does.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from vqclip.ops.norms import Moments, moments_of, slopes_of

BAND_BYTES = 4 * 2**20
LARGE_BYTES = 256 * 2**20

Wrap = tuple[bool, bool]
PLAIN: Wrap = (False, False)
Norm = tuple[int, Tensor, Tensor, float]  # groups, weight [C], bias [C], eps
Kernel = tuple[Tensor, Tensor | None]  # weight [D, C, 3, 3], bias [D]


def norm_swish_conv(
    features: Tensor,
    norm: Norm,
    conv: Kernel,
    *,
    residual: Tensor | None = None,
    wrap: Wrap = PLAIN,
    rows: int | None = None,
) -> Tensor:
    """Group norm, swish and a 3x3 convolution of frozen weights, and the residual added if there is one.

    norm is (groups, weight [C], bias [C], eps), conv (weight [D, C, 3, 3], bias [D]). wrap says along which axis (x, y)
    the picture goes on where it ends; else zeros lie around it. rows is the height of a band (None = by BAND_BYTES).
    Gradients reach features and residual only.
    Shapes: features [B, C, h, w], residual [B, D, h, w] -> [B, D, h, w].
    Source: gradient checkpointing (Chen et al., 2016), taken down to single layers.
    """
    height = rows or band_rows(features, conv[0].shape[0])
    return _NormSwishConv.apply(features, residual, norm, conv, wrap, height)


def norm_swish_conv_back(
    features: Tensor,
    slope: Tensor,
    norm: Norm,
    conv: Kernel,
    *,
    wrap: Wrap = PLAIN,
) -> Tensor:
    """The gradient that `norm_swish_conv` passes on to features, given that on its result, without that result.

    Shapes: features [B, C, h, w], slope [B, D, h, w] -> [B, C, h, w].
    """
    rows = band_rows(features, conv[0].shape[0])
    groups, gain, offset, eps = norm
    moments = moments_of([_cells(features[:, :, a:b]) for a, b in _bands(features.shape[2], rows)], groups, eps)
    return _backward(features, slope, (gain, offset), moments, conv[0], wrap, rows)


def add_conv1x1_back(back: Tensor, slope: Tensor, weight: Tensor) -> None:
    """Adds to back [B, C, h, w], in place, what a 1x1 convolution of weight [D, C, 1, 1] makes of slope [B, D, h, w] on
    its way back; no map beside the two is made."""
    for a, b in _bands(back.shape[2], band_rows(back)):
        back[:, :, a:b] += F.conv_transpose2d(slope[:, :, a:b], weight)


def band_rows(features: Tensor, channels: int = 0) -> int:
    """How many rows of a map [B, C, h, w] fit into a band, also after it has been given other channels."""
    row = len(features) * max(features.shape[1], channels) * features.shape[3] * features.element_size()
    return max(8, (BAND_BYTES if features.is_cpu else LARGE_BYTES) // row)


def padded(features: Tensor, wrap: Wrap = PLAIN) -> Tensor:
    """The map with a cell more on every side: of the other end where it wraps, else of zeros.

    Shapes: features [B, C, h, w] -> [B, C, h + 2, w + 2].
    """
    height = features.shape[2]
    rows = _closed(_around(features, 0, height, wrap[1]), 0, height, height, wrap[1])
    return F.pad(rows, (1, 1, 0, 0), mode="circular") if wrap[0] else F.pad(rows, (1, 1))


def _around(features: Tensor, start: int, stop: int, wrap: bool) -> Tensor:
    """Rows start - 1 .. stop of a map [B, C, h, w]; those outside it come from the other end or are left out."""
    height = features.shape[2]
    inner = features[:, :, max(start - 1, 0) : min(stop + 1, height)]
    if not wrap or (start and stop < height):
        return inner
    return torch.cat([features[:, :, -1:]] * (start == 0) + [inner] + [features[:, :, :1]] * (stop == height), dim=2)


def _closed(band: Tensor, start: int, stop: int, height: int, wrap: bool) -> Tensor:
    """Zeros for the rows that `_around` has left out."""
    missing = (int(start == 0), int(stop == height))
    return band if wrap or not any(missing) else F.pad(band, (0, 0, *missing))


def _convolved(band: Tensor, weight: Tensor, bias: Tensor | None, wrap_x: bool) -> Tensor:
    """A band [B, C, rows + 2, w] -> [B, D, rows, w]."""
    if wrap_x:
        return F.conv2d(F.pad(band, (1, 1, 0, 0), mode="circular"), weight, bias)
    return F.conv2d(band, weight, bias, padding=(0, 1))


def _convolved_back(band: Tensor, weight: Tensor, wrap_x: bool) -> Tensor:
    """The gradient of `_convolved` on its rows but the outer two. Shapes: a band of slopes [B, D, rows + 2, w] with one
    row more on both sides -> [B, C, rows, w]."""
    if wrap_x:
        return F.conv_transpose2d(F.pad(band, (1, 1, 0, 0), mode="circular"), weight, padding=(2, 2))
    return F.conv_transpose2d(band, weight, padding=(2, 1))


class _NormSwishConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        residual: Tensor | None,
        norm: Norm,
        conv: Kernel,
        wrap: Wrap,
        rows: int,
    ) -> Tensor:
        groups, gain, offset, eps = norm
        weight, bias = conv
        height = features.shape[2]
        bands = _bands(height, rows)
        moments = moments_of([_cells(features[:, :, a:b]) for a, b in bands], groups, eps)
        scale, shift = _as_map(*moments.affine(gain, offset), dtype=_wide(features))
        out = _empty(features, weight.shape[0])
        for a, b in bands:
            normed = torch.addcmul(shift, _around(features, a, b, wrap[1]), scale)
            band = F.silu(normed, inplace=True).to(features.dtype)
            done = _convolved(_closed(band, a, b, height, wrap[1]), weight, bias, wrap[0])
            out[:, :, a:b] = done if residual is None else done.add_(residual[:, :, a:b])
        ctx.save_for_backward(features, gain, offset, weight)
        ctx.moments, ctx.wrap, ctx.rows = moments, wrap, rows
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        on_features = None
        if ctx.needs_input_grad[0]:
            features, gain, offset, weight = ctx.saved_tensors
            on_features = _backward(features, slope, (gain, offset), ctx.moments, weight, ctx.wrap, ctx.rows)
        return on_features, slope if ctx.needs_input_grad[1] else None, None, None, None, None


def _backward(
    features: Tensor,
    slope: Tensor,
    affine: tuple[Tensor, Tensor],
    moments: Moments,
    weight: Tensor,
    wrap: Wrap,
    rows: int,
) -> Tensor:
    gain, offset = affine
    scale, shift = _as_map(*moments.affine(gain, offset), dtype=_wide(features))
    height = features.shape[2]
    bands = _bands(height, rows)
    back = _empty(features, features.shape[1])
    # small tensors that outlive their band lie scattered between its large ones and keep the heap from closing up
    totals, dots = (torch.zeros(features.shape[:2], dtype=torch.float32, device=features.device) for _ in range(2))
    for a, b in bands:
        inner = features[:, :, a:b].to(_wide(features))
        around = _closed(_around(slope, a, b, wrap[1]), a, b, height, wrap[1])
        coming = _convolved_back(around, weight, wrap[0]).to(inner.dtype)
        bent = torch.ops.aten.silu_backward(coming, torch.addcmul(shift, inner, scale))
        totals += _cells(bent).sum(1, dtype=torch.float32)
        dots += (_cells(bent) * _cells(inner)).sum(1, dtype=torch.float32)
        back[:, :, a:b] = bent
    count = height * features.shape[3]
    coefficients = slopes_of(moments, totals, dots, gain, count)
    direct, bent, flat = (_as_map(one, dtype=features.dtype)[0] for one in coefficients)
    for a, b in bands:
        back[:, :, a:b].mul_(direct).addcmul_(features[:, :, a:b], bent).add_(flat)
    return back


def _bands(height: int, rows: int) -> list[tuple[int, int]]:
    return [(start, min(start + rows, height)) for start in range(0, height, rows)]


def _cells(features: Tensor) -> Tensor:
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def _wide(features: Tensor) -> torch.dtype:
    """What a map is normed in: float32, or more where it has more."""
    return torch.promote_types(features.dtype, torch.float32)


def _as_map(*values: Tensor, dtype: torch.dtype) -> list[Tensor]:
    return [value.to(dtype).permute(0, 2, 1).unsqueeze(3) for value in values]


def _empty(features: Tensor, channels: int) -> Tensor:
    batch, _, height, width = features.shape
    shape = (batch, channels, height, width)
    return torch.empty(shape, dtype=features.dtype, device=features.device, memory_format=torch.channels_last)
