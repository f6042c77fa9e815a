"""Reads ViT-VQGAN's checkpoints: transformers in place of convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vqclip.configs import ViTVQGANConfig
from vqclip.errors import ModelError
from vqclip.models.vit import HEAD_WIDTH
from vqclip.store.keymaps import kept_parts, renamed, squares
from vqclip.store.shapes import MOST_DEPTH, checked_vit_config, shape_of
from vqclip.words import counted

_RULES = ((r"^pre_quant\.", "quant_conv."), (r"^post_quant\.", "post_quant_conv."), (r"^quantizer\.", "quantize."))


def read_vitvqgan(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any] | None, label: str
) -> tuple[ViTVQGANConfig, dict[str, Tensor]]:
    """A ViT-VQGAN: its shape, and its weights under the common names.

    Its grid is square, unless the yaml gives an image_size of two sides. Raises: ModelError if the shapes make no
    sense.
    """
    weights = squares(kept_parts(renamed(tensors, _RULES)), r"^(post_)?quant_conv\.weight$")
    pixels = shape_of(weights, "decoder.to_pixel.1.weight", label, 4)
    codes, channels = shape_of(weights, "quantize.embedding.weight", label, 2)
    cells = shape_of(weights, "decoder.de_pos_embedding", label, 3)[1]
    decoder = _half(weights, "decoder", label)
    values = {
        "encoder": _half(weights, "encoder", label) if "encoder.en_pos_embedding" in weights else decoder,
        "decoder": decoder,
        "patch": pixels[2],
        "grid": _grid(cells, pixels[2], document, label),
        "embedding_channels": channels,
        "codes": codes,
        "out_channels": pixels[1],
    }
    return checked_vit_config(values, label), weights


def _half(weights: Mapping[str, Tensor], half: str, label: str) -> dict[str, int]:
    layer = f"{half}.transformer.layers.{{}}."
    first = layer.format(0)
    depth = next((n for n in range(MOST_DEPTH) if f"{layer.format(n)}0.norm.weight" not in weights), MOST_DEPTH)
    joined, width = shape_of(weights, f"{first}0.fn.to_qkv.weight", label, 2)
    hidden = shape_of(weights, f"{first}1.fn.net.0.weight", label, 2)[0]
    return {"width": width, "depth": depth, "heads": joined // (3 * HEAD_WIDTH), "hidden": hidden}


def _grid(cells: int, patch: int, document: Mapping[str, Any] | None, label: str) -> tuple[int, int]:
    model = (document or {}).get("model", {})
    params = model.get("params") if isinstance(model, dict) else None
    size = params.get("image_size") if isinstance(params, dict) else None
    sides = size if isinstance(size, list) else [size, size] if isinstance(size, int) else None
    if sides is None:
        sides = [math.isqrt(cells) * patch] * 2
    grid = tuple(side // patch for side in sides if isinstance(side, int))
    if len(grid) != 2 or grid[0] * grid[1] != cells:
        shape = "square" if size is None else "grid of its yaml"
        raise ModelError(f"{label}: its {counted(cells, 'place makes', 'places make')} no {shape}")
    return grid
