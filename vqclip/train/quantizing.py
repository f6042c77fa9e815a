"""How each kind of codebook is trained with: from latents to code vectors, and what it costs to be far from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.models.quantizer import Codebook, GumbelQuantizer
from vqclip.train.codebook import LiveCodebook

UNIFORM = 0.002
"""How hard a Gumbel codebook is held to using all its codes, against the commitment of the others."""


@dataclass(frozen=True)
class Quantized:
    """What became of a batch of latents.

    latent [B, C, h, w] is what is decoded, straight-through; commitment 0-d; vectors [M, C] and codes [M] are what the
    codebook learns from.
    """

    latent: Tensor
    commitment: Tensor
    vectors: Tensor
    codes: Tensor


def quantize(latent: Tensor, codebook: LiveCodebook, *, plain: bool = False) -> Quantized:
    """Latent [B, C, h, w] -> its nearest rows; with `plain` the latent itself is decoded, while no codes are found yet.

    A unit codebook is asked after bringing the latent to length one.
    """
    near = F.normalize(latent.float(), dim=1) if codebook.unit else latent.float()
    flat = near.permute(0, 2, 3, 1).reshape(-1, near.shape[1])
    codes = codebook.nearest(flat.detach())
    if plain:
        return Quantized(near, near.new_zeros(()), flat.detach(), codes)
    rows = codebook.rows.detach()[codes].view(len(near), *near.shape[2:], -1).permute(0, 3, 1, 2)
    scale = near.shape[1] if codebook.unit else 1
    return Quantized(near + (rows - near).detach(), F.mse_loss(near, rows) * scale, flat.detach(), codes)


def quantize_gumbel(latent: Tensor, quantizer: GumbelQuantizer, rng: torch.Generator) -> Quantized:
    """Latent [B, C, h, w] -> rows drawn by its projection's odds, with the gradient of the soft choice.

    The commitment is the distance of the odds from all codes alike, and the codebook learns by gradients.
    Source: categorical reparameterization (Jang et al., 2016) as DALL-E's and taming's GumbelVQ use it.
    """
    odds = F.log_softmax(quantizer.proj(latent).float(), dim=1)
    noise = torch.rand(odds.shape, generator=rng).to(odds.device).clamp_min(1e-20)
    soft = torch.softmax(odds - (-noise.log()).log(), dim=1)
    codes = soft.argmax(1)
    hard = F.one_hot(codes, soft.shape[1]).permute(0, 3, 1, 2).to(soft.dtype)
    chosen = torch.einsum("bnhw,nc->bchw", hard + soft - soft.detach(), quantizer.weight.float())
    uneven = (odds.exp() * (odds + torch.tensor(float(odds.shape[1])).log())).sum(1).mean()
    flat = chosen.detach().permute(0, 2, 3, 1).reshape(-1, chosen.shape[1])
    return Quantized(chosen, UNIFORM * uneven, flat, codes.flatten())


def quantize_fixed(latent: Tensor, codebook: Codebook) -> Quantized:
    """Latent [B, C, h, w] -> what a codebook answers that stays as it is, while the networks around it learn."""
    answered, codes = codebook(latent)
    far = F.mse_loss(latent.float(), answered.detach())
    flat = answered.detach().permute(0, 2, 3, 1).reshape(-1, answered.shape[1])
    return Quantized(answered, far, flat, codes.flatten())
