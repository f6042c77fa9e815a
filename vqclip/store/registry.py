"""The models vqclip knows by name: the shipped list and the user's own. Pure data, without torch, the disk unseen."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from vqclip.errors import ModelError, UsageError
from vqclip.store.ownlist import WEIGHT_SUFFIXES, Entry, own_list, own_list_path
from vqclip.words import did_you_mean

__all__ = ["WEIGHT_SUFFIXES", "Model", "find", "is_path", "known_names", "models", "unknown"]


@dataclass(frozen=True)
class Model:
    """A VQGAN as the registry knows it. defaults hold every setting that is the model's own, film those of its films.

    restyle holds what is otherwise for restyled clips.
    starts are tables of settings that are the model's own for some kinds of start, which `init` names; see `own`.
    stride is None for a file of the user's own, whose shape shows only when it is loaded. size (bytes) and sha256 are
    those of the published file; megabytes stands where the exact size is not documented; memory is in GB. yours says
    that the entry comes from the user's own list.
    """

    name: str
    kind: str = "vqgan"
    family: str = "unknown"
    stride: int | None = None
    codes: int | None = None
    about: str = ""
    good_at: str = ""
    license: str = ""
    noncommercial: bool = False
    aliases: tuple[str, ...] = ()
    memory: float | None = None
    suffix: str = ""
    size: int | None = None
    megabytes: int | None = None
    sha256: str | None = None
    mirrors: tuple[str, ...] = ()
    page: str | None = None
    registered: bool = True
    yours: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    starts: tuple[Mapping[str, Any], ...] = ()
    film: Mapping[str, Any] = field(default_factory=dict)
    restyle: Mapping[str, Any] = field(default_factory=dict)

    def own(self, init: str) -> dict[str, Any]:
        """The model's own settings for a picture that starts from `init` ("codes", "image", ...)."""
        values = dict(self.defaults)
        for table in self.starts:
            if init in table["init"]:
                values |= {key: value for key, value in table.items() if key != "init"}
        if init != "prior":
            values.pop("prior", None)
        return {**values, "init": init}

    @property
    def file(self) -> str:
        """The name of its file in the model folder."""
        return f"{self.name}{self.suffix}"

    @property
    def download(self) -> str:
        """How large its file is, in words for people."""
        if self.size is not None:
            return f"{self.size / 1e6:,.0f} MB"
        return f"about {self.megabytes:,} MB" if self.megabytes else "size not documented"


@cache
def models() -> tuple[Model, ...]:
    """All registered models: the shipped ones in the order of models.toml, then the user's own.

    Raises: UsageError if the user's own list is wrong, or gives a name that is taken.
    """
    document = _document()
    shipped = [_model(name, entry, document) for name, entry in document["models"].items()]
    taken = {name for model in shipped for name in (model.name, *model.aliases)}
    own: list[Model] = []
    for name, entry in own_list().models.items():
        for word in (name, *entry.aliases):
            if word in taken:
                raise UsageError(
                    f"{own_list_path()}: the name {word!r} is taken", hint="give the model another name or alias"
                )
            taken.add(word)
        own.append(_model(name, {**_said(entry), "yours": True}, document))
    return (*shipped, *own)


def find(name: str) -> Model:
    """The model of a name or alias; for a path or a name that nobody registered, an entry with the common defaults."""
    for model in models():
        if name == model.name or name in model.aliases:
            return model
    return _model(name, {"registered": False}, _document())


def known_names() -> list[str]:
    """All registered names, without aliases."""
    return [model.name for model in models()]


def is_path(name: str) -> bool:
    """Whether a model's name can only be meant as a file: it has a folder in it or ends like a weight file."""
    return "/" in name or "\\" in name or name.lower().endswith(WEIGHT_SUFFIXES)


def unknown(name: str) -> ModelError:
    """The error for a name that is neither registered nor a file."""
    names = [*known_names(), *(alias for model in models() for alias in model.aliases)]
    near = did_you_mean(name, names)
    hint = near if near and near.startswith("did you mean") else "`vqclip models list` shows the names; or give a path"
    return ModelError(f"no model is called {name!r}", hint=hint)


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(resources.files("vqclip.store").joinpath("models.toml").read_text(encoding="utf-8"))


def _said(entry: Entry) -> dict[str, Any]:
    return entry.model_dump(exclude_unset=True)


def _model(name: str, entry: Mapping[str, Any], document: Mapping[str, Any]) -> Model:
    lists = {key: tuple(entry[key]) for key in ("aliases", "mirrors") if key in entry}
    defaults = MappingProxyType({**document["defaults"], **entry.get("defaults", {})})
    starts = tuple(MappingProxyType(table) for table in (*document["starts"], *entry.get("starts", ())))
    return Model(name, **{**entry, **lists, "defaults": defaults, "starts": starts})
