"""Networks made without the random numbers that loaded weights replace at once: no time for them, no memory either."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode

_FILLS = frozenset(
    {"normal_", "uniform_", "trunc_normal_"}
    | {f"{name}_{kind}_" for name in ("kaiming", "xavier") for kind in ("normal", "uniform")}
)


class Unfilled(TorchFunctionMode):
    """While it is entered, no tensor is filled with random numbers in place: what is there is what lay in memory.

    Only for networks of which every weight is then loaded. Memory that nobody has written to yet costs none.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Answers a random fill with the tensor as it is, and anything else as ever."""
        if getattr(func, "__name__", "") in _FILLS:
            return args[0] if args else (kwargs or {})["tensor"]  # torch's own initializers name it
        return func(*args, **(kwargs or {}))
