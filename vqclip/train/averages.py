"""Running averages of weights: what is trained jumps about, what is kept moves slowly."""

from collections.abc import Callable, Iterable

import torch
from torch import nn


@torch.no_grad()
def update_average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves the averaged weights towards the model's by a share of 1 - decay.

    Buffers are copied, and so are weights that are not learned by gradients: a codebook keeps itself.
    """
    for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - decay if now.requires_grad else 1.0)
    for mean, now in zip(averaged.buffers(), model.buffers(), strict=True):
        mean.copy_(now)


@torch.no_grad()
def settle_norms(model: nn.Module, forwards: Iterable[Callable[[], object]]) -> None:
    """Measures the batch norms of averaged weights anew, on the forward passes given.

    The statistics that were copied belong to the weights of another moment; with them an average sees badly.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    for forward in forwards:
        forward()
    model.eval()
    for norm in norms:
        norm.momentum = 0.1
