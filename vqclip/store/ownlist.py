"""The user's own list of models, in their configuration folder: a strict TOML file, checked before anything uses it."""

from __future__ import annotations

import os
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from vqclip.errors import UsageError
from vqclip.films import FilmSettings, RestyleSettings
from vqclip.smallfiles import read_small
from vqclip.words import clean, did_you_mean

WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".msgpack")
MAX_BYTES = 1024 * 1024

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Address = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@]+/\S*$", max_length=2000)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Entry(BaseModel):
    """What a list may say about one model; the shipped list keeps to it too.

    size is in bytes; megabytes stands where the exact size is not known. memory is in GB, for a step at 256 x 256.
    mirrors are tried in order; page is for people with a browser. An http:// mirror needs a sha256.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str = "vqgan"
    family: str = "unknown"
    stride: int | None = Field(None, ge=1, le=256)
    codes: int | None = Field(None, ge=1)
    aliases: list[Name] = []
    license: str = ""
    noncommercial: bool = False
    about: str = ""
    good_at: str = ""
    memory: float | None = Field(None, gt=0)
    suffix: str = ""
    size: int | None = Field(None, gt=0)
    megabytes: int | None = Field(None, gt=0)
    sha256: Digest | None = None
    mirrors: list[Address] = []
    page: Address | None = None
    defaults: dict[str, Any] = {}
    starts: list[dict[str, Any]] = []
    film: dict[str, Any] = {}
    restyle: dict[str, Any] = {}

    @model_validator(mode="after")
    def _can_be_fetched(self) -> Self:
        if (self.mirrors or self.suffix) and self.suffix not in WEIGHT_SUFFIXES:
            raise ValueError(f"suffix must be one of {', '.join(WEIGHT_SUFFIXES)}")
        if self.sha256 is None and any(mirror.startswith("http://") for mirror in self.mirrors):
            raise ValueError("an http:// mirror needs a sha256, or must be https://")
        return self


class OwnList(BaseModel):
    """The whole file: where models are kept, and models of the user's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    folder: str | None = None
    models: dict[Name, Entry] = {}


def own_list_path() -> Path:
    """Where the user's own list is looked for."""
    return Path(platformdirs.user_config_dir("vqclip", appauthor=False)) / "models.toml"


@cache
def own_list() -> OwnList:
    """The user's own list, read once; an empty one if there is no file. Raises: UsageError naming the entry."""
    path = own_list_path()
    return check_list(read_small(path, MAX_BYTES), str(path)) if os.path.lexists(path) else OwnList()


def check_list(data: bytes, source: str) -> OwnList:
    """Reads and checks a list from TOML. Raises: UsageError naming source and entry, with a cure."""
    try:
        values = tomllib.loads(data.decode("utf-8-sig"))
        found = OwnList.model_validate(values)
    except ValidationError as error:
        raise _unfit(error, source) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source}: not a TOML file: {clean(str(error))[:200]}") from error
    for name, entry in found.models.items():
        _check_defaults(name, entry, source)
    if found.folder is not None and not os.path.isabs(os.path.expanduser(found.folder)):
        raise UsageError(f"{source}: folder = {found.folder!r} is not a whole path", hint="begin it with / or ~/")
    return found


def _check_defaults(name: str, entry: Entry, source: str) -> None:
    from vqclip.settings import Settings

    if any(not isinstance(table.get("init"), list) for table in entry.starts):
        raise UsageError(f"{source}: {name}: a table of starts says which", hint='such as init = ["image"]')
    FilmSettings.make(entry.film, source=f"{source}: {name}: film")
    RestyleSettings.make(entry.restyle, source=f"{source}: {name}: restyle")
    for table in (entry.defaults, *entry.starts):
        Settings.make({key: value for key, value in table.items() if key != "init"}, source=f"{source}: {name}")


def _unfit(error: ValidationError, source: str) -> UsageError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = Entry.model_fields if len(first["loc"]) > 1 else OwnList.model_fields
        return UsageError(f"{source}: unknown entry {where}", hint=did_you_mean(str(first["loc"][-1]), known))
    reason = re.sub(r"^Value error, ", "", first["msg"])
    return UsageError(f"{source}: {where}: {reason}", hint="`vqclip models info NAME` shows a whole entry of the list")
