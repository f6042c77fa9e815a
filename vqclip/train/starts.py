"""How the buffer of painted pictures begins: as the painting of users will, and in a few other ways."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.models.vqgan import VQGAN
from vqclip.train.scenes import SceneSet


def mixed_starts(vqgan: VQGAN, data: SceneSet) -> Callable[[int, torch.Generator], Tensor]:
    """Starts of latents [B, C, h, w]: a third random codes, a third other scenes, a third blends of two scenes."""
    cells = data.images.shape[1] // vqgan.stride

    def encode(count: int, rng: torch.Generator) -> Tensor:
        indices = torch.randint(len(data), (count,), generator=rng).numpy()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return vqgan.tokenize(data.pictures(indices))[0].float()

    def start(count: int, rng: torch.Generator) -> Tensor:
        codes = torch.randint(len(vqgan.codebook), (count, cells, cells), generator=rng)
        latents = F.embedding(codes, vqgan.codebook).permute(0, 3, 1, 2).contiguous()
        kind = torch.randint(3, (count,), generator=rng)
        scenes = encode(2 * count, rng).chunk(2)
        blends = F.avg_pool2d((scenes[0] + scenes[1]) / 2, 3, 1, 1)
        for number, other in ((1, scenes[0]), (2, blends)):
            latents[kind == number] = other[kind == number]
        return latents

    return start
