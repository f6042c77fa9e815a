"""A codebook that stays alive: rows moved by running means, and restarted when nobody uses them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.train.team import Team

MOST_DISTANCES = 2**24
RECENT = 20
"""A code counts as used if it was chosen while the codebook could last have been filled this many times over."""


class LiveCodebook:
    """Running statistics of a codebook [N, C]; `update` moves the rows in place.

    With `unit` rows and vectors have length one and the nearest row is that of the smallest angle. `dead` is the share
    of its fair part below which a row is restarted. In a team all processes keep the same rows.
    Source: EMA codebooks (van den Oord et al., 2017; Razavi et al., 2019), unit-norm codes (Yu et al., 2021).
    """

    def __init__(
        self, rows: Tensor, *, decay: float = 0.98, dead: float = 0.1, unit: bool = True, team: Team | None = None
    ) -> None:
        self.rows = rows
        self.decay = decay
        self.dead = dead
        self.unit = unit
        self.team = team or Team()
        self.counts = torch.ones(len(rows), device=rows.device)
        self.sums = rows.detach().clone()
        self.idle = torch.zeros_like(self.counts)

    def nearest(self, vectors: Tensor) -> Tensor:
        """Vectors [M, C] -> the index [M] of each one's nearest row."""
        return nearest_rows(vectors, self.rows.detach(), unit=self.unit)

    @torch.no_grad()
    def update(self, vectors: Tensor, codes: Tensor, rng: torch.Generator) -> None:
        """Takes one batch of vectors [M, C] and their codes [M] into account; of a team, each process its own."""
        share = self.count(codes)
        total = self.team.sum(torch.zeros_like(self.sums).index_add_(0, codes, vectors))
        self.sums.lerp_(total, 1 - self.decay)
        self.rows.copy_(F.normalize(self.sums, dim=1) if self.unit else self._means())
        dead = (self.counts < self.dead * share).nonzero().flatten()
        if len(dead):
            pool = self.team.gather(vectors)
            fresh = pool[torch.randint(len(pool), (len(dead),), generator=rng).to(pool.device)]
            self.rows[dead] = fresh
            self.sums[dead], self.counts[dead] = fresh, 1.0

    def count(self, codes: Tensor) -> float:
        """Notes which codes [M] were chosen; gives the share of the codebook that so many could fill, at most 1."""
        ones = self.team.sum(torch.bincount(codes, minlength=len(self.rows)).float())
        share = min(1.0, len(codes) * self.team.size / len(self.rows))
        self.counts.lerp_(ones, 1 - self.decay)
        self.idle = torch.where(ones > 0, 0.0, self.idle + share)
        return share

    @torch.no_grad()
    def begin(self, pool: Tensor, rng: torch.Generator, *, rounds: int = 0) -> None:
        """Makes every row one of these vectors [M, C], chosen by chance, and then the mean of those nearest to it.

        The second is done `rounds` times over (k-means). Of a team, each process gives the vectors of all, in the order
        of the batches, or chance would choose others than in one process alone.
        """
        rows = pool[torch.randint(len(pool), (len(self.rows),), generator=rng).to(pool.device)]
        for _ in range(rounds):
            rows = _lloyd(pool, rows, rng, unit=self.unit)
        self.rows.copy_(rows)
        self.sums.copy_(self.rows)
        self.counts.fill_(1.0)

    @property
    def perplexity(self) -> float:
        """How many codes are in use, weighted by how often: 1 to N."""
        share = self.counts / self.counts.sum()
        return float(torch.exp(-(share * share.clamp_min(1e-12).log()).sum()))

    @property
    def usage(self) -> float:
        """The share of codes that pictures have chosen lately: 0 to 1."""
        return float((self.idle < RECENT).float().mean())

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs."""
        kept = {"rows": self.rows.detach(), "counts": self.counts, "sums": self.sums, "idle": self.idle}
        return {name: tensor.clone() for name, tensor in kept.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes up what `state` gave."""
        self.rows.detach().copy_(state["rows"])
        self.counts.copy_(state["counts"])
        self.sums.copy_(state["sums"])
        self.idle.copy_(state.get("idle", torch.zeros_like(self.idle)))

    def _means(self) -> Tensor:
        known = self.counts[:, None] > 1e-6
        return torch.where(known, self.sums / self.counts[:, None].clamp_min(1e-6), self.rows)


@torch.no_grad()
def nearest_rows(vectors: Tensor, rows: Tensor, *, unit: bool) -> Tensor:
    """Vectors [M, C] and rows [N, C] -> the index [M] of each one's nearest row, by angle if they are of length one."""
    parts = vectors.split(max(1, MOST_DISTANCES // len(rows)))
    if unit:
        return torch.cat([(part @ rows.T).argmax(1) for part in parts])
    lengths = rows.square().sum(1)
    return torch.cat([torch.addmm(lengths, part, rows.T, alpha=-2).argmin(1) for part in parts])


def _lloyd(pool: Tensor, rows: Tensor, rng: torch.Generator, *, unit: bool) -> Tensor:
    """One round of k-means; a row that is nobody's nearest begins anew at one of the vectors."""
    codes = nearest_rows(pool, rows, unit=unit)
    counts = torch.bincount(codes, minlength=len(rows))
    means = torch.zeros_like(rows).index_add_(0, codes, pool) / counts[:, None].clamp_min(1)
    fresh = pool[torch.randint(len(pool), (len(rows),), generator=rng).to(pool.device)]
    moved = torch.where(counts[:, None] > 0, means, fresh)
    return F.normalize(moved, dim=1) if unit else moved
