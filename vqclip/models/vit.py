"""The two halves of a VQGAN made of transformers, under ViT-VQGAN's own weight names."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.configs import TransformerConfig, ViTVQGANConfig
from vqclip.models.blocks import attend

HEAD_WIDTH = 64


class _Attention(nn.Module):
    """Multi-head self-attention whose heads are always 64 wide, whatever the tokens' width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * heads * HEAD_WIDTH, bias=False)
        self.to_out = nn.Linear(heads * HEAD_WIDTH, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, _ = tokens.shape
        split = self.to_qkv(tokens).view(batch, count, 3, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        return self.to_out(attend(*split).transpose(1, 2).reshape(batch, count, -1))


class _FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.net(tokens)


class _Normed(nn.Module):
    """A layer that sees its tokens normed, and is added to them."""

    def __init__(self, width: int, layer: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = layer

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.fn(self.norm(tokens))


class _Transformer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.layers = nn.ModuleList(
            nn.Sequential(
                _Normed(width, _Attention(width, config.heads)), _Normed(width, _FeedForward(width, config.hidden))
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)


def _placed(features: Tensor, places: Tensor, grid: tuple[int, int]) -> Tensor:
    """Features [B, C, h, w] plus where each stands [1, N, C] -> tokens [B, h * w, C].

    Places were learnt on one grid; another one gets them stretched, which keeps the picture together but softens it.
    """
    size = features.shape[2:]
    if tuple(size) != grid:
        square = places.permute(0, 2, 1).reshape(1, -1, *grid)
        places = F.interpolate(square, size=size, mode="bicubic", align_corners=False).flatten(2).permute(0, 2, 1)
    return features.flatten(2).transpose(1, 2) + places


class ViTEncoder(nn.Module):
    """From a picture to features of the latent's size. Source: ViT-VQGAN (Yu et al., 2021)."""

    def __init__(self, config: ViTVQGANConfig) -> None:
        super().__init__()
        width, patch = config.encoder.width, config.patch
        self.grid = config.grid
        self.to_patch_embedding = nn.Sequential(nn.Conv2d(config.in_channels, width, patch, stride=patch))
        self.en_pos_embedding = nn.Parameter(torch.zeros(1, config.grid[0] * config.grid[1], width))
        self.transformer = _Transformer(config.encoder)

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, 3, H, W] in [0, 1] -> features [B, width, H/patch, W/patch]."""
        features = self.to_patch_embedding(image)
        tokens = self.transformer(_placed(features, self.en_pos_embedding, self.grid))
        return tokens.transpose(1, 2).reshape(features.shape)


class ViTDecoder(nn.Module):
    """From features of the latent's size to a picture. Source: ViT-VQGAN (Yu et al., 2021)."""

    def __init__(self, config: ViTVQGANConfig) -> None:
        super().__init__()
        width, patch = config.decoder.width, config.patch
        self.grid = config.grid
        self.de_pos_embedding = nn.Parameter(torch.zeros(1, config.grid[0] * config.grid[1], width))
        self.transformer = _Transformer(config.decoder)
        to_pixel = nn.ConvTranspose2d(width, config.out_channels, patch, stride=patch)
        self.to_pixel = nn.Sequential(nn.Identity(), to_pixel)

    def forward(self, features: Tensor, style: Tensor | None = None, *, lean: bool = False) -> Tensor:
        """Features [B, width, h, w] -> image [B, 3, h*patch, w*patch], nominally in [0, 1].

        A style changes nothing, and neither does lean: all its maps are small.
        """
        tokens = self.transformer(_placed(features, self.de_pos_embedding, self.grid))
        return self.to_pixel(tokens.transpose(1, 2).reshape(features.shape))

    def fuse(self, dtype: torch.dtype | None = None) -> Self:
        """Nothing is left to fuse here."""
        return self
