"""Reads diffusers' VQModel folders, old and new: LDM's VQGANs, Kandinsky's MOVQ, aMUSEd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vqclip.configs import VQGANConfig
from vqclip.errors import ModelError
from vqclip.store.documents import shown
from vqclip.store.keymaps import kept_parts, renamed, reversed_up, squares
from vqclip.store.shapes import infer_config, require_same

_RULES = (
    (r"^encoder\.down_blocks\.", "encoder.down."),
    (r"^decoder\.up_blocks\.", "decoder.up."),
    (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
    (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
    (r"\.mid_block\.attentions\.0\.", ".mid.attn_1."),
    (r"\.resnets\.", ".block."),
    (r"\.attentions\.", ".attn."),
    (r"\.downsamplers\.0\.", ".downsample."),
    (r"\.upsamplers\.0\.", ".upsample."),
    (r"\.(group_norm|spatial_norm)\.", ".norm."),
    (r"\.(to_q|query)\.", ".q."),
    (r"\.(to_k|key)\.", ".k."),
    (r"\.(to_v|value)\.", ".v."),
    (r"\.(to_out\.0|proj_attn)\.", ".proj_out."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
)
_ATTENTION = r"\.attn(_1|\.\d+)\.(q|k|v|proj_out)\.weight$"
_AMUSED_CHANNELS = 64


def read_diffusers(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any] | None, label: str
) -> tuple[VQGANConfig, dict[str, Tensor]]:
    """A diffusers VQModel: its shape, and its weights under taming's names.

    config.json, if there is one, tells the groups of the norms and must agree otherwise. No file says which range its
    pictures have: aMUSEd's [0, 1] is known by its config's lookup_from_codebook, or by having no attention at all and
    64 channels. Raises: ModelError if weights and config disagree, or the config asks for what vqclip cannot do.
    """
    document = document or {}
    if document.get("act_fn", "silu") not in ("silu", "swish"):
        raise ModelError(f"{label}: its config asks for the activation {shown(document['act_fn'])}, which is not known")
    weights = squares(reversed_up(renamed(kept_parts(tensors), _RULES)), _ATTENTION)
    facts = {"norm_groups": document.get("norm_num_groups", 32)}
    config = infer_config(weights, label, **facts, picture_range=_picture_range(weights, document))
    require_same(config, _described(document), label, "config.json")
    return config, weights


def _picture_range(weights: Mapping[str, Tensor], document: Mapping[str, Any]) -> str:
    lookup = document.get("lookup_from_codebook")
    if lookup is None:
        attention = any(".attn" in name for name in weights)
        first = weights.get("decoder.conv_in.weight")
        lookup = not attention and first is not None and first.shape[1:2] == (_AMUSED_CHANNELS,)
    return "unit" if lookup else "signed"


def _described(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a config.json says of the shape, under our names."""
    names = {"num_vq_embeddings": "codes", "latent_channels": "latent_channels", "out_channels": "out_channels"}
    found = {names[name]: document[name] for name in names if name in document}
    if document.get("vq_embed_dim") is not None:
        found["embedding_channels"] = document["vq_embed_dim"]
    return found
