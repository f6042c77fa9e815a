"""Priors as files: loading and writing the network that sketches the first latent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vqclip.configs import PriorConfig
from vqclip.errors import ModelError
from vqclip.models.prior import Prior
from vqclip.store.checkpoint import read_header, read_weights, require_finite, write_own
from vqclip.store.folder import locate

FORMAT = "vqclip-prior"
SCHEMA = 1


def load_prior(name_or_path: str | Path, *, device: str | torch.device = "cpu") -> Prior:
    """Loads a prior, frozen, in float32: "starter" or one of our own files.

    Raises: ModelError if it is missing, damaged or not a prior.
    """
    path = locate(name_or_path, "prior")
    header = read_header(path)
    if not header or header.get("format") != FORMAT or header.get("schema") != SCHEMA:
        raise ModelError(f"{path.name} is no prior that this version of vqclip reads")
    try:
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in header["config"].items()}
        model = Prior(PriorConfig(**values))
        weights = {name: tensor.float() for name, tensor in read_weights(path).items()}
        require_finite(weights, path.name)
        model.load_state_dict(weights)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelError(f"{path.name} does not hold the prior its header speaks of") from error
    return model.eval().requires_grad_(False).to(device)


def save_prior(
    model: Prior, path: str | Path, recipe: Mapping[str, Any] | None = None, *, dtype: torch.dtype = torch.float32
) -> Path:
    """Writes a prior as safetensors with its config and recipe. Raises: OutputError."""
    header = {"format": FORMAT, "schema": SCHEMA, "config": asdict(model.config), "recipe": dict(recipe or {})}
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    return write_own(path, tensors, header)
