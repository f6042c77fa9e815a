"""The models vqclip knows by name, read from models.toml: pure data, without torch and without looking at the disk."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from vqclip.errors import ModelError
from vqclip.words import did_you_mean

WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Model:
    """A VQGAN as the registry knows it. defaults hold every setting that is the model's own.

    starts are tables of settings that are the model's own for some kinds of start, which `init` names; see `own`.
    stride is None for a file of the user's own, whose shape shows only when it is loaded.
    """

    name: str
    kind: str = "vqgan"
    family: str = "unknown"
    stride: int | None = None
    about: str = ""
    license: str = ""
    aliases: tuple[str, ...] = ()
    suffix: str = ""
    size: int | None = None
    sha256: str | None = None
    mirrors: tuple[str, ...] = ()
    registered: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)
    starts: tuple[Mapping[str, Any], ...] = ()

    def own(self, init: str) -> dict[str, Any]:
        """The model's own settings for a picture that starts from `init` ("codes", "image", ...)."""
        values = dict(self.defaults)
        for table in self.starts:
            if init in table["init"]:
                values |= {key: value for key, value in table.items() if key != "init"}
        return {**values, "init": init}


@cache
def models() -> tuple[Model, ...]:
    """All registered models, in the order of models.toml."""
    document = _document()
    return tuple(_model(name, entry, document) for name, entry in document["models"].items())


def find(name: str) -> Model:
    """The model of a name or alias; for a path or a name that nobody registered, an entry with the common defaults."""
    for model in models():
        if name == model.name or name in model.aliases:
            return model
    return _model(name, {"registered": False}, _document())


def known_names() -> list[str]:
    """All registered names, without aliases."""
    return [model.name for model in models()]


def clip_name(name: str) -> str:
    """A CLIP's name as this package writes it: OpenAI's spellings (ViT-B/32) become open_clip's (ViT-B-32/openai)."""
    return _document()["clip_aliases"].get(name, name)


def is_path(name: str) -> bool:
    """Whether a model's name can only be meant as a file: it has a folder in it or ends like a weight file."""
    return "/" in name or "\\" in name or name.lower().endswith(WEIGHT_SUFFIXES)


def unknown(name: str) -> ModelError:
    """The error for a name that is neither registered nor a file."""
    names = [*known_names(), *(alias for model in models() for alias in model.aliases)]
    near = did_you_mean(name, names)
    hint = near if near and near.startswith("did you mean") else f"known: {', '.join(known_names())}; or give a path"
    return ModelError(f"no model is called {name!r}", hint=hint)


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(resources.files("vqclip.store").joinpath("models.toml").read_text(encoding="utf-8"))


def _model(name: str, entry: dict[str, Any], document: dict[str, Any]) -> Model:
    lists = {key: tuple(entry[key]) for key in ("aliases", "mirrors") if key in entry}
    defaults = MappingProxyType({**document["defaults"], **entry.get("defaults", {})})
    starts = tuple(MappingProxyType(table) for table in (*document["starts"], *entry.get("starts", ())))
    return Model(name, **{**entry, **lists, "defaults": defaults, "starts": starts})
