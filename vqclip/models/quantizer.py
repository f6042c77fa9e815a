"""The codebooks: one class for each kind, all answering alike, from a free latent to code vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.configs import AnyVQGANConfig, CodebookKind
from vqclip.ops.gradients import straight_through

MOST_DISTANCES = 2**24
MIXERS = 4
_ROWS_AT_ONCE = 2**12


class Quantizer(nn.Module):
    """A table of code vectors, and the search for the row nearest to a cell.

    Source: van den Oord et al., 2017 (straight-through). Differs: distances by one product and a gather, always in
    float32.
    """

    def __init__(self, codes: int, channels: int) -> None:
        super().__init__()
        self.embedding = self._table(codes, channels)
        self.register_buffer("norms", None, persistent=False)

    @staticmethod
    def _table(codes: int, channels: int) -> nn.Embedding:
        table = nn.Embedding(codes, channels)
        nn.init.uniform_(table.weight, -1 / codes, 1 / codes)
        return table

    @property
    def weight(self) -> Tensor:
        """The code vectors as they are stored [N, C]."""
        return self.embedding.weight

    @property
    def rows(self) -> Tensor:
        """The code vectors as they are answered [N, C], float32."""
        return self._scaled(self.weight.float())

    def reach(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value that each channel of an answer can sensibly have: ([C], [C])."""
        low, high = self.rows.aminmax(dim=0)
        return low, high

    @torch.no_grad()
    def fuse(self) -> None:
        """Stores the rows' squared lengths for the search: call again after changing weights."""
        self.norms = torch.cat([rows.square().sum(1) for rows in self.rows.split(_ROWS_AT_ONCE)])

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes [B, h, w] -> their code vectors [B, C, h, w], float32."""
        return self._scaled(F.embedding(codes, self.weight).float(), dim=-1).permute(0, 3, 1, 2)

    @torch.no_grad()
    def nearest(self, latent: Tensor) -> Tensor:
        """Latent [B, C, h, w] -> the codes [B, h, w] of its cells."""
        batch, channels, height, width = latent.shape
        with torch.autocast(latent.device.type, enabled=False):
            rows = self.rows
            cells = self._scaled(latent.float()).permute(0, 2, 3, 1).reshape(-1, channels)
            parts = cells.split(max(1, MOST_DISTANCES // rows.shape[0]))
            codes = torch.cat([self._best(part, rows) for part in parts])
        return codes.view(batch, height, width)

    @torch.no_grad()
    def read(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """An encoded picture [B, C, h, w] -> (its code vectors [B, C, h, w], its codes [B, h, w])."""
        codes = self.nearest(encoded)
        return self.lookup(codes), codes

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Latent [B, C, h, w] -> (code vectors [B, C, h, w], codes [B, h, w]).

        The vectors are exactly rows of the codebook; their gradient goes straight through to the latent (in a "unit"
        codebook through its normalization).
        """
        codes = self.nearest(latent)
        return straight_through(self.lookup(codes), self._scaled(latent.float())), codes

    def _scaled(self, vectors: Tensor, dim: int = 1) -> Tensor:
        """Vectors as this kind compares them."""
        return vectors

    def _best(self, cells: Tensor, rows: Tensor) -> Tensor:
        """Cells [M, C] and rows [N, C] -> the codes [M]."""
        fresh = self.norms is None or self.norms.dtype != torch.float32
        norms = rows.square().sum(1) if fresh else self.norms
        return torch.addmm(norms, cells, rows.T, alpha=-2).argmin(1)


class UnitQuantizer(Quantizer):
    """Compares directions only: rows and cells are brought to length one, and so are the answers.

    Source: ViT-VQGAN (Yu et al., 2021).
    """

    @staticmethod
    def _table(codes: int, channels: int) -> nn.Embedding:
        return nn.Embedding(codes, channels)

    def _scaled(self, vectors: Tensor, dim: int = 1) -> Tensor:
        return F.normalize(vectors, dim=dim)


class InnerQuantizer(Quantizer):
    """Takes the row of the largest inner product. Source: IBQ (Shi et al., 2024)."""

    def _best(self, cells: Tensor, rows: Tensor) -> Tensor:
        return (cells @ rows.T).argmax(1)


