"""How the buffer of painted pictures begins: as the painting of users will, and in a few other ways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.models.prior import Prior
from vqclip.models.vqgan import VQGAN
from vqclip.train.scenes import SceneSet

Start = Callable[[np.ndarray, torch.Generator], Tensor]
"""How fresh latents begin: (the scenes [B] they are to be painted as, rng) -> latents [B, C, h, w]."""
SKETCHED = 0.5
"""The share of starts that are sketches, and of those the share that sketch their own scene."""
TOGETHER = 32


def sketched_starts(others: Start, prior: Prior, texts: Tensor, *, seed: int) -> Start:
    """Half the starts as `others` has them, half sketches of a prior: for their own scenes or, of those half, for any.

    One sketch is made beforehand of each of texts [N, D], the embedding of a caption of scene 0 to N - 1.
    """
    rng, side, channels = torch.Generator().manual_seed(seed), prior.config.grid, prior.config.latent_channels
    noise = torch.randn(len(texts), channels, side, side, generator=rng)
    made = [prior.sample(*some) for some in zip(texts.split(TOGETHER), noise.split(TOGETHER), strict=True)]
    sketches = torch.cat(made)

    def start(scenes: np.ndarray, rng: torch.Generator) -> Tensor:
        latents, count = others(scenes, rng), len(scenes)
        any_scene = torch.randint(len(sketches), (count,), generator=rng)
        own, sketched = (torch.rand(2, count, generator=rng) < SKETCHED).unbind()
        which = torch.where(own, torch.from_numpy(scenes), any_scene)
        latents[sketched] = sketches[which[sketched]].to(latents.dtype)
        return latents

    return start


def mixed_starts(vqgan: VQGAN, data: SceneSet) -> Start:
    """Starts of latents [B, C, h, w]: a third random codes, a third other scenes, a third blends of two scenes."""
    cells = data.images.shape[1] // vqgan.stride

    def encode(count: int, rng: torch.Generator) -> Tensor:
        indices = torch.randint(len(data), (count,), generator=rng).numpy()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return vqgan.tokenize(data.pictures(indices))[0].float()

    def start(scenes: np.ndarray, rng: torch.Generator) -> Tensor:
        count = len(scenes)
        codes = torch.randint(len(vqgan.codebook), (count, cells, cells), generator=rng)
        latents = F.embedding(codes, vqgan.codebook).permute(0, 3, 1, 2).contiguous()
        kind = torch.randint(3, (count,), generator=rng)
        first, second = encode(2 * count, rng).chunk(2)
        blends = F.avg_pool2d((first + second) / 2, 3, 1, 1)
        for number, other in ((1, first), (2, blends)):
            latents[kind == number] = other[kind == number]
        return latents

    return start
