"""Makes torchvision importable where its compiled part does not match torch, as beside a CPU-only torch.

open_clip only needs torchvision's picture transforms, but torchvision refuses to be imported when its compiled
operators are missing. Declaring those, without an implementation, is enough.
"""

from __future__ import annotations

import importlib
import re
import sys
from functools import cache
from importlib import metadata

import torch

from vqclip.errors import ModelError

MOST_OPERATORS = 30
_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@cache
def heal_torchvision() -> tuple[str, ...]:
    """Imports torchvision and declares whichever operators it misses; returns their names, () if it is whole.

    Raises: ModelError if torchvision is missing or fails for another reason.
    """
    declared: list[str] = []
    while True:
        try:
            importlib.import_module("torchvision")
            return tuple(declared)
        except ImportError as error:
            raise ModelError(f"torchvision cannot be imported: {error}", hint="pip install torchvision") from error
        except RuntimeError as error:
            found = _MISSING.search(str(error))
            if not found or found.group(1) in declared or len(declared) >= MOST_OPERATORS:
                raise ModelError(
                    f"torchvision does not match this torch: {str(error).splitlines()[0]}",
                    hint="install the torchvision that belongs to your torch",
                ) from error
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _library().define(found.group(1) + _SCHEMA)
        declared.append(found.group(1))


def torchvision_health() -> tuple[bool, str]:
    """Whether CLIP models can be used with the torchvision that is here, and a sentence about it."""
    try:
        missing = heal_torchvision()
    except ModelError as error:
        return False, error.message
    version = metadata.version("torchvision")
    if not missing:
        return True, f"torchvision {version} works"
    return True, f"torchvision {version} has no compiled part for this torch; healed ({', '.join(missing)})"


@cache
def _library() -> torch.library.Library:
    """The handle of the declared operators, which last only as long as it is kept."""
    return torch.library.Library("torchvision", "FRAGMENT")