class GumbelQuantizer(Quantizer):
    """Free latents take the nearest row; the codes of an encoded picture are chosen by a projection.

    Source: Jang et al., 2016. Differs: the choice is the most likely code, without noise.
    """

    def __init__(self, codes: int, channels: int, projected_channels: int | None = None) -> None:
        super().__init__(codes, channels)
        self.embed = self.embedding
        del self.embedding
        self.proj = nn.Conv2d(projected_channels or channels, codes, 1)

    @property
    def weight(self) -> Tensor:
        """The code vectors as they are stored [N, C]."""
        return self.embed.weight

    @torch.no_grad()
    def read(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """An encoded picture [B, C, h, w] -> (its code vectors [B, C, h, w], its codes: the projection's favorites)."""
        codes = self.proj(encoded.to(self.proj.weight.dtype)).argmax(1)
        return self.lookup(codes), codes


class SignQuantizer(nn.Module):
    """Each channel is -1 or 1: the sign is the code, and there is no table.

    powers [C] holds what each channel's bit counts in a code, so that either order of bits is plain data.
    Source: lookup-free quantization (Yu et al., 2023).
    """

    powers: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.register_buffer("powers", 2 ** torch.arange(bits))

    @property
    def rows(self) -> Tensor:
        """All code vectors [2**C, C], float32."""
        every = torch.arange(2 ** len(self.powers), device=self.powers.device)
        return self._signs(every)

    def reach(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value of each channel: ([C], [C])."""
        high = torch.ones_like(self.powers, dtype=torch.float32)
        return -high, high

    def fuse(self) -> None:
        """Nothing is to be prepared here."""

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes [B, h, w] -> their signs [B, C, h, w], float32."""
        return self._signs(codes).permute(0, 3, 1, 2)

    @torch.no_grad()
    def read(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """An encoded picture [B, C, h, w] -> (its signs [B, C, h, w], its codes [B, h, w])."""
        codes = ((encoded > 0) * self.powers[:, None, None]).sum(1)
        return self.lookup(codes), codes

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Latent [B, C, h, w] -> (signs [B, C, h, w], codes [B, h, w]); the gradient goes straight through."""
        signs, codes = self.read(latent)
        return straight_through(signs, latent.float()), codes

    def _signs(self, codes: Tensor) -> Tensor:
        bits = codes[..., None].div(self.powers, rounding_mode="floor") % 2
        return (2 * bits - 1).float()


class ResidualQuantizer(Quantizer):
    """Sums up rows found on coarser grids first, each enlarged and smoothed, until the last scale finishes the cells.

    Source: VAR's multi-scale tokenizer (Tian et al., 2024). Differs: a latent of another size or shape than the one it
    was trained on has its scales in proportion.
    """

    def __init__(self, codes: int, channels: int, scales: tuple[int, ...]) -> None:
        super().__init__(codes, channels)
        self.scales = scales
        self.mixers = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(MIXERS))

    def reach(self) -> tuple[Tensor, Tensor]:
        """The rows' range, widened by the root of the number of scales, as a sum of so many rows is."""
        low, high = super().reach()
        return low * len(self.scales) ** 0.5, high * len(self.scales) ** 0.5

    @torch.no_grad()
    def read(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """An encoded picture [B, C, h, w] -> (its sum of rows [B, C, h, w], the codes [B, L] of all scales in turn)."""
        rest, total, codes = encoded.float(), torch.zeros_like(encoded, dtype=torch.float32), []
        with torch.autocast(encoded.device.type, enabled=False):
            for number, grid in enumerate(self._grids(*encoded.shape[2:])):
                found = self.nearest(F.interpolate(rest, size=grid, mode="area"))
                part = F.interpolate(self.lookup(found), size=encoded.shape[2:], mode="bicubic")
                part = self.mixers[self._mixer(number)](part)
                total, rest = total + part, rest - part
                codes.append(found.flatten(1))
        return total, torch.cat(codes, dim=1)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Latent [B, C, h, w] -> (sum of rows [B, C, h, w], codes [B, L]); the gradient goes straight through."""
        total, codes = self.read(latent)
        return straight_through(total, latent.float()), codes

    def _grids(self, height: int, width: int) -> list[tuple[int, int]]:
        shares = (scale / self.scales[-1] for scale in self.scales)
        return [(max(1, round(height * share)), max(1, round(width * share))) for share in shares]

    def _mixer(self, number: int) -> int:
        """The smoothing of a scale: each serves the scales around its own place between the first and the last."""
        place = number / max(1, len(self.scales) - 1)
        step = (1 - 2 / 3 / MIXERS) / (MIXERS - 1)
        return min(range(MIXERS), key=lambda index: abs(1 / 3 / MIXERS + index * step - place))


Codebook = Quantizer | SignQuantizer


def codebook(
    kind: CodebookKind,
    codes: int,
    channels: int,
    *,
    projected_channels: int | None = None,
    scales: tuple[int, ...] = (),
) -> Codebook:
    """A fresh codebook of a kind; see VQGANConfig for what each kind does. Raises: KeyError for an unknown kind."""
    makers = {
        "l2": lambda: Quantizer(codes, channels),
        "unit": lambda: UnitQuantizer(codes, channels),
        "inner": lambda: InnerQuantizer(codes, channels),
        "gumbel": lambda: GumbelQuantizer(codes, channels, projected_channels),
        "sign": lambda: SignQuantizer(channels),
        "residual": lambda: ResidualQuantizer(codes, channels, scales),
    }
    return makers[kind]()


def codebook_of(config: AnyVQGANConfig) -> Codebook:
    """The codebook that a VQGAN's config asks for."""
    return codebook(
        config.quantizer,
        config.codes,
        config.embedding_channels,
        projected_channels=config.encoded_channels,
        scales=config.scales,
    )
