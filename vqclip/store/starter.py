"""Where the weights of the built-in starter lie inside the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from vqclip.errors import ModelError

STARTER = "starter"


def starter_path(part: str) -> Path:
    """The file of one part of the starter: "vqgan", "clip" or "prior".

    Raises: ModelError if the installed package does not hold it.
    """
    path = Path(str(resources.files("vqclip"))) / "starter" / "weights" / f"{part}.safetensors"
    if not path.is_file():
        raise ModelError(
            f"the built-in starter is not whole: its {part} is missing from this installation",
            hint="install vqclip again, or name other models with --vqgan and --clip",
        )
    return path
