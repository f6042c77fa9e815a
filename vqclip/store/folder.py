"""Where weight files lie: the user's model folder, a path, or the built-in starter. Nothing here loads torch."""

from __future__ import annotations

import hashlib
import json
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import platformdirs

from vqclip.errors import ModelError, OutputError
from vqclip.store.modelfolder import weight_file
from vqclip.store.ownlist import own_list
from vqclip.store.publish import published
from vqclip.store.registry import WEIGHT_SUFFIXES, Model, find, is_path, models, unknown
from vqclip.store.starter import starter_path

# A file that changed this recently may change again within the same tick of the clock, unseen.
_SETTLED_NS = 2_000_000_000
MOST_HEADER_BYTES = 4 * 2**20
# What a download keeps beside its file, hidden; see `download`.
_LEFT = ("part", "source", "lock")


def model_folder() -> Path:
    """The folder of the user's models: `folder` in their own list, or the platform's data folder for vqclip."""
    chosen = own_list().folder
    if chosen is not None:
        return Path(os.path.expanduser(chosen))
    return Path(platformdirs.user_data_dir("vqclip", appauthor=False)) / "models"


def digest(path: str | Path) -> str:
    """The sha256 of a file, as 64 hex digits; an unchanged file is read once in the life of the process.

    Raises: ModelError if it cannot be read.
    """
    try:
        about = os.stat(path)
        stamp = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        settled = time.time_ns() - max(stamp[3:]) > _SETTLED_NS
        return (_sha256 if settled else _sha256.__wrapped__)(os.path.abspath(path), stamp)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ModelError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def own_defaults(name: str) -> dict[str, Any]:
    """The settings that a VQGAN of one's own asks for, as its training wrote them into the file: {} for any other.

    The file may come from anyone, so it may only choose among the models that come with the package: {"clip": [...]}.
    """
    path = os.path.expanduser(name) if is_path(name) else in_folder(name)
    try:
        with open(path or "", "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= MOST_HEADER_BYTES else b"{}"
        asked = json.loads(json.loads(text)["__metadata__"]["vqclip"])["recipe"]["defaults"]["clip"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {"clip": asked} if asked == ["starter"] else {}


def locate(name_or_path: str | Path, kind: str) -> Path:
    """The weight file of a model: "starter", a registered name, a path, or the name of a file in the model folder.

    A path has a folder in it or ends like a weight file; a plain name never means a file of the current folder, because
    a recipe may hold one. Of a folder that diffusers or transformers saved, it is the file with the VQGAN. A file in
    the model folder is held to its published or recorded checksum, whatever its suffix. Raises: ModelError saying what
    is missing and how to get it, or that the file is not the one it should be.
    """
    name = os.fspath(name_or_path)
    if name == "starter":
        return starter_path(kind)
    model = find(name)
    if model.registered:
        return _registered(model)
    path = Path(os.path.expanduser(name))
    if isinstance(name_or_path, Path) or is_path(name):
        if not os.path.exists(path):
            raise ModelError(f"there is no file {name}")
        return weight_file(path) if path.is_dir() else path
    found = in_folder(name)
    if found is None:
        raise _not_a_path(name) if os.path.exists(path) else unknown(name)
    return check(found)


def in_folder(name: str) -> Path | None:
    """The file in the model folder that is called `name` and ends like a weight file, if there is one."""
    candidates = (model_folder() / f"{name}{suffix}" for suffix in WEIGHT_SUFFIXES)
    return next((path for path in candidates if os.path.isfile(path)), None)


def at_hand() -> list[Model]:
    """The registered models whose file is here: the starter, if it is whole, and those in the model folder."""
    return [model for model in models() if is_here(model)]


def check(path: Path, model: Model | None = None) -> Path:
    """Holds a file of the model folder to the checksum it must have, if there is one, and returns it.

    Raises: ModelError if it is another file, or the file of a registered model that nobody vouches for.
    """
    if model is not None and path.name == model.file and model.size not in (None, path.stat().st_size):
        size = path.stat().st_size
        raise ModelError(f"{path.name} is incomplete: {size:,} of {model.size:,} bytes", hint=_anew(path, model))
    expected = published_digest(path, model) or recorded(path)
    if expected is None:
        if model is None:
            return path
        raise ModelError(
            f"nothing vouches for {path.name}: it has no published checksum, and none was recorded",
            hint=f"if you trust it: vqclip models verify {model.name}",
        )
    if (found := digest(path)) != expected:
        which = "published" if published_digest(path, model) else "recorded"
        raise ModelError(
            f"{path.name} is not the {which} file: sha256 {found}, not {expected}", hint=_anew(path, model)
        )
    return path


def published_digest(path: Path, model: Model | None) -> str | None:
    """The sha256 that the registry gives for this very file; None for a converted one or where none is documented."""
    return model.sha256 if model is not None and path.name == model.file else None


def recorded(path: Path) -> str | None:
    """The sha256 that was recorded for a file when it came here, from the .sha256 file beside it."""
    try:
        word = _record_of(path).read_text(encoding="ascii")[:64]
    except (OSError, UnicodeDecodeError):
        return None
    return word if len(word) == 64 and set(word) <= set("0123456789abcdef") else None


def record(path: Path, sha256: str) -> None:
    """Records a file's sha256 beside it, in the form that `sha256sum --check` reads. Raises: OutputError."""
    published(_record_of(path), lambda part: part.write_text(f"{sha256}  {path.name}\n", encoding="ascii"))


def forget(path: Path) -> None:
    """Removes a weight file, its record, and what a download of it left. Raises: OutputError."""
    try:
        for leftover in (path, _record_of(path), *(path.with_name(f".{path.name}.{kind}") for kind in _LEFT)):
            leftover.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error.strerror or error}") from error


@lru_cache(maxsize=256)
def _sha256(path: str, stamp: tuple[int, ...]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _not_a_path(name: str) -> ModelError:
    return ModelError(f"no model is called {name!r}", hint=f"for the file or folder of that name here, write ./{name}")


def _anew(path: Path, model: Model | None) -> str:
    name = model.name if model is not None else path.stem
    again = f"then: vqclip models get {name}" if model is not None and model.mirrors else "and add it again"
    return f"if it should be replaced: vqclip models rm {name}, {again}"


def is_here(model: Model) -> bool:
    """Whether the file of a registered model is here; looks at no byte of it."""
    if model.name != "starter":
        return in_folder(model.name) is not None
    try:
        return starter_path("vqgan").is_file()
    except ModelError:
        return False


def _registered(model: Model) -> Path:
    path = in_folder(model.name)
    if path is None:
        raise ModelError(f"the model {model.name} is not here", hint=how_to_get(model))
    return check(path, model)


def how_to_get(model: Model) -> str:
    """The exact command that brings a registered model here, or what to do by hand."""
    if model.mirrors:
        return f"vqclip models get {model.name} ({model.download})"
    page = f"open {model.page} in a browser, then" if model.page else "its list gives no address; if you have the file"
    return f"no program can fetch it: {page}: vqclip models add FILE --name {model.name}"
