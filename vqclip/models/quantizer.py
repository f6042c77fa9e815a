"""The codebook: one class for all kinds, from a free latent to its nearest code vectors and back to gradients."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_DISTANCES = 2**24


class Quantizer(nn.Module):
    """A table of code vectors, and the search for the nearest one.

    kind "l2" and "gumbel" take the nearest row, "unit" the nearest after both sides are brought to length one. A
    Gumbel codebook also has a projection that picks the codes of an encoded picture.
    Source: van den Oord et al., 2017 (straight-through); Yu et al., 2021 (unit length); Jang et al., 2016 (Gumbel).
    Differs: distances by one product and a gather, always in float32; the Gumbel choice is its most likely code.
    """

    def __init__(
        self, kind: Literal["l2", "gumbel", "unit"], codes: int, channels: int, projected_channels: int | None = None
    ) -> None:
        super().__init__()
        self.kind = kind
        table = nn.Embedding(codes, channels)
        if kind != "unit":
            nn.init.uniform_(table.weight, -1 / codes, 1 / codes)
        if kind == "gumbel":
            self.proj = nn.Conv2d(projected_channels or channels, codes, 1)
            self.embed = table
        else:
            self.embedding = table
        self.register_buffer("norms", None, persistent=False)

    @property
    def weight(self) -> Tensor:
        """The code vectors as they are stored [N, C]."""
        return self.embed.weight if self.kind == "gumbel" else self.embedding.weight

    @property
    def rows(self) -> Tensor:
        """The code vectors as they are answered [N, C], float32: of length one in a "unit" codebook."""
        rows = self.weight.float()
        return F.normalize(rows, dim=1) if self.kind == "unit" else rows

    @torch.no_grad()
    def fuse(self) -> None:
        """Stores the rows' squared lengths for the search: call again after changing weights."""
        self.norms = self.rows.square().sum(1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes [B, h, w] -> their code vectors [B, C, h, w], float32."""
        rows = F.embedding(codes, self.weight).float()
        if self.kind == "unit":
            rows = F.normalize(rows, dim=-1)
        return rows.permute(0, 3, 1, 2)

    @torch.no_grad()
    def nearest(self, latent: Tensor) -> Tensor:
        """Latent [B, C, h, w] -> the codes [B, h, w] of the nearest rows."""
        batch, channels, height, width = latent.shape
        with torch.autocast(latent.device.type, enabled=False):
            rows = self.rows
            fresh = self.norms is None or self.norms.dtype != torch.float32
            norms = rows.square().sum(1) if fresh else self.norms
            cells = self._scaled(latent.float()).permute(0, 2, 3, 1).reshape(-1, channels)
            parts = cells.split(max(1, MOST_DISTANCES // rows.shape[0]))
            codes = torch.cat([torch.addmm(norms, part, rows.T, alpha=-2).argmin(1) for part in parts])
        return codes.view(batch, height, width)

    @torch.no_grad()
    def chosen(self, encoded: Tensor) -> Tensor:
        """Encoded picture [B, C, h, w] -> its codes [B, h, w]: the projection's favorites, or the nearest rows."""
        if self.kind != "gumbel":
            return self.nearest(encoded)
        return self.proj(encoded.to(self.proj.weight.dtype)).argmax(1)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Latent [B, C, h, w] -> (nearest code vectors [B, C, h, w], codes [B, h, w]).

        The vectors are exactly rows of the codebook; their gradient goes straight through to the latent (in a "unit"
        codebook through its normalization).
        """
        codes = self.nearest(latent)
        latent = self._scaled(latent.float())
        return self.lookup(codes) + (latent - latent.detach()), codes

    def _scaled(self, latent: Tensor) -> Tensor:
        return F.normalize(latent, dim=1) if self.kind == "unit" else latent
