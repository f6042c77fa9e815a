"""The first latent: random codes, an encoded picture, or what a prior sketches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vqclip.models.interfaces import ImageEncoder


def from_codes(codebook: Tensor, grid: tuple[int, int], rngs: Sequence[Generator]) -> Tensor:
    """Each cell a random code vector. Shapes: codebook [N, C], grid (rows, columns), B rngs -> latent [B, C, h, w]."""
    codes = torch.stack([torch.randint(0, len(codebook), grid, generator=rng) for rng in rngs])
    return F.embedding(codes.to(codebook.device), codebook.float()).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def from_image(encoder: ImageEncoder, image: Tensor) -> Tensor:
    """A picture as the code vectors nearest to it. Shapes: image [B, 3, H, W] in [0, 1] -> latent [B, C, h, w]."""
    return encoder.tokenize(image)[0]


def from_prior(
    sample: Callable[[Tensor], Tensor], channels: int, grid: tuple[int, int], rngs: Sequence[Generator]
) -> Tensor:
    """A prior's sketch: sample(normal noise [B, C, h, w]) -> latent [B, C, h, w], on the CPU or any device."""
    with torch.no_grad():
        return sample(torch.stack([torch.randn(channels, *grid, generator=rng) for rng in rngs]))


def noise_image(height: int, width: int, rngs: Sequence[Generator]) -> Tensor:
    """Colored clouds: noise of all sizes, each half as strong as the next larger one. -> [B, 3, height, width]."""
    clouds = torch.zeros(len(rngs), 3, height, width)
    cells, strength = 2, 1.0
    while cells <= max(height, width):
        size = (min(cells, height), min(cells, width))
        octave = torch.stack([torch.rand(3, *size, generator=rng) for rng in rngs]) - 0.5
        clouds += strength * F.interpolate(octave, (height, width), mode="bicubic")
        cells, strength = cells * 2, strength / 2
    return (clouds * 0.75 + 0.5).clamp(0, 1)


def gradient_image(height: int, width: int, rngs: Sequence[Generator]) -> Tensor:
    """A plain run from one random color to another, in a random direction. -> [B, 3, height, width] in [0, 1]."""
    pictures = []
    for rng in rngs:
        first, second = torch.rand(2, 3, 1, 1, generator=rng)
        angle = torch.rand((), generator=rng) * 2 * torch.pi
        x, y = torch.linspace(-1, 1, width), torch.linspace(-1, 1, height)[:, None]
        along = (angle.cos() * x + angle.sin() * y) / (angle.cos().abs() + angle.sin().abs())
        pictures.append(torch.lerp(first, second, (along + 1) / 2))
    return torch.stack(pictures)
