"""Reads LlamaGen's VQGANs, and the same ones inside Janus, as DeepSeek and as transformers store them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vqclip.configs import VQGANConfig
from vqclip.store.keymaps import kept_parts, renamed, reversed_up
from vqclip.store.shapes import infer_config

_RULES = (
    (r"^encoder\.conv_blocks\.", "encoder.down."),
    (r"^decoder\.conv_blocks\.", "decoder.up."),
    (r"^((?:encoder\.down|decoder\.up)\.\d+)\.res\.", r"\1.block."),
)


def read_llamagen(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any] | None, label: str
) -> tuple[VQGANConfig, dict[str, Tensor]]:
    """A LlamaGen VQGAN: its shape, and its weights under taming's names. Its codes are compared by direction.

    The file has no config: the shapes tell all. Raises: ModelError if they make no sense.
    """
    weights = reversed_up(renamed(kept_parts(tensors), _RULES))
    weights = renamed(weights, _middle_rules(weights))
    return infer_config(weights, label, quantizer="unit"), weights


def read_janus(
    tensors: Mapping[str, Tensor], document: Mapping[str, Any] | None, label: str
) -> tuple[VQGANConfig, dict[str, Tensor]]:
    """The VQGAN inside transformers' Janus: taming's names, but its decoder counts levels from the lowest resolution.

    transformers forgets to normalize the encoded picture; this follows the original. Raises: ModelError if the shapes
    make no sense.
    """
    weights = reversed_up(kept_parts(tensors))
    return infer_config(weights, label, quantizer="unit"), weights


def _middle_rules(weights: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """The middle's layers are numbered through; taming numbers blocks and attention apart."""
    rules: list[tuple[str, str]] = []
    for half in ("encoder", "decoder"):
        blocks = [number for number in range(17) if f"{half}.mid.{number}.conv1.weight" in weights]
        attention = [number for number in range(17) if f"{half}.mid.{number}.q.weight" in weights]
        names = {number: f"block_{place}" for place, number in enumerate(blocks, 1)}
        names |= dict.fromkeys(attention, "attn_1")
        rules += [(rf"^{half}\.mid\.{number}\.", f"{half}.mid.{name}.") for number, name in names.items()]
    return rules
