"""VQGANs by name or path: loading any family that has a reader, and writing our own files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqclip.configs import AnyVQGANConfig, ViTVQGANConfig
from vqclip.errors import ModelError
from vqclip.models.vqgan import VQGAN
from vqclip.store.checkpoint import read_header, read_weights, require_finite, sniff, some, write_own
from vqclip.store.documents import read_document
from vqclip.store.families import recognize
from vqclip.store.folder import digest, locate, model_folder
from vqclip.store.lookupfree import SIGN_POWERS
from vqclip.store.pages import give_back
from vqclip.store.shapes import checked_config, checked_vit_config
from vqclip.store.taming import export_taming
from vqclip.words import counted

__all__ = ["FORMAT", "build_vqgan", "digest", "export_taming", "load_vqgan", "save_vqgan"]

FORMAT = "vqclip-vqgan"
SCHEMA = 1
_YAML_NAMES = ("model.yaml", "config.yaml", "project.yaml")
_ENCODER_PARTS = ("encoder.", "quant_conv.")
_TOKENS = "transformer"


def load_vqgan(
    name_or_path: str | Path,
    config: str | Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    encoder: bool = True,
) -> VQGAN:
    """Loads a VQGAN, frozen and ready to paint: a registered name, one of our own files, or a foreign checkpoint.

    Which family a file belongs to is told from the file. config is the yaml or json that came with it; one beside it
    (of the same name, or outside the model folder model.yaml, config.yaml, config.json) is found by itself, and hardly
    any family needs it.
    encoder=False leaves the encoder on the disk. Its weights compute in `dtype`; latents and pictures stay float32.
    Raises: ModelError saying what is wrong with the file, or where to get it.
    """
    path = locate(name_or_path, "vqgan")
    header = read_header(path)
    if header:
        if header.get("format") != FORMAT:
            raise ModelError(f"{path.name} is no VQGAN but a {str(header.get('format'))[:40]!r} file")
        shape, weights = _own_config(header, path.name), read_weights(path)
    else:
        family, tensors = recognize(read_weights(path), path.name)
        described = _beside(path, family.document) if config is None else Path(config)
        document = read_document(described) if described else None
        shape, weights = family.read(tensors, document, path.name)
    mapped = sniff(path) != "pickle"
    model = build_vqgan(shape, weights, path.name, encoder=encoder, dtype=dtype, mapped=mapped)
    return model.fuse(dtype).cast(dtype).to(device=device, memory_format=torch.channels_last)


def build_vqgan(
    config: AnyVQGANConfig,
    weights: Mapping[str, Tensor],
    label: str,
    *,
    encoder: bool = True,
    dtype: torch.dtype = torch.float32,
    mapped: bool = False,
) -> VQGAN:
    """Makes the model from weights under the common names, every one of which must be there, fit and be finite.

    Weights are copied one by one to `dtype`, but for those that have to be exact until `fuse` is done; of a
    mapped file each gives its memory back. With encoder=True and no encoder in the file the model has none.
    Raises: ModelError.
    """
    if config.out_channels != 3:
        raise ModelError(
            f"{label} paints {counted(config.out_channels, 'channel')}, not 3: it is no VQGAN for pictures"
        )
    encoder = encoder and any(name.startswith("encoder.") for name in weights)
    with torch.device("meta"):
        model = VQGAN(config, encoder=encoder).cast(dtype)
    expected = model.state_dict()
    given = {name: tensor for name, tensor in weights.items() if encoder or not name.startswith(_ENCODER_PARTS)}
    _require_fit(expected, given, label)
    ready = {}
    for name in sorted(given, key=_order):
        ready[name] = _copied(name, given[name], expected[name].dtype, label)
        if mapped:
            give_back(given[name])
    model.load_state_dict(ready, assign=True)
    return model.eval()


def save_vqgan(
    model: VQGAN, path: str | Path, recipe: Mapping[str, Any] | None = None, *, dtype: torch.dtype = torch.float32
) -> Path:
    """Writes a model as safetensors with its config and the recipe it was made by; half precision halves the file.

    Raises: ModelError if a number is too large for half precision; OutputError if it cannot be written.
    """
    header = {"format": FORMAT, "schema": SCHEMA, "config": asdict(model.config), "recipe": dict(recipe or {})}
    if isinstance(model.config, ViTVQGANConfig):
        header["network"] = _TOKENS
    tensors = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    large = dtype is torch.float16 and [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if large:
        raise ModelError(f"{some(large)} holds numbers too large for 16 bits", hint="leave --half out")
    return write_own(path, tensors, header)


def _require_fit(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], label: str) -> None:
    missing, foreign = expected.keys() - given.keys(), given.keys() - expected.keys()
    if missing:
        raise ModelError(f"{label} is not whole: {some(missing)} is missing", hint="get the file again")
    if foreign:
        raise ModelError(f"{label} has parts that its family does not: {some(foreign)}")
    for name, tensor in given.items():
        if tensor.shape != expected[name].shape:
            here, wanted = tuple(tensor.shape), tuple(expected[name].shape)
            raise ModelError(f"{label}: {name} has the shape {here}, but {wanted} is expected")
        if tensor.is_floating_point() != expected[name].is_floating_point():
            raise ModelError(f"{label}: {name} holds numbers of the type {tensor.dtype}, which no weight has")
    powers = given.get(SIGN_POWERS)
    if powers is not None and sorted(powers.tolist()) != [2**bit for bit in range(len(powers))]:
        raise ModelError(f"{label} is damaged: {SIGN_POWERS} is no order of bits")


def _order(name: str) -> tuple[bool, str]:
    """Decoder and codebook first: they are what painting waits for, and where most damage would show."""
    return name.startswith(_ENCODER_PARTS), name


def _copied(name: str, tensor: Tensor, dtype: torch.dtype, label: str) -> Tensor:
    """One weight, checked and in memory of its own, laid out as it will be used."""
    kind = torch.float32 if ".upsample." in name else dtype
    layout = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
    copied = tensor.to(kind, copy=True, memory_format=layout)
    require_finite({name: copied}, label)
    return copied


def _own_config(header: Mapping[str, Any], label: str) -> AnyVQGANConfig:
    if header.get("schema") != SCHEMA:
        raise ModelError(f"{label} was written by a newer version of vqclip", hint="update vqclip")
    values = header.get("config")
    if not isinstance(values, dict):
        raise ModelError(f"{label}: its header has no config")
    return checked_vit_config(values, label) if header.get("network") == _TOKENS else checked_config(values, label)


def _beside(path: Path, kind: str) -> Path | None:
    """The config next to a weight file, of the kind that its family brings.

    In the model folder, where the weights of many models lie together, only one of the same name can be meant.
    """
    names = {"yaml": _YAML_NAMES, "json": ("config.json",)}.get(kind, ())
    suffixes = {"yaml": (".yaml", ".yml"), "json": (".json",)}.get(kind, ())
    found = [path.with_suffix(suffix) for suffix in suffixes]
    if path.resolve().parent != model_folder().resolve():
        found += [path.parent / name for name in names]
    return next((one for one in found if one.is_file()), None)
