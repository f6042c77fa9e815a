"""The families of published VQGANs: by which weights each is known, and who reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from vqclip.configs import AnyVQGANConfig
from vqclip.errors import ModelError
from vqclip.store.checkpoint import strip_prefix
from vqclip.store.diffusers import read_diffusers
from vqclip.store.keymaps import averaged
from vqclip.store.llamagen import read_janus, read_llamagen
from vqclip.store.lookalikes import looks_like
from vqclip.store.lookupfree import read_magvit, read_showo
from vqclip.store.maskgit import read_maskgit
from vqclip.store.taming import read_taming
from vqclip.store.var import read_var
from vqclip.store.vitvqgan import read_vitvqgan

Reader = Callable[[Mapping[str, Tensor], Mapping[str, Any] | None, str], tuple[AnyVQGANConfig, dict[str, Tensor]]]


@dataclass(frozen=True)
class Family:
    """A family: the weights that together only its files have, its reader, and what kind of config it may bring.

    within is the place in a larger model where alone these signs tell the family; "" for anywhere.
    """

    name: str
    signs: frozenset[str]
    read: Reader
    document: Literal["yaml", "json", "none"] = "none"
    within: str = ""


def _family(
    name: str, signs: str, read: Reader, document: Literal["yaml", "json", "none"] = "none", within: str = ""
) -> Family:
    return Family(name, frozenset(signs.split()), read, document, within)


_TABLE = "quantize.embedding.weight"
_BLOCK = "decoder.up.0.block.0.conv1.weight"

FAMILIES = (
    _family("ViT-VQGAN", "decoder.to_pixel.1.weight quantizer.embedding.weight", read_vitvqgan, "yaml"),
    _family("Open-MAGVIT2", "decoder.adaptive.0.gamma.weight", read_magvit),
    _family("Show-o", f"decoder.post_quant_conv.weight {_BLOCK}", read_showo),
    _family("VAR", f"quantize.quant_resi.qresi_ls.0.weight {_TABLE} {_BLOCK}", read_var, "yaml"),
    _family("diffusers", f"decoder.up_blocks.0.resnets.0.conv1.weight {_TABLE}", read_diffusers, "json"),
    _family("LlamaGen", f"decoder.conv_blocks.0.res.0.conv1.weight {_TABLE}", read_llamagen),
    _family("MaskGIT", f"decoder.mid.0.conv1.weight {_BLOCK} {_TABLE}", read_maskgit),
    _family("Janus", f"decoder.up.0.upsample.conv.weight {_BLOCK} {_TABLE}", read_janus),
    _family("Janus", f"{_BLOCK} {_TABLE}", read_janus, within="model.vqmodel."),
    _family("taming", f"{_BLOCK} quantize.embed.weight", read_taming, "yaml"),
    _family("taming", f"{_BLOCK} {_TABLE}", read_taming, "yaml"),
)

_PREFIXES = (
    "first_stage_model.",
    "",
    "model.vqmodel.",
    "vqmodel.",
    "gen_vision_model.",
    "model.gen_vision_model.",
    "vqvae.",
    "vqgan.",
    "vq_model.",
    "movq.",
    "model.",
)


def recognize(tensors: Mapping[str, Tensor], label: str) -> tuple[Family, dict[str, Tensor]]:
    """Which family a file belongs to, and its weights without the name of the place they had in a larger model.

    Running averages take the place of the weights they average. Raises: ModelError saying what the file looks like
    instead.
    """
    for prefix in _PREFIXES:
        plain = strip_prefix(tensors, prefix)
        for family in FAMILIES:
            if family.signs <= plain.keys() and family.within in ("", prefix):
                return family, averaged(plain)
    raise ModelError(f"{label} is no VQGAN of a known family: it looks like {looks_like(tensors)}")
