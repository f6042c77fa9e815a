"""Begins a starter training where the shipped weights end, for when its own checkpoints are lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from vqclip.errors import ModelError
from vqclip.models.prior import Prior
from vqclip.runs.starter import PRIOR_CONFIG, VQGAN_CONFIG, StarterRun
from vqclip.sinks.state import save_state
from vqclip.store.clipfile import read_clip
from vqclip.store.priors import load_prior
from vqclip.store.starter import starter_path
from vqclip.store.vqgans import load_vqgan
from vqclip.train.prior import PriorParts
from vqclip.train.vqgan import VQGANParts

_TOKENS = "token_embedding.weight"


def adopt_shipped(run: StarterRun) -> list[Path]:
    """Writes finished checkpoints of the stages clip, vqgan and prior from the weights that this package ships.

    What files do not keep begins anew: the attribute heads and the optimizers' moments. A checkpoint that is there
    already stays. Raises: ModelError if the shipped weights have another shape than this training's.
    """
    written = []
    for stage, make in (("clip", _clip), ("vqgan", _vqgan), ("prior", _prior)):
        path = run.folder / f"{stage}.state"
        if not path.exists():
            save_state(path, {"step": getattr(run.training, stage).steps, "parts": make(run)})
            written.append(path)
    return written


def _clip(run: StarterRun) -> Mapping[str, Any]:
    parts = run.clip_parts()
    shipped = read_clip(starter_path("clip"))
    own = set(parts.vocabulary.ids)
    unknown = next(number for number in range(len(shipped.weights[_TOKENS])) if number not in own)
    rows = [unknown if number < 0 else number for number in parts.vocabulary.ids]
    weights: dict[str, Tensor] = {**shipped.weights, _TOKENS: shipped.weights[_TOKENS][rows]}
    parts.model.load_state_dict(weights)
    parts.averaged.load_state_dict(weights)
    return parts.state()


def _vqgan(run: StarterRun) -> Mapping[str, Any]:
    model = load_vqgan("starter")
    if model.config != VQGAN_CONFIG:
        raise ModelError("the shipped VQGAN has another shape than the one to be trained")
    model.requires_grad_(True)
    return VQGANParts(model, F.mse_loss).state()


def _prior(run: StarterRun) -> Mapping[str, Any]:
    model = Prior(PRIOR_CONFIG)
    model.load_state_dict(load_prior("starter").state_dict())
    return PriorParts(model).state()
