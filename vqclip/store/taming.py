"""Reads and writes taming-transformers' checkpoints: VQModel, GumbelVQ, and the first stage inside Net2Net files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from vqclip.configs import VQGANConfig
from vqclip.errors import ModelError
from vqclip.models.vqgan import VQGAN
from vqclip.store.checkpoint import strip_prefix
from vqclip.store.documents import LARGEST_MULTIPLIER, MOST_LEVELS, checked_config, whole, wholes
from vqclip.store.lookalikes import looks_like
from vqclip.store.publish import published

_PREFIXES = ("first_stage_model.", "")
_PARTS = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
_NO_MATTER = re.compile(r"quantize\.(used|codebook_used|embedding\.(cluster_size|embed_avg|initted)|cluster_size)$")
_LARGEST_RESOLUTION = 4096


def read_taming(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any] | None, label: str
) -> tuple[VQGANConfig, dict[str, Tensor]]:
    """Finds the VQGAN in a taming file: its shape, and its weights under their plain names.

    The shape comes from the weights themselves; the yaml document, if there is one, must agree with it. Discriminator,
    perceptual network, optimizer and the transformer's weights are left behind. Raises: ModelError saying what the
    file looks like instead, or where the two disagree.
    """
    plain = next((found for prefix in _PREFIXES if _is_taming(found := strip_prefix(tensors, prefix))), None)
    if plain is None:
        raise ModelError(f"{label} is no VQGAN of the taming family: it looks like {looks_like(tensors)}")
    weights = {name: t for name, t in plain.items() if name.startswith(_PARTS) and not _NO_MATTER.match(name)}
    config = infer_config(weights, label)
    if document is not None:
        _require_same(config, document, label)
    return config, weights


def infer_config(weights: Mapping[str, Tensor], label: str) -> VQGANConfig:
    """The shape of a VQGAN from its weights under taming's names. Raises: ModelError if they make no sense."""
    gumbel = "quantize.embed.weight" in weights
    table = _shape(weights, "quantize.embed.weight" if gumbel else "quantize.embedding.weight", label, 2)
    levels = _count(weights, "decoder.up.{}.block.0.conv1.weight", MOST_LEVELS)
    widths = [_shape(weights, f"decoder.up.{level}.block.0.conv1.weight", label, 4)[0] for level in range(levels)]
    channels = math.gcd(*widths)
    if "encoder.conv_in.weight" in weights:
        channels = _shape(weights, "encoder.conv_in.weight", label, 4)[0]
    if not channels or any(width % channels for width in widths):
        raise ModelError(f"{label}: its levels have {widths} channels, which are no multiples of {channels}")
    values = {
        "channels": channels,
        "multipliers": [width // channels for width in widths],
        "blocks": _count(weights, "decoder.up.0.block.{}.conv1.weight", 17) - 1,
        "attention_levels": [n for n in range(levels) if f"decoder.up.{n}.attn.0.norm.weight" in weights],
        "middle_attention": "decoder.mid.attn_1.norm.weight" in weights,
        "latent_channels": _shape(weights, "decoder.conv_in.weight", label, 4)[1],
        "embedding_channels": table[1],
        "codes": table[0],
        "quantizer": "gumbel" if gumbel else "l2",
        "out_channels": _shape(weights, "decoder.conv_out.weight", label, 4)[0],
    }
    if "encoder.conv_in.weight" in weights:
        values["in_channels"] = _shape(weights, "encoder.conv_in.weight", label, 4)[1]
    return checked_config(values, label)


def config_from_yaml(document: Mapping[str, Any], label: str) -> VQGANConfig:
    """The shape of a VQGAN from a taming yaml; of a Net2Net yaml its first stage. No class it names is ever imported.

    Raises: ModelError naming what is missing or out of range.
    """
    model = document.get("model", document)
    params = model.get("params") if isinstance(model, dict) else None
    if isinstance(params, dict) and isinstance(params.get("first_stage_config"), dict):
        model = params["first_stage_config"]
        params = model.get("params")
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
        "quantizer": "gumbel" if "gumbel" in str(model.get("target", "")).lower() else "l2",
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
    if not config.middle_attention or any(config.channels * factor % 32 for factor in config.multipliers):
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


def _is_taming(tensors: Mapping[str, Tensor]) -> bool:
    tables = ("quantize.embedding.weight", "quantize.embed.weight")
    return "decoder.up.0.block.0.conv1.weight" in tensors and any(name in tensors for name in tables)


def _require_same(config: VQGANConfig, document: Mapping[str, Any], label: str) -> None:
    described = config_from_yaml(document, f"the yaml of {label}")
    for field in fields(VQGANConfig):
        here, there = getattr(config, field.name), getattr(described, field.name)
        if here != there:
            raise ModelError(
                f"{label} and its yaml do not belong together: {field.name} is {here} here, but {there} in the yaml",
                hint="name the right yaml, or none: the weights alone are enough",
            )


def _shape(weights: Mapping[str, Tensor], name: str, label: str, sides: int) -> tuple[int, ...]:
    if name not in weights:
        raise ModelError(f"{label} is not whole: {name} is missing")
    shape = tuple(weights[name].shape)
    if len(shape) != sides or 0 in shape:
        raise ModelError(f"{label}: {name} has the shape {shape}")
    return shape


def _count(weights: Mapping[str, Tensor], pattern: str, most: int) -> int:
    return next((number for number in range(most) if pattern.format(number) not in weights), most)
