"""The starter's small vocabulary: only the rows of open_clip's token table that its words use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

END_OF_TEXT = 49407
UNKNOWN = -1


class Vocabulary:
    """Translates open_clip's token ids to rows of a small table, and back.

    Row 0 is padding's, row 1 every unknown id's; the end of the text keeps the highest row, because the text tower
    finds it as the largest number of its line.
    """

    def __init__(self, ids: Iterable[int]) -> None:
        known = sorted(set(ids) - {0, UNKNOWN, END_OF_TEXT})
        self.ids = [0, UNKNOWN, *known, END_OF_TEXT]
        self._row_of = torch.full((END_OF_TEXT + 1,), 1, dtype=torch.long)
        self._row_of[torch.tensor([i for i in self.ids if i != UNKNOWN])] = torch.tensor(
            [row for row, i in enumerate(self.ids) if i != UNKNOWN]
        )

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of_words(cls, words: Sequence[str], tokenize: Callable[[list[str]], Tensor]) -> Vocabulary:
        """The vocabulary of all tokens in `words`; tokenize: texts -> ids [N, L]."""
        return cls(tokenize(list(words)).flatten().tolist())

    def rows(self, ids: Tensor) -> Tensor:
        """Token ids [B, L] -> rows of the small table [B, L]."""
        return self._row_of[ids]

    def forget_some(self, rows: Tensor, share: float, rng: torch.Generator) -> Tensor:
        """Rows [B, L] with a share of the words made unknown, so that the unknown row learns to mean nothing."""
        hit = torch.rand(rows.shape, generator=rng) < share
        return torch.where(hit & (rows > 2) & (rows < len(self) - 1), torch.ones_like(rows), rows)
