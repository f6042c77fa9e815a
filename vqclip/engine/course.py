"""How a latent moves: how many steps, by which optimizer, how fast at which step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "radam": torch.optim.RAdam,
    "nadam": torch.optim.NAdam,
    "adamax": torch.optim.Adamax,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


@dataclass(frozen=True)
class Course:
    """steps of one optimizer at one learning rate, its schedule over them, and how long the average remembers.

    schedule "cosine" and "linear" fall from the rate to nearly zero at the last step. average is the share that the
    average of the latents keeps at each step (0 = no average). micro_batch is how many pieces a perceptor sees at once
    (None = all): less memory, the same gradient. lean has the decoder do most of its work twice for the same purpose.
    """

    steps: int
    learning_rate: float
    optimizer: str = "adam"
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    average: float = 0.0
    micro_batch: int | None = None
    lean: bool = False

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0 to steps - 1."""
        done = step / max(self.steps, 1)
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * done)) / 2
        return self.learning_rate * (1 - done if self.schedule == "linear" else 1)


def make_optimizer(name: str, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """The torch optimizer of that name with its own defaults; the learning rate is set before each step.

    Raises: KeyError for a name that is not in OPTIMIZERS.
    """
    options: dict[str, Any] = {}
    if parameters[0].is_cuda and name not in ("adagrad", "sgd"):
        options["capturable"] = True  # keeps the step counters on the device, where a bad step is taken back
    return OPTIMIZERS[name](list(parameters), lr=1.0, **options)
