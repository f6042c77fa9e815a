"""VQGANs by name or path: loading any family that has a reader, and writing our own files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from vqclip.configs import VQGANConfig
from vqclip.errors import ModelError
from vqclip.models.vqgan import VQGAN
from vqclip.store.checkpoint import OWN_HEADER, read_header, read_weights, require_finite, some
from vqclip.store.documents import checked_config, read_yaml
from vqclip.store.folder import digest, locate
from vqclip.store.publish import published
from vqclip.store.taming import export_taming, read_taming

__all__ = ["FORMAT", "build_vqgan", "digest", "export_taming", "load_vqgan", "save_vqgan"]

FORMAT = "vqclip-vqgan"
SCHEMA = 1
_YAML_NAMES = ("model.yaml", "config.yaml", "project.yaml")
_ENCODER_PARTS = ("encoder.", "quant_conv.")


def load_vqgan(
    name_or_path: str | Path,
    config: str | Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    encoder: bool = True,
) -> VQGAN:
    """Loads a VQGAN, frozen and ready to paint: a registered name, one of our own files, or a taming checkpoint.

    config is a taming yaml; one beside the checkpoint (of the same name, or model.yaml, config.yaml) is found by
    itself, and none is needed. encoder=False leaves the encoder on the disk. Its weights compute in `dtype`; latents
    and pictures stay float32. Raises: ModelError saying what is wrong with the file, or where to get it.
    """
    path = locate(name_or_path, "vqgan")
    header = read_header(path)
    if header:
        if header.get("format") != FORMAT:
            raise ModelError(f"{path.name} is no VQGAN but a {str(header.get('format'))[:40]!r} file")
        shape, weights = _own_config(header, path.name), read_weights(path)
    else:
        beside = _yaml_beside(path) if config is None else Path(config)
        document = read_yaml(beside) if beside else None
        shape, weights = read_taming(read_weights(path), document, path.name)
    model = build_vqgan(shape, weights, path.name, encoder=encoder)
    return model.fuse().cast(dtype).to(device=device, memory_format=torch.channels_last)


def build_vqgan(config: VQGANConfig, weights: Mapping[str, Tensor], label: str, *, encoder: bool = True) -> VQGAN:
    """Makes the model from weights under taming's names, every one of which must be there, fit and be finite.

    Weights are copied to float32. With encoder=True and no encoder in the file the model has none. Raises: ModelError.
    """
    if config.out_channels != 3:
        raise ModelError(f"{label} paints {config.out_channels} channels, not 3: it is no VQGAN for pictures")
    encoder = encoder and any(name.startswith("encoder.") for name in weights)
    with torch.device("meta"):
        model = VQGAN(config, encoder=encoder)
    expected = model.state_dict()
    given = {name: tensor for name, tensor in weights.items() if encoder or not name.startswith(_ENCODER_PARTS)}
    missing, foreign = expected.keys() - given.keys(), given.keys() - expected.keys()
    if missing:
        raise ModelError(f"{label} is not whole: {some(missing)} is missing", hint="get the file again")
    if foreign:
        raise ModelError(f"{label} has parts that its family does not: {some(foreign)}")
    for name, tensor in given.items():
        if tensor.shape != expected[name].shape:
            here, wanted = tuple(tensor.shape), tuple(expected[name].shape)
            raise ModelError(f"{label}: {name} has the shape {here}, but {wanted} is expected")
    ready = {name: tensor.to(torch.float32, copy=True) for name, tensor in given.items()}
    require_finite(ready, label)
    model.load_state_dict(ready, assign=True)
    return model.eval()


def save_vqgan(
    model: VQGAN, path: str | Path, recipe: Mapping[str, Any] | None = None, *, dtype: torch.dtype = torch.float32
) -> Path:
    """Writes a model as safetensors with its config and the recipe it was made by; half precision halves the file.

    Raises: OutputError if it cannot be written.
    """
    header = {"format": FORMAT, "schema": SCHEMA, "config": asdict(model.config), "recipe": dict(recipe or {})}
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    metadata = {OWN_HEADER: json.dumps(header)}
    return published(Path(path), lambda part: save_file(tensors, part, metadata=metadata))


def _own_config(header: Mapping[str, Any], label: str) -> VQGANConfig:
    if header.get("schema") != SCHEMA:
        raise ModelError(f"{label} was written by a newer version of vqclip", hint="update vqclip")
    values = header.get("config")
    if not isinstance(values, dict):
        raise ModelError(f"{label}: its header has no config")
    return checked_config(values, label)


def _yaml_beside(path: Path) -> Path | None:
    same = [path.with_suffix(suffix) for suffix in (".yaml", ".yml")]
    return next((found for found in [*same, *(path.parent / name for name in _YAML_NAMES)] if found.is_file()), None)
