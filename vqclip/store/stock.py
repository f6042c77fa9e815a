"""What `vqclip models` does to the model folder: bringing models in, checking them, taking them out; no torch."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from vqclip.errors import ModelError, OutputError, UsageError
from vqclip.store.containers import sniff
from vqclip.store.download import Progress, Wanted, fetch
from vqclip.store.folder import (
    check,
    digest,
    forget,
    how_to_get,
    in_folder,
    model_folder,
    published_digest,
    record,
    recorded,
)
from vqclip.store.publish import published
from vqclip.store.registry import WEIGHT_SUFFIXES, Model, find, models, unknown

Note = Callable[[str], None]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def get(name: str, *, offline: bool, note: Note, progress: Progress) -> Path:
    """Brings a registered VQGAN into the model folder, unless it is there already, and returns its path.

    Raises: ModelError if it is unknown, not to be had, or wanted offline; OutputError if it cannot be written.
    """
    model = _registered(name)
    path = in_folder(model.name)
    if path is not None:
        return check(path, model)
    if not model.mirrors:
        raise ModelError(f"{model.name} is nowhere that a program can fetch it from", hint=how_to_get(model))
    if offline:
        raise ModelError(
            f"the model {model.name} is not here, and the network is off",
            hint=f"with the network on: vqclip models get {model.name}",
        )
    path = model_folder() / model.file
    sha256 = fetch(Wanted(path, model.mirrors, model.size, model.sha256), note=note, progress=progress)
    record(path, sha256)
    if model.sha256 is None:
        note(_first_seen(path, sha256))
    return path


def add(file: Path, name: str | None, note: Note) -> Path:
    """Copies a weight file into the model folder, under the name it is known by or a given one, and records it.

    A file with the published checksum of a registered model becomes that model. Raises: ModelError if it is no weight
    file, or claims to be a model that it is not; UsageError for an impossible or taken name; OutputError.
    """
    sniff(file)
    sha256 = digest(file)
    model = next((model for model in models() if model.sha256 == sha256), None) or find(name or file.stem)
    if model.registered:
        _require_same(file, sha256, model)
        note(f"{file.name} is {model.name}" if model.sha256 else _first_seen(file, sha256))
    elif not _NAME.fullmatch(model.name):
        raise UsageError(
            f"{model.name!r} cannot be a model's name", hint="add --name NAME, of letters, digits, dots and hyphens"
        )
    suffix = file.suffix.lower() if file.suffix.lower() in WEIGHT_SUFFIXES else ".ckpt"
    target = model_folder() / (model.file if model.suffix else f"{model.name}{suffix}")
    if (taken := in_folder(model.name)) is not None and digest(taken) != sha256:
        raise UsageError(
            f"there is a model {model.name} already: {taken}",
            hint=f"choose another with --name, or remove it: vqclip models rm {model.name}",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the model folder {target.parent} cannot be made: {error.strerror or error}",
            hint="another can be named: see docs/guides/models.md",
        ) from error
    if not target.exists():
        published(target, lambda part: shutil.copyfile(file, part))
    record(target, sha256)
    return target


def verify(path: Path, note: Note) -> Path:
    """Checks a file of the model folder against its checksum; one that has none yet gets it recorded.

    Raises: ModelError if it is not the file it should be, or no weight file.
    """
    model = find(path.stem)
    sniff(path)
    if published_digest(path, model if model.registered else None) is None and recorded(path) is None:
        sha256 = digest(path)
        record(path, sha256)
        note(_first_seen(path, sha256))
    return check(path, model if model.registered else None)


def stored() -> list[Path]:
    """All weight files in the model folder, in order."""
    folder = model_folder()
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES and not path.name.startswith("."))


def files_of(name: str) -> list[Path]:
    """The weight files of a model in the model folder, published or converted; the one that paints comes first.

    Raises: ModelError if there is none.
    """
    if name == "starter":
        raise ModelError("the starter is part of vqclip, not of the model folder")
    model = find(name)
    found = [path for path in stored() if path.stem == model.name]
    found.sort(key=lambda path: WEIGHT_SUFFIXES.index(path.suffix))
    if not found:
        raise (
            ModelError(f"the model {model.name} is not here", hint=how_to_get(model))
            if model.registered
            else unknown(name)
        )
    return found


def remove(name: str) -> list[Path]:
    """Removes a model from the model folder, with what was recorded of it. Raises: ModelError if it is not there."""
    found = files_of(name)
    for path in found:
        forget(path)
    return found


def _registered(name: str) -> Model:
    model = find(name)
    if model.name == "starter":
        raise ModelError("the starter comes with vqclip: there is nothing to fetch")
    if not model.registered:
        raise unknown(name)
    return model


def _require_same(file: Path, sha256: str, model: Model) -> None:
    if model.sha256 not in (None, sha256):
        raise ModelError(
            f"{file.name} is not the published {model.name}: sha256 {sha256}, not {model.sha256}",
            hint="if it is a model of your own, give it another name with --name",
        )


def _first_seen(path: Path, sha256: str) -> str:
    return f"no checksum is published for {path.name}; recorded {sha256}, and it is held to that from now on"
