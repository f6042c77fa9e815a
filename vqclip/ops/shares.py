"""Work in equal shares on several devices: each sees its part of the pieces, and the answers come back together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Embed = Callable[[Tensor], Tensor]


def in_shares(embed: Embed, copies: Sequence[tuple[torch.device, Embed]] = ()) -> Embed:
    """An embedding made on the device of its pieces and, by copies of the same function, on others.

    Every share is sent before the first is looked at: a copy between GPUs waits for what its sender was given before.
    GPUs then work at once, for nothing here waits for them, and autograd goes back on each in a thread of its own. The
    gradient of the pieces comes back the way they went.
    Shapes: pieces [R, 3, S, S] -> embeddings [R, D], both on the device of the pieces. Of fewer pieces than devices the
    first devices get one each.
    """
    if not copies:
        return embed

    def shared(pieces: Tensor) -> Tensor:
        shares = pieces.tensor_split(len(copies) + 1)
        embeds = [embed, *(one for _, one in copies)]
        places = [pieces.device, *(device for device, _ in copies)]
        sent = [share.to(device, non_blocking=True) for share, device in zip(shares, places, strict=True) if len(share)]
        seen = [one(share) for one, share in zip(embeds, sent, strict=False)]
        return torch.cat([part.to(pieces.device, non_blocking=True) for part in seen])

    return shared
