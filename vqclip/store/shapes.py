"""Shapes of VQGANs from strangers: checked value by value, or read off the weights themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from vqclip.configs import AnyVQGANConfig, CodebookKind, PictureRange, TransformerConfig, ViTVQGANConfig, VQGANConfig
from vqclip.errors import ModelError
from vqclip.store.documents import LARGEST_MULTIPLIER, MOST_LEVELS, shown, whole, wholes
from vqclip.words import counted

if TYPE_CHECKING:
    from torch import Tensor

MOST_BLOCKS = 17
MOST_SCALES = 32
MOST_BITS = 20
MOST_DEPTH = 64
AnyConfig = TypeVar("AnyConfig", VQGANConfig, ViTVQGANConfig)
_Check = Callable[[Any, str, str], Any]


def checked_config(values: Mapping[str, Any], label: str) -> VQGANConfig:
    """A VQGANConfig from values that nobody has checked. Raises: ModelError naming the first one that is wrong."""
    config = VQGANConfig(**_checked(values, _PLAIN, label))
    lists = (config.encoder_multipliers, config.encoder_blocks, config.decoder_blocks)
    if any(one is not None and len(one) != len(config.multipliers) for one in lists):
        raise ModelError(f"{label}: its lists of levels differ in length")
    return _fitting(config, label)


def checked_vit_config(values: Mapping[str, Any], label: str) -> ViTVQGANConfig:
    """A ViTVQGANConfig from values that nobody has checked. Raises: ModelError naming the first one that is wrong."""
    return _fitting(ViTVQGANConfig(**_checked(values, _TOKENS, label)), label)


def infer_config(weights: Mapping[str, Tensor], label: str, **facts: Any) -> VQGANConfig:
    """The shape of a VQGAN from its weights under taming's names; facts are what no weight can tell.

    Raises: ModelError if they make no sense.
    """
    decoder = _levels(weights, "decoder.up", label)
    encoder = _levels(weights, "encoder.down", label) if "encoder.conv_in.weight" in weights else None
    stem = shape_of(weights, "encoder.conv_in.weight", label, 4) if encoder else None
    widths = [*decoder["widths"], *(encoder["widths"] if encoder else []), *(stem[:1] if stem else [])]
    if encoder and len(encoder["widths"]) != len(decoder["widths"]):
        raise ModelError(f"{label} is not whole: its halves have different numbers of levels")
    channels = math.gcd(*widths)
    latent = shape_of(weights, "decoder.conv_in.weight", label, 4)[1]
    values = {
        "channels": channels,
        "multipliers": [width // channels for width in decoder["widths"]],
        "attention_levels": decoder["attention"],
        "middle_attention": "decoder.mid.attn_1.q.weight" in weights,
        "middle_blocks": _count(weights, "decoder.mid.block_{}.conv1.weight", MOST_BLOCKS, first=1),
        "latent_channels": latent,
        "embedding_channels": latent,
        "out_channels": shape_of(weights, "decoder.conv_out.weight", label, 4)[0],
        "variant": _variant(weights),
        **_around(weights, label),
        **_blocks(decoder["blocks"], encoder["blocks"] if encoder else None),
    }
    if encoder and stem:
        values |= {"in_channels": stem[1], "stem": stem[0] // channels}
        values |= _asymmetric(values, encoder, channels)
    return checked_config(values | _table(weights, label) | facts, label)


def require_same(config: AnyVQGANConfig, described: Mapping[str, Any], label: str, document: str) -> None:
    """Refuses a config file that describes another model. Raises: ModelError naming the first difference."""
    for name, there in described.items():
        here = getattr(config, name)
        if here != there:
            raise ModelError(
                f"{label} and its {document} do not belong together: "
                f"{name} is {shown(here)} here, but {shown(there)} in the {document}",
                hint=f"name the right {document}, or none: the weights alone are enough",
            )


def shape_of(weights: Mapping[str, Tensor], name: str, label: str, sides: int) -> tuple[int, ...]:
    """The shape of a weight that must be there, of so many sides. Raises: ModelError naming it."""
    if name not in weights:
        raise ModelError(f"{label} is not whole: {name} is missing", hint="get the file again")
    shape = tuple(weights[name].shape)
    if len(shape) != sides or 0 in shape:
        raise ModelError(f"{label}: {name} has the shape {shape}")
    return shape


def _fitting(config: AnyConfig, label: str) -> AnyConfig:
    """Lets through only a codebook that can be built and fits between the halves. Raises: ModelError."""
    kind, channels = config.quantizer, config.embedding_channels
    if kind == "sign" and config.codes != 2 ** min(channels, MOST_BITS):
        codes = counted(config.codes, "code", form=",")
        raise ModelError(f"{label}: its {counted(channels, 'channel')} of signs cannot make {codes}")
    if kind == "residual" and (not config.scales or 0 in config.scales):
        raise ModelError(f"{label}: its scales are {shown(config.scales)}, not numbers from 1 on")
    if kind == "gumbel" and channels != config.encoded_channels:
        raise ModelError(f"{label}: its projection cannot read {counted(channels, 'channel')}")
    if not config.quant_kernel and {config.encoded_channels, config.decoded_channels} != {channels}:
        raise ModelError(f"{label}: its codes of {counted(channels, 'channel')} do not fit between its halves")
    return config


def _levels(weights: Mapping[str, Tensor], half: str, label: str) -> dict[str, list[int]]:
    levels = range(_count(weights, half + ".{}.block.0.conv1.weight", MOST_LEVELS))
    if not levels:
        raise ModelError(f"{label} is not whole: {half}.0.block.0.conv1.weight is missing", hint="get the file again")
    return {
        "widths": [shape_of(weights, f"{half}.{level}.block.0.conv1.weight", label, 4)[0] for level in levels],
        "blocks": [_count(weights, f"{half}.{level}.block.{{}}.conv1.weight", MOST_BLOCKS) for level in levels],
        "attention": [level for level in levels if f"{half}.{level}.attn.0.q.weight" in weights],
    }


def _blocks(decoder: list[int], encoder: list[int] | None) -> dict[str, Any]:
    """Blocks per level: one number if the halves are even and the decoder has one more than the encoder."""
    base = (encoder or [max(1, decoder[0] - 1)])[0]
    values: dict[str, Any] = {"blocks": base}
    if any(count != base + 1 for count in decoder):
        values["decoder_blocks"] = decoder
    if encoder and any(count != base for count in encoder):
        values["encoder_blocks"] = encoder
    return values


def _asymmetric(values: Mapping[str, Any], encoder: Mapping[str, list[int]], channels: int) -> dict[str, Any]:
    """What of the encoder is not as in the decoder."""
    multipliers = [width // channels for width in encoder["widths"]]
    found = {"encoder_multipliers": multipliers} if multipliers != values["multipliers"] else {}
    if encoder["attention"] != values["attention_levels"]:
        found["encoder_attention_levels"] = encoder["attention"]
    return found


def _around(weights: Mapping[str, Tensor], label: str) -> dict[str, int]:
    if "post_quant_conv.weight" not in weights:
        return {"quant_kernel": 0}
    shape = shape_of(weights, "post_quant_conv.weight", label, 4)
    return {"quant_kernel": shape[2], "embedding_channels": shape[1]}


def _table(weights: Mapping[str, Tensor], label: str) -> dict[str, Any]:
    for name, kind in (("quantize.embed.weight", "gumbel"), ("quantize.embedding.weight", "l2")):
        if name in weights:
            codes, channels = shape_of(weights, name, label, 2)
            return {"codes": codes, "embedding_channels": channels, "quantizer": kind}
    return {}


def _variant(weights: Mapping[str, Tensor]) -> str:
    if "decoder.norm_out.conv_y.weight" in weights:
        return "movq"
    return "magvit" if "decoder.up.0.adaptive.gamma.weight" in weights else "plain"


def _count(weights: Mapping[str, Tensor], pattern: str, most: int, first: int = 0) -> int:
    found = (number for number in range(first, first + most) if pattern.format(number) not in weights)
    return next(found, first + most) - first


def _checked(values: Mapping[str, Any], checks: Mapping[str, _Check], label: str) -> dict[str, Any]:
    for name in values:
        if name not in checks:
            raise ModelError(f"{label}: unknown entry {shown(name)}", hint="it may need a newer version of vqclip")
    return {name: checks[name](value, name, label) for name, value in values.items()}


def _up_to(largest: int) -> _Check:
    return lambda value, name, label: whole(value, name, largest, label)


def _up_to_each(largest: int, *, least: int = 1, most: int = MOST_LEVELS) -> _Check:
    def check(value: Any, name: str, label: str) -> tuple[int, ...]:
        numbers = wholes(value, name, largest, label, most=most)
        if least and (not numbers or 0 in numbers):
            raise ModelError(f"{label}: {name} is {shown(value)}, not a list of numbers from 1 on")
        return numbers

    return check


def _or_none(check: _Check) -> _Check:
    return lambda value, name, label: None if value is None else check(value, name, label)


def _one_of(choices: Iterable[Any]) -> _Check:
    allowed = tuple(choices)

    def check(value: Any, name: str, label: str) -> Any:
        if not any(value is choice or (value == choice and not isinstance(value, bool)) for choice in allowed):
            raise ModelError(f"{label}: {name} is {shown(value)}, not one of {', '.join(map(str, allowed))}")
        return value

    return check


def _transformer(value: Any, name: str, label: str) -> TransformerConfig:
    if not isinstance(value, Mapping) or set(value) != _LARGEST_TRANSFORMER.keys():
        raise ModelError(f"{label}: {name} does not describe a transformer")
    sizes = {key: whole(value[key], f"{name}.{key}", most, label) for key, most in _LARGEST_TRANSFORMER.items()}
    return TransformerConfig(**sizes)


_LARGEST_TRANSFORMER = {"width": 2**15, "depth": MOST_DEPTH, "heads": 512, "hidden": 2**15}
_COMMON: dict[str, _Check] = {
    "embedding_channels": _up_to(4096),
    "codes": _up_to(2**20),
    "in_channels": _up_to(64),
    "out_channels": _up_to(64),
    "quantizer": _one_of(get_args(CodebookKind)),
    "quant_kernel": _one_of((0, 1, 3)),
    "picture_range": _one_of(get_args(PictureRange)),
    "scales": _up_to_each(4096, least=0, most=MOST_SCALES),
}
_PLAIN: dict[str, _Check] = {
    **_COMMON,
    "channels": _up_to(1024),
    "multipliers": _up_to_each(LARGEST_MULTIPLIER),
    "blocks": _up_to(16),
    "attention_levels": _up_to_each(MOST_LEVELS, least=0),
    "middle_attention": _one_of((True, False)),
    "latent_channels": _up_to(4096),
    "stem": _up_to(LARGEST_MULTIPLIER),
    "encoder_multipliers": _or_none(_up_to_each(LARGEST_MULTIPLIER)),
    "encoder_blocks": _or_none(_up_to_each(MOST_BLOCKS)),
    "encoder_attention_levels": _or_none(_up_to_each(MOST_LEVELS, least=0)),
    "decoder_blocks": _or_none(_up_to_each(MOST_BLOCKS)),
    "middle_blocks": _up_to(16),
    "norm_groups": _up_to(1024),
    "variant": _one_of(("plain", "movq", "magvit")),
}
_TOKENS: dict[str, _Check] = {
    **_COMMON,
    "encoder": _transformer,
    "decoder": _transformer,
    "patch": _up_to(128),
    "grid": _up_to_each(1024, most=2),
}
