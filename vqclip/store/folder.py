"""Where weight files lie: the user's model folder, a path, or the built-in starter. Nothing here loads torch."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from vqclip.errors import ModelError
from vqclip.store.modelfolder import weight_file
from vqclip.store.registry import WEIGHT_SUFFIXES, Model, find, is_path, models, unknown
from vqclip.store.starter import starter_path


def model_folder() -> Path:
    """The folder of the user's models: $VQCLIP_HOME/models, or the platform's data folder for vqclip."""
    home = os.environ.get("VQCLIP_HOME")
    return Path(home or platformdirs.user_data_dir("vqclip", appauthor=False)) / "models"


def digest(path: str | Path) -> str:
    """The sha256 of a file, as 64 hex digits. Raises: ModelError if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error


def locate(name_or_path: str | Path, kind: str) -> Path:
    """The weight file of a model: "starter", a registered name, a path, or the name of a file in the model folder.

    Of a folder that diffusers or transformers saved, it is the file with the VQGAN. A registered checkpoint is checked
    against its published size and checksum. Raises: ModelError saying what is missing and how to get it, or that the
    file is not the published one.
    """
    name = os.fspath(name_or_path)
    if name == "starter":
        return starter_path(kind)
    model = find(name)
    if model.registered:
        return _verified(model)
    path = Path(name).expanduser()
    if isinstance(name_or_path, Path) or is_path(name) or path.is_file():
        if not path.exists():
            raise ModelError(f"there is no file {name}")
        return weight_file(path) if path.is_dir() else path
    found = in_folder(name)
    if found is None:
        raise unknown(name)
    return found


def in_folder(name: str) -> Path | None:
    """The file in the model folder that is called `name` and ends like a weight file, if there is one."""
    candidates = (model_folder() / f"{name}{suffix}" for suffix in WEIGHT_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def at_hand() -> list[Model]:
    """The registered models whose file is here: the starter, if it is whole, and those in the model folder."""
    return [model for model in models() if _is_here(model)]


def _is_here(model: Model) -> bool:
    if model.name != "starter":
        return in_folder(model.name) is not None
    try:
        return starter_path("vqgan").is_file()
    except ModelError:
        return False


def _verified(model: Model) -> Path:
    path = in_folder(model.name)
    if path is None:
        where = f" from {model.mirrors[0]}" if model.mirrors else ""
        target = model_folder() / f"{model.name}{model.suffix}"
        raise ModelError(f"the model {model.name} is not here", hint=f"get it{where} and save it as {target}")
    if path.suffix != model.suffix:
        return path
    size = path.stat().st_size
    if model.size is not None and size != model.size:
        raise ModelError(f"{path.name} is incomplete: {size:,} of {model.size:,} bytes", hint="get the file again")
    if model.sha256 is not None and (found := digest(path)) != model.sha256:
        raise ModelError(
            f"{path.name} is not the published file: sha256 {found}, not {model.sha256}", hint="get the file again"
        )
    return path
