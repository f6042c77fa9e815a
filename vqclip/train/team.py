"""Several processes that train one model together: each takes its share of a batch, and all take the same step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


class Team:
    """One process that trains alone: every exchange gives back what it was given."""

    rank = 0
    size = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over all processes, the same on each."""
        return value

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes, the same on each."""
        return value

    def gather(self, value: Tensor) -> Tensor:
        """The tensors [n, ...] of all processes one after the other, in the order of the batch: [size * n, ...]."""
        return value

    def any(self, flag: bool) -> bool:
        """Whether it is so on any process; all of them get the same answer, and wait for it."""
        return flag

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Gives every parameter the mean of its gradients over all processes."""

    def close(self) -> None:
        """Ends the exchange."""


class Crew(Team):
    """A process among several that torchrun has started. Raises: RuntimeError if the others cannot be reached.

    Differs from DistributedDataParallel in that all gradients travel together once a step, after the backward: the
    adversary and the adaptive weight need gradients of their own, which wrapped modules make hard to take.
    """

    def __init__(self, device: torch.device) -> None:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.device = device

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over all processes, the same on each."""
        return self.sum(value) / self.size

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes, the same on each."""
        total = value.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    def gather(self, value: Tensor) -> Tensor:
        """The tensors [n, ...] of all processes one after the other, in the order of the batch: [size * n, ...]."""
        value = value.detach().contiguous()
        parts = [torch.empty_like(value) for _ in range(self.size)]
        dist.all_gather(parts, value)
        return torch.cat(parts)

    def any(self, flag: bool) -> bool:
        """Whether it is so on any process; all of them get the same answer, and wait for it."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Gives every parameter the mean of its gradients over all processes."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def close(self) -> None:
        """Ends the exchange."""
        dist.destroy_process_group()
