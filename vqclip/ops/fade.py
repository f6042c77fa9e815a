"""From what one scene wants to see to what the next one does: prompts turn into each other, or come and go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vqclip.ops.guide import Targets


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The way from a to b along the sphere, at equal speed: a at share 0, b at 1.

    Shapes: a, b [..., D] of length one -> [..., D] of length one. Opposite vectors have no way between them; there it
    is any of the shortest ones.
    """
    angle = (a * b).sum(dim=-1, keepdim=True).clamp(-1, 1).arccos()
    straight = torch.lerp(a, b, share)
    curved = ((1 - share) * angle).sin() * a + (share * angle).sin() * b
    return F.normalize(torch.where(angle.sin() > 1e-4, curved, straight), dim=-1)


def fade(before: Targets, after: Targets, share: float, *, pairs: int) -> Targets:
    """The targets of a cross-fade, share of the way from one scene's to the next one's.

    Of the first `pairs` targets each turns into the other scene's of that number, where both pull or both push. All
    other targets stay what they are, and the weight of their loss fades out or in.
    Shapes: embeddings [1, P, D] and [1, Q, D] -> [1, R, D], max(P, Q) <= R <= P + Q.
    """
    signs = zip(before.weights[:pairs].sign().tolist(), after.weights[:pairs].sign().tolist(), strict=False)
    turned = [n for n, (a, b) in enumerate(signs) if a == b]
    rest = [[n for n in range(len(one.weights)) if n not in turned] for one in (before, after)]
    nearer = before if share < 0.5 else after
    rows = (slerp(before.embeddings[:, turned], after.embeddings[:, turned], share),)
    weights = (torch.lerp(before.weights[turned], after.weights[turned], share),)
    stops = (nearer.stops[turned],)
    for one, kept, part in ((before, rest[0], 1 - share), (after, rest[1], share)):
        rows += (one.embeddings[:, kept],)
        weights += (one.weights[kept] * part,)
        stops += (one.stops[kept],)
    return Targets(torch.cat(rows, dim=1), torch.cat(weights), torch.cat(stops))


def weighted(targets: Targets, factors: Sequence[float] | None) -> Targets:
    """Targets whose first weights are multiplied by factors, one each."""
    if not factors:
        return targets
    scale = torch.ones_like(targets.weights)
    scale[: len(factors)] = torch.tensor(factors).to(scale)
    return replace(targets, weights=targets.weights * scale)
