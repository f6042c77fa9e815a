"""The usual way of VQGAN+CLIP, written plainly, to measure against: float32, contiguous, kornia, one-hot codes.

It computes what nerdyrodent's VQGAN-CLIP computes by default (cutout method "latest", Af Pe Ji Er, 32 cuts, Adam), on
open_clip's CLIP. Weights are frozen; the encoder and the discriminator are not held, which the original does hold.
"""

from __future__ import annotations

from typing import Any

import kornia.augmentation as K
import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class Cutouts(nn.Module):
    """The whole picture, pooled, repeated and augmented by kornia, with noise; normalized for CLIP."""

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.average, self.largest = nn.AdaptiveAvgPool2d(size), nn.AdaptiveMaxPool2d(size)
        self.augment = nn.Sequential(
            K.RandomAffine(degrees=15, translate=0.1, shear=5, p=0.7, padding_mode="zeros", keepdim=True),
            K.RandomPerspective(distortion_scale=0.7, p=0.7),
            K.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1, p=0.7),
            K.RandomErasing(scale=(0.1, 0.4), ratio=(0.3, 1 / 0.3), same_on_batch=True, p=0.7),
        )
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Image [1, 3, H, W] -> normalized cuts [count, 3, size, size]."""
        return (self.cut(image) - self.mean) / self.std

    def cut(self, image: Tensor) -> Tensor:
        """Image [1, 3, H, W] -> cuts [count, 3, size, size]."""
        pooled = (self.average(image) + self.largest(image)) / 2
        cuts = self.augment(torch.cat([pooled] * self.count))
        return cuts + cuts.new_empty(self.count, 1, 1, 1).uniform_(0, 0.1) * torch.randn_like(cuts)


class Block(nn.Module):
    """Twice group norm, swish, 3x3 convolution; added to the input."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first, self.second = (nn.GroupNorm(32, c, eps=1e-6) for c in (channels_in, channels_out))
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.short = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_in, h, w] -> [B, C_out, h, w]."""
        h = self.first(x)
        h = self.conv1(h * torch.sigmoid(h))
        h = self.second(h)
        return self.short(x) + self.conv2(h * torch.sigmoid(h))


class Attention(nn.Module):
    """Every cell looks at every other, with 1x1 convolutions and the full table of weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.q, self.k, self.v, self.out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        h = self.norm(x)
        q, k, v = (part(h).flatten(2) for part in (self.q, self.k, self.v))
        weights = torch.softmax(torch.bmm(q.transpose(1, 2), k) * x.shape[1] ** -0.5, dim=2)
        return x + self.out(torch.bmm(v, weights.transpose(1, 2)).view_as(x))


class Upsample(nn.Module):
    """Nearest neighbors doubled, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, 2h, 2w]."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def decoder() -> nn.Sequential:
    """The decoder of the f16 16384 model: 128 channels x (1, 1, 2, 2, 4), attention at the lowest level."""
    layers: list[nn.Module] = [nn.Conv2d(256, 256, 1), nn.Conv2d(256, 512, 3, padding=1)]
    layers += [Block(512, 512), Attention(512), Block(512, 512)]
    channels = 512
    for level, width in enumerate((512, 256, 256, 128, 128)):
        for _ in range(3):
            layers += [Block(channels, width)] + ([Attention(width)] if level == 0 else [])
            channels = width
        layers += [Upsample(channels)] if level < 4 else []
    layers += [nn.GroupNorm(32, channels, eps=1e-6), nn.SiLU(), nn.Conv2d(channels, 3, 3, padding=1)]
    return nn.Sequential(*layers)


class _ReplaceGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, forward: Tensor, backward: Tensor) -> Tensor:
        ctx.shape = backward.shape
        return forward

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient.sum_to_size(ctx.shape)


class _Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (gradient * (x - x.clamp(0, 1)) >= 0)


class Painter:
    """One picture, one CLIP, one prompt: `step()` is one iteration."""

    def __init__(self, clip: nn.Module, *, side: int = 256, count: int = 32, size: int = 224) -> None:
        self.clip = clip.eval().requires_grad_(False)
        self.decode = decoder().eval().requires_grad_(False)
        self.codebook = torch.randn(16384, 256)
        self.cutouts = Cutouts(size, count)
        self.target = F.normalize(torch.randn(1, 512), dim=-1)
        self.low, self.high = (bound[None, :, None, None] for bound in self.codebook.aminmax(dim=0))
        codes = torch.randint(16384, (1, side // 16, side // 16))
        self.latent = F.embedding(codes, self.codebook).permute(0, 3, 1, 2).contiguous().requires_grad_()
        self.optimizer = torch.optim.Adam([self.latent], lr=0.1)

    def quantize(self, x: Tensor) -> Tensor:
        """[..., C] -> the nearest rows, chosen by one-hot vectors."""
        book = self.codebook
        distance = x.pow(2).sum(-1, keepdim=True) + book.pow(2).sum(1) - 2 * x @ book.T
        chosen = F.one_hot(distance.argmin(-1), len(book)).to(x.dtype) @ book
        return _ReplaceGradient.apply(chosen, x)

    def step(self) -> float:
        """One iteration. Returns the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        quantized = self.quantize(self.latent.movedim(1, 3)).movedim(3, 1)
        image = _Clamp.apply((self.decode(quantized) + 1) / 2)
        embeddings = F.normalize(self.clip.encode_image(self.cutouts(image)).unsqueeze(1), dim=2)
        distance = embeddings.sub(self.target).norm(dim=2).div(2).arcsin().pow(2).mul(2)
        loss = distance.mean()
        loss.backward()
        self.optimizer.step()
        with torch.inference_mode():
            self.latent.copy_(self.latent.maximum(self.low).minimum(self.high))
        return loss.item()
