"""A codebook that stays alive: rows of length one, moved by running means, and restarted when nobody uses them."""

import torch
import torch.nn.functional as F
from torch import Tensor


class LiveCodebook:
    """Running statistics of a codebook [N, C] of unit rows; `update` moves the rows in place.

    Source: EMA codebooks (van den Oord et al., 2017; Razavi et al., 2019), unit-norm codes (Yu et al., 2021).
    """

    def __init__(self, rows: Tensor, *, decay: float = 0.98, dead: float = 0.1) -> None:
        self.rows = rows
        self.decay = decay
        self.dead = dead
        self.counts = torch.ones(len(rows))
        self.sums = rows.detach().clone()

    def nearest(self, unit: Tensor) -> Tensor:
        """Unit vectors [M, C] -> the index [M] of each one's nearest row."""
        return (unit @ self.rows.detach().T).argmax(1)

    @torch.no_grad()
    def update(self, unit: Tensor, codes: Tensor, rng: torch.Generator) -> None:
        """Takes one batch of unit vectors [M, C] and their codes [M] into account."""
        ones = torch.bincount(codes, minlength=len(self.rows)).float()
        total = torch.zeros_like(self.sums).index_add_(0, codes, unit)
        self.counts.lerp_(ones, 1 - self.decay)
        self.sums.lerp_(total, 1 - self.decay)
        self.rows.copy_(F.normalize(self.sums, dim=1))
        dead = (self.counts < self.dead).nonzero().flatten()
        if len(dead):
            fresh = unit[torch.randint(len(unit), (len(dead),), generator=rng)]
            self.rows[dead] = fresh
            self.sums[dead], self.counts[dead] = fresh, 1.0

    def begin(self, unit: Tensor, rng: torch.Generator) -> None:
        """Makes every row one of these unit vectors [M, C], chosen by chance."""
        self.rows.copy_(unit[torch.randint(len(unit), (len(self.rows),), generator=rng)])
        self.sums.copy_(self.rows)
        self.counts.fill_(1.0)

    @property
    def perplexity(self) -> float:
        """How many codes are in use, weighted by how often: 1 to N."""
        share = self.counts / self.counts.sum()
        return float(torch.exp(-(share * share.clamp_min(1e-12).log()).sum()))

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs."""
        return {"rows": self.rows.detach().clone(), "counts": self.counts.clone(), "sums": self.sums.clone()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes up what `state` gave."""
        self.rows.detach().copy_(state["rows"])
        self.counts.copy_(state["counts"])
        self.sums.copy_(state["sums"])
