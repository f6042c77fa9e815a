"""Reads and writes taming-transformers' checkpoints: VQModel, GumbelVQ, LDM's and IBQ's, alone or in a larger model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeGuard

import torch
import yaml
from torch import Tensor

from vqclip.configs import AnyVQGANConfig, VQGANConfig
from vqclip.errors import ModelError
from vqclip.models.vqgan import VQGAN
from vqclip.store.documents import LARGEST_MULTIPLIER, whole, wholes
from vqclip.store.keymaps import kept_parts
from vqclip.store.publish import published
from vqclip.store.shapes import checked_config, infer_config, require_same

_LARGEST_RESOLUTION = 4096
_AVERAGED_CODEBOOK = "model_ema.quantizeembeddingweight"


def read_taming(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any] | None, label: str
) -> tuple[VQGANConfig, dict[str, Tensor]]:
    """A VQGAN of the taming line: its shape, and its weights under their plain names.

    The shape comes from the weights themselves; the yaml document, if there is one, must agree with it. What no weight
    tells is whether codes are compared by distance (taming, LDM) or by inner product (IBQ): the yaml's target says it,
    and without one a file that also averaged its codebook is an IBQ. Discriminator, perceptual network, optimizer and
    a transformer's weights are left behind. Raises: ModelError if weights and yaml disagree.
    """
    weights = kept_parts(tensors)
    config = infer_config(weights, label)
    described = None if document is None else config_from_yaml(document, f"the yaml of {label}")
    inner = _AVERAGED_CODEBOOK in tensors if described is None else described.quantizer == "inner"
    if inner and config.quantizer == "l2":
        config = replace(config, quantizer="inner")
    if described is not None:
        require_same(config, {name: getattr(described, name) for name in _names()[0]}, label, "yaml")
    return config, weights


def config_from_yaml(document: Mapping[str, Any], label: str) -> VQGANConfig:
    """The shape of a VQGAN from a taming yaml, or one of Lightning's command line, as IBQ has; of a Net2Net yaml its
    first stage. No class it names is ever imported. Raises: ModelError naming what is missing or out of range.
    """
    target, params = _described(document.get("model", document))
    if isinstance(params, dict) and isinstance(params.get("first_stage_config"), dict):
        target, params = _described(params["first_stage_config"])
    shape = params.get("ddconfig") if isinstance(params, dict) else None
    if not isinstance(shape, dict):
        raise ModelError(f"{label} does not describe a VQGAN: it has no model.params.ddconfig")
    resolution = whole(shape.get("resolution"), "resolution", _LARGEST_RESOLUTION, label)
    multipliers = wholes(shape.get("ch_mult"), "ch_mult", LARGEST_MULTIPLIER, label)
    attended = set(wholes(shape.get("attn_resolutions", []), "attn_resolutions", _LARGEST_RESOLUTION, label))
    no_attention = shape.get("attn_type") == "none"
    levels = [level for level in range(len(multipliers)) if resolution >> level in attended and not no_attention]
    values = {
        "channels": shape.get("ch"),
        "multipliers": multipliers,
        "blocks": shape.get("num_res_blocks"),
        "attention_levels": levels,
        "middle_attention": not no_attention,
        "latent_channels": shape.get("z_channels"),
        "embedding_channels": params.get("embed_dim"),
        "codes": params.get("n_embed"),
        "quantizer": _kind(target),
        "in_channels": shape.get("in_channels", 3),
        "out_channels": shape.get("out_ch", 3),
    }
    return checked_config(values, label)


def export_taming(model: VQGAN, ckpt_path: str | Path) -> tuple[Path, Path]:
    """Writes a model as a checkpoint and a yaml that taming-transformers reads; returns both paths.

    A "unit" codebook is written with rows of length one, for which taming's plain search picks the same codes.
    Raises: ModelError if taming cannot express the model, or it has no encoder; OutputError if it cannot be written.
    """
    config, path = model.config, Path(ckpt_path)
    if not model.can_encode:
        raise ModelError("a model without its encoder cannot be exported: taming expects one")
    if not _is_plain(config) or not config.middle_attention or any(width % 32 for width in config.decoder.widths):
        raise ModelError("taming cannot express this model: it wants attention in the middle and channels in 32s")
    state = {name: tensor.detach().float().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if config.quantizer == "unit":
        state["quantize.embedding.weight"] = model.codebook.detach().cpu().contiguous()
    text = yaml.safe_dump(_yaml_of(config), sort_keys=False)
    config_path = path.with_suffix(".yaml")
    published(path, lambda part: torch.save({"state_dict": state, "global_step": 0}, part))
    published(config_path, lambda part: part.write_text(text, encoding="utf-8"))
    return path, config_path


def _yaml_of(config: VQGANConfig) -> dict[str, Any]:
    resolution = max(256, config.stride)
    params: dict[str, Any] = {
        "embed_dim": config.embedding_channels,
        "n_embed": config.codes,
        "ddconfig": {
            "double_z": False,
            "z_channels": config.latent_channels,
            "resolution": resolution,
            "in_channels": config.in_channels,
            "out_ch": config.out_channels,
            "ch": config.channels,
            "ch_mult": list(config.multipliers),
            "num_res_blocks": config.blocks,
            "attn_resolutions": [resolution >> level for level in config.attention_levels],
            "dropout": 0.0,
        },
        "lossconfig": {"target": "taming.modules.losses.vqperceptual.DummyLoss"},
    }
    if config.quantizer == "gumbel":
        schedule = {"warm_up_steps": 0, "max_decay_steps": 1, "lr_start": 1.0, "lr_max": 1.0, "lr_min": 1.0}
        params["kl_weight"] = 1e-8
        params["temperature_scheduler_config"] = {
            "target": "taming.lr_scheduler.LambdaWarmUpCosineScheduler",
            "params": {"verbosity_interval": 0, **schedule},
        }
    target = "GumbelVQ" if config.quantizer == "gumbel" else "VQModel"
    return {"model": {"base_learning_rate": 4.5e-6, "target": f"taming.models.vqgan.{target}", "params": params}}


def _described(part: Any) -> tuple[str, Any]:
    """The name of a class and what it is made with, in the words of taming's yaml or of Lightning's."""
    if not isinstance(part, dict):
        return "", None
    return str(part.get("target", part.get("class_path", ""))), part.get("params", part.get("init_args"))


def _kind(target: str) -> str:
    """The kind of codebook behind the name of a class, which is never imported."""
    name = target.lower()
    return "gumbel" if "gumbel" in name else "inner" if "ibq" in name else "l2"


def _is_plain(config: AnyVQGANConfig) -> TypeGuard[VQGANConfig]:
    """Whether taming's own yaml has words for all of a config."""
    if not isinstance(config, VQGANConfig) or config.quantizer not in ("l2", "gumbel", "unit"):
        return False
    return all(getattr(config, name) == getattr(VQGANConfig(), name) for name in _names()[1])


def _names() -> tuple[list[str], list[str]]:
    """The fields that taming's yaml has words for, and the others."""
    names = [field.name for field in fields(VQGANConfig)]
    first = names.index("stem")
    return names[:first], names[first:]
