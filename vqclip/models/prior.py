"""The prior: a text-conditional rectified flow over a VQGAN's latent grid, which sketches the first latent."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.configs import PriorConfig

FREQUENCIES = 32


def timestep_features(time: Tensor) -> Tensor:
    """Times [B] in [0, 1] -> sine and cosine features [B, 2 * FREQUENCIES]."""
    rates = torch.exp(torch.linspace(0, math.log(1000.0), FREQUENCIES, device=time.device))
    angles = time[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


class FlowBlock(nn.Module):
    """A residual block whose second norm is scaled and shifted by time and text."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.condition = nn.Linear(condition, 2 * outputs)
        self.norm2 = nn.GroupNorm(8, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x [B, inputs, h, w] and condition [B, K] -> [B, outputs, h, w]."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.condition(condition)[:, :, None, None].chunk(2, 1)
        hidden = self.norm2(hidden) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(hidden))


class FlowAttention(nn.Module):
    """Self-attention among the cells of a grid."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.heads = heads
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, h, w] -> [B, C, h, w]."""
        batch, channels, height, width = x.shape
        query, key, value = self.qkv(self.norm(x)).view(batch, 3, self.heads, -1, height * width).unbind(1)
        weights = torch.softmax(query.transpose(-1, -2) @ key / math.sqrt(query.shape[2]), -1)
        mixed = (value @ weights.transpose(-1, -2)).reshape(batch, channels, height, width)
        return x + self.out(mixed)


class Prior(nn.Module):
    """The velocity field of a rectified flow from noise to latents, given words.

    `forward(noisy, time, text)`: noisy [B, C, h, w] of normalized latents, time [B] in [0, 1] (1 = clean),
    text [B, D] unit CLIP text embeddings, all zeros for "any picture" -> velocity [B, C, h, w].
    Source: rectified flow (Liu et al., 2022) with classifier-free guidance (Ho and Salimans, 2022).
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        first, *_ = config.channels
        width = 2 * first
        self.register_buffer("mean", torch.zeros(config.latent_channels))
        self.register_buffer("std", torch.ones(config.latent_channels))
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.text = nn.Linear(config.text_channels, width)
        self.place = nn.Parameter(torch.randn(1, first, config.grid, config.grid) * 0.02)
        self.enter = nn.Conv2d(config.latent_channels, first, 3, 1, 1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels = first
        for level, outputs in enumerate(config.channels):
            self.down.append(self._level(level, channels, outputs, width))
            channels = outputs
        for level in reversed(range(len(config.channels))):
            outputs = config.channels[level]
            self.up.append(self._level(level, channels + outputs, outputs, width))
            channels = outputs
        self.leave = nn.Sequential(
            nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv2d(channels, config.latent_channels, 3, 1, 1)
        )

    def _level(self, level: int, inputs: int, outputs: int, condition: int) -> nn.ModuleList:
        with_attention = level in self.config.attention_levels
        attention = FlowAttention(outputs, self.config.heads) if with_attention else nn.Identity()
        return nn.ModuleList([FlowBlock(inputs, outputs, condition), attention])

    def forward(self, noisy: Tensor, time: Tensor, text: Tensor) -> Tensor:
        """The velocity at noisy [B, C, h, w], time [B] and text [B, D]: [B, C, h, w]."""
        scaled = text * math.sqrt(self.config.text_channels)
        condition = F.silu(self.time(timestep_features(time)) + self.text(scaled))
        place = F.interpolate(self.place, noisy.shape[2:], mode="bilinear", align_corners=False)
        hidden = self.enter(noisy) + place
        kept = []
        for level, (block, attention) in enumerate(self.down):
            hidden = attention(block(F.avg_pool2d(hidden, 2) if level else hidden, condition))
            kept.append(hidden)
        for block, attention in self.up:
            skip = kept.pop()
            if hidden.shape[2:] != skip.shape[2:]:
                hidden = F.interpolate(hidden, skip.shape[2:], mode="nearest")
            hidden = attention(block(torch.cat([hidden, skip], 1), condition))
        return self.leave(hidden)

    def normalize(self, latent: Tensor) -> Tensor:
        """Latent [B, C, h, w] -> zero mean and unit variance in each channel."""
        return (latent - self.mean[:, None, None]) / self.std[:, None, None]

    def denormalize(self, normal: Tensor) -> Tensor:
        """The inverse of `normalize`."""
        return normal * self.std[:, None, None] + self.mean[:, None, None]

    @torch.no_grad()
    def sample(
        self,
        text: Tensor,
        noise: Tensor,
        *,
        steps: int = 25,
        guidance: float = 3.0,
        over: Tensor | None = None,
        kept: float = 0.0,
    ) -> Tensor:
        """Text [B, D] and noise [B, C, h, w] from N(0, 1) -> latents [B, C, h, w], by Heun steps with guidance.

        over [1 or B, C, h, w] are latents to sketch over, as in SDEdit: the flow begins where the share `kept` of its
        time is over, with as much of them as there would be then.
        """
        x, nothing = noise, torch.zeros_like(text)
        if over is not None:
            x = torch.lerp(noise, self.normalize(over), kept)
        steps = max(1, round(steps * (1 - kept)))

        def velocity(at: Tensor, time: float) -> Tensor:
            times = torch.full((2 * len(at),), time, device=at.device, dtype=at.dtype)
            given, free = self(torch.cat([at, at]), times, torch.cat([text, nothing])).chunk(2)
            return free + guidance * (given - free)

        for step in range(steps):
            now, then = (kept + (1 - kept) * n / steps for n in (step, step + 1))
            first = velocity(x, now)
            second = velocity(x + (then - now) * first, min(then, 0.999))
            x = x + (then - now) * (first + second) / 2
        return self.denormalize(x)
