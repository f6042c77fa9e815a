"""The recipe of a picture: everything needed to paint it again, and nothing that tells about the painter's disk."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from vqclip.prompts import parse_image_prompt
from vqclip.settings import Settings
from vqclip.store.folder import digest, locate
from vqclip.store.registry import is_path

SCHEMA = 1
PACKAGES = ("vqclip", "torch", "open_clip_torch")


def make_recipe(settings: Settings, models: Mapping[str, str], **facts: Any) -> dict[str, Any]:
    """Settings, versions and model digests as plain data; own files appear as basename and sha256 only.

    facts are laid beside them (steps_done, stopped, device, threads, ...).
    """
    values = {key: value for key, value in settings.model_dump(mode="json").items() if value not in (None, "", [])}
    for key in ("vqgan", "vqgan_config", "init_image"):
        if key in values and is_path(values[key]):
            values[key] = Path(values[key]).name
    if settings.image_prompts:
        values["image_prompts"] = [plain_name(text) for text in settings.image_prompts]
    values["clip"] = [plain_name(text) for text in settings.clip]
    files = {Path(path).name: found for path in _own_files(settings) if (found := _sha256(path))}
    return {
        "schema": SCHEMA,
        "settings": values,
        "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "models": models,
        **({"files": files} if files else {}),
        **{key: value for key, value in facts.items() if value is not None},
    }


def plain_name(text: str) -> str:
    """A model's name, NAME=PATH or PATH[:weight[:stop]] with the folders of a file left out."""
    name = parse_image_prompt(text).text
    head, _, file = name.rpartition("=")
    if not (head or Path(name).expanduser().exists() or Path(name).suffix):
        return text
    path = file if head else name
    return text.replace(path, Path(path.replace("\\", "/")).name, 1)


def _own_files(settings: Settings) -> list[Path]:
    named = [settings.init_image, settings.vqgan_config, *(parse_image_prompt(t).text for t in settings.image_prompts)]
    return [Path(name).expanduser() for name in named if name]


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def differences(recipe: Mapping[str, Any]) -> list[str]:
    """What is not as it was when a picture was painted, a sentence each: other versions, other weights of a model.

    recipe is untrusted: what is not of the expected kind is passed over. Loads no torch.
    """
    versions, models = (
        recipe.get(key) if isinstance(recipe.get(key), Mapping) else {} for key in ("versions", "models")
    )
    now = {name: _version(name) for name in PACKAGES}
    found = [
        f"{name} was {versions[name]!s:.40} then and is {here} now"
        for name, here in now.items()
        if name in versions and versions[name] != here
    ]
    for kind, name in (("vqgan", "starter"), ("clip", "clip:starter"), ("prior", "prior:starter")):
        if name in models and models[name] != digest(locate("starter", kind)):
            found.append(f"the starter's {kind} is not the one this was painted with")
    return found
