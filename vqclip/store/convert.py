"""From any checkpoint to a small file of the weights alone, and back to a checkpoint for taming-transformers."""

from __future__ import annotations

from pathlib import Path

import torch

from vqclip.errors import ModelError
from vqclip.store.folder import digest, forget, locate, model_folder, record
from vqclip.store.vqgans import export_taming, load_vqgan, save_vqgan


def convert(name: str, target: Path | None = None, *, half: bool = False, replace: bool = False) -> Path:
    """Writes a VQGAN without discriminator, perceptual network and optimizer, and returns where.

    With no target a model of the model folder is written there under its name, is preferred to the original from then
    on, and held to its checksum; a file anywhere else is written beside itself. half stores 16-bit numbers; replace
    removes the original once all is well. Raises: ModelError if it cannot be read, or the target exists; OutputError.
    """
    source = locate(name, "vqgan")
    path = target or source.with_suffix(".safetensors")
    if path.exists():
        raise ModelError(f"{path} exists already", hint="name another file with --output")
    sha256 = digest(source)
    save_vqgan(
        load_vqgan(source),
        path,
        {"converted_from": source.name, "sha256": sha256},
        dtype=torch.float16 if half else torch.float32,
    )
    if path.parent == model_folder():
        record(path, digest(path))
    if replace:
        forget(source)
    return path


def export(name: str, target: Path) -> tuple[Path, Path]:
    """Writes a VQGAN as a checkpoint and a yaml that taming-transformers reads; returns both paths.

    Raises: ModelError if it cannot be read, or taming cannot express it; OutputError if it cannot be written.
    """
    return export_taming(load_vqgan(name), target)
