"""Real parts made tiny: a decoder with a codebook and a perceptor, fast enough for hundreds of steps in a test."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.engine.paint import Look
from vqclip.models.quantizer import Quantizer
from vqclip.ops.cutouts import CutoutSettings
from vqclip.ops.guide import Targets


class TinyDecoder(nn.Module):
    """Stride 4, 16 codes of 6 channels; also an encoder."""

    stride = 4

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.table = Quantizer(16, 6)
            nn.init.normal_(self.table.weight)
            self.up = nn.ConvTranspose2d(6, 8, 4, 4)
            self.out = nn.Conv2d(8, 3, 3, padding=1)
            self.down = nn.Conv2d(3, 6, 4, 4)
        self.requires_grad_(False)

    @property
    def codebook(self) -> Tensor:
        return self.table.rows

    def latent_range(self) -> tuple[Tensor, Tensor]:
        return self.table.reach()

    def quantize(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        return self.table(latent)

    def decode(self, quantized: Tensor, *, lean: bool = False) -> Tensor:
        return 3 * self.out(F.silu(self.up(quantized))) + 0.5

    def encode(self, image: Tensor) -> Tensor:
        return self.down(image * 2 - 1)

    def tokenize(self, image: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.table.nearest(self.encode(image))
        return self.table.lookup(codes), codes


class TinyPerceptor(nn.Module):
    """Looks at 8 x 8 pixels and answers in 12 numbers."""

    image_size = 8

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.eye = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(72, 12, bias=False))
        self.requires_grad_(False)

    def embed_image(self, image: Tensor) -> Tensor:
        return F.normalize(self.eye(4 * image - 2), dim=-1)

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        rngs = [torch.Generator().manual_seed(sum(text.encode())) for text in texts]
        return F.normalize(torch.stack([torch.randn(12, generator=rng) for rng in rngs]), dim=-1)


def shaken(count: int, roll: float = 0.0) -> CutoutSettings:
    """Cutouts with a little of every change."""
    return CutoutSettings(
        count=count,
        whole_views=0.4,
        smallest_view=0.35,
        noise=0.1,
        jitter=0.1,
        rotation=10.0,
        perspective=0.3,
        flip=True,
        roll=roll,
    )


def tiny_look(*texts: str, name: str = "tiny") -> Look:
    """The tiny perceptor, wanting these texts equally."""
    perceptor = TinyPerceptor()
    targets = perceptor.embed_text(texts or ("a castle",))[None]
    weights = torch.ones(targets.shape[1])
    return Look(name, perceptor, Targets(targets, weights, torch.full_like(weights, -torch.inf)))
