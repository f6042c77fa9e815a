"""Priors as files: loading and writing the network that sketches the first latent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vqclip.configs import PriorConfig
from vqclip.errors import ModelError
from vqclip.models.prior import Prior
from vqclip.store.checkpoint import read_header, read_weights, require_finite, write_own
from vqclip.store.folder import digest, locate
from vqclip.store.starter import STARTER
from vqclip.words import clean

FORMAT = "vqclip-prior"
SCHEMA = 1
MOST_LEVELS = 8
_CLIP = "clip:"


@dataclass(frozen=True)
class Pair:
    """The VQGAN and the CLIP that a prior was trained with: what each was called, and the sha256 of its file."""

    vqgan: str
    vqgan_digest: str
    clip: str
    clip_digest: str


def trained_with(name_or_path: str | Path) -> Pair:
    """The models that a prior belongs to, as its own recipe names them; the starter's prior belongs to the starter.

    Raises: ModelError if the file is missing, is no prior, or does not say it.
    """
    if name_or_path == STARTER:
        return Pair(*(part for kind in ("vqgan", "clip") for part in (STARTER, digest(locate(STARTER, kind)))))
    path = locate(name_or_path, "prior")
    recipe = _header(path).get("recipe")
    models = recipe.get("models") if isinstance(recipe, Mapping) else None
    said = models.items() if isinstance(models, Mapping) else ()
    named = {name.startswith(_CLIP): (clean(name.removeprefix(_CLIP))[:100], found) for name, found in said}
    if named.keys() != {False, True} or not all(isinstance(found, str) for _, found in named.values()):
        raise ModelError(
            f"{path.name} does not say which VQGAN and which CLIP it was trained with",
            hint="train it again with `vqclip train prior`, which writes that down",
        )
    return Pair(*named[False], *named[True])


def prior_outline(name_or_path: str | Path) -> PriorConfig:
    """The shape of a prior, read without its weights. Raises: ModelError if it is missing, damaged or not a prior."""
    path = locate(name_or_path, "prior")
    return _config(_header(path).get("config"), path.name)


def load_prior(name_or_path: str | Path, *, device: str | torch.device = "cpu") -> Prior:
    """Loads a prior, frozen, in float32: "starter" or one of our own files.

    Raises: ModelError if it is missing, damaged or not a prior.
    """
    path, config = locate(name_or_path, "prior"), prior_outline(name_or_path)
    weights = {name: tensor.float() for name, tensor in read_weights(path).items()}
    require_finite(weights, path.name)
    try:
        with torch.device("meta"):  # a header may claim any size: only what the file holds takes memory
            model = Prior(config)
        model.load_state_dict(weights, assign=True)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{path.name} does not hold the prior its header speaks of") from error
    return model.eval().requires_grad_(False).to(device)


def _header(path: Path) -> dict[str, Any]:
    header = read_header(path)
    if header.get("format") != FORMAT or header.get("schema") != SCHEMA:
        raise ModelError(
            f"{path.name} is no prior that this version of vqclip reads", hint="`vqclip train prior` makes one"
        )
    return header


def _config(values: Any, label: str) -> PriorConfig:
    """The shape that a header claims, each number of it sane. Raises: ModelError."""
    try:
        config = PriorConfig(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
        sides = (config.latent_channels, config.grid, config.text_channels, config.heads, *config.channels)
        sane = all(type(side) is int and 0 < side < 2**16 for side in sides)
        sane = sane and type(config.fine_grid) is int and 0 <= config.fine_grid < 2**16
        sane = sane and 0 < len(config.channels) <= MOST_LEVELS and all(type(n) is int for n in config.attention_levels)
        fits = sane and all(channels % config.heads == 0 for channels in config.channels)
    except (TypeError, AttributeError) as error:
        raise ModelError(f"{label} does not hold the prior its header speaks of") from error
    if not fits:
        raise ModelError(f"{label} claims a shape that no prior has")
    return config


def save_prior(
    model: Prior, path: str | Path, recipe: Mapping[str, Any] | None = None, *, dtype: torch.dtype = torch.float32
) -> Path:
    """Writes a prior as safetensors with its config and recipe. Raises: OutputError."""
    header = {"format": FORMAT, "schema": SCHEMA, "config": asdict(model.config), "recipe": dict(recipe or {})}
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    return write_own(path, tensors, header)
