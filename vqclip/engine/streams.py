"""Random numbers by name: what one purpose draws at one step never depends on what was drawn before."""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, *name: str | int) -> torch.Generator:
    """A fresh CPU generator for one purpose of one picture, e.g. `stream(seed, "cutouts", step)`.

    The same seed and name give the same numbers on every device, in every process, whatever ran before.
    """
    words = "\x1f".join(map(str, (seed, *name)))
    digest = hashlib.blake2b(words.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
