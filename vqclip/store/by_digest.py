"""Finds the user's own weight files by what is in them, for a recipe that may name no paths."""

from __future__ import annotations

from pathlib import Path

from vqclip.errors import ModelError
from vqclip.store.folder import digest, model_folder
from vqclip.store.registry import WEIGHT_SUFFIXES


def file_with_digest(sha256: str, name: str) -> Path | None:
    """The weight file in the model folder with this sha256, or None; one called `name` is tried first.

    Reads each file whole until one fits, some seconds for each gigabyte. Loads no torch.
    """
    folder = model_folder()
    files = [path for path in folder.glob("*") if path.suffix.lower() in WEIGHT_SUFFIXES] if folder.is_dir() else []
    for path in sorted(files, key=lambda path: (path.name != name, path.name)):
        try:
            if digest(path) == sha256:
                return path
        except ModelError:  # a file that cannot be read is not the one
            continue
    return None
