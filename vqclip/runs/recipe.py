"""The recipe of a picture: everything needed to paint it again, and nothing that tells about the painter's disk."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from vqclip.presets import is_model_name
from vqclip.prompts import parse_image_prompt
from vqclip.settings import Settings
from vqclip.store.by_digest import file_with_digest
from vqclip.store.folder import digest, locate
from vqclip.store.registry import WEIGHT_SUFFIXES, is_path

SCHEMA = 1
PACKAGES = ("vqclip", "torch", "open_clip_torch")


def make_recipe(settings: Settings, models: Mapping[str, str], **facts: Any) -> dict[str, Any]:
    """Settings, versions and model digests as plain data; own files appear as basename and sha256 only.

    facts are laid beside them (steps_done, stopped, device, threads, ...).
    """
    files = {Path(path).name: found for path in _own_files(settings) if (found := _sha256(path))}
    return {
        "schema": SCHEMA,
        "settings": plain_settings(settings),
        "versions": versions(),
        "models": models,
        **({"files": files} if files else {}),
        **{key: value for key, value in facts.items() if value is not None},
    }


def plain_settings(settings: Settings) -> dict[str, Any]:
    """All settings that say something as plain data, the files among them without their folders."""
    values = {key: value for key, value in settings.model_dump(mode="json").items() if value not in (None, "", [])}
    for key in ("vqgan", "prior"):
        if is_path(values.get(key, "")):
            values[key] = _basename(values[key])
    for key in {"vqgan_config", "init_image"} & values.keys():
        values[key] = _basename(values[key])
    if settings.image_prompts:
        parsed = [(text, parse_image_prompt(text).text) for text in settings.image_prompts]
        values["image_prompts"] = [f"{_basename(path)}{text[len(path) :]}" for text, path in parsed]
    values["clip"] = [plain_name(text) for text in settings.clip or ()]
    return values


def versions() -> dict[str, str]:
    """The versions of this package, of those whose numbers matter, and of Python."""
    return {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()}


def plain_name(text: str) -> str:
    """A CLIP as NAME/TAG, NAME/TAG=PATH or PATH, each with its weight, with the folders of a file left out."""
    name = parse_image_prompt(text).text
    head, _, file = name.rpartition("=")
    if not (head or name.lower().endswith(WEIGHT_SUFFIXES)):
        return text
    start = len(head) + 1 if head else 0
    return f"{text[:start]}{_basename(file if head else name)}{text[len(name) :]}"


def own_models(recipe: Mapping[str, Any], dropped: Mapping[str, Any]) -> dict[str, Any]:
    """Of the models that a recipe may not name, those that lie in the model folder with the digest it gives.

    recipe is untrusted, and dropped holds the settings of it that were left out. Gives settings: "vqgan", "prior", and
    "clip" if every one of its models is found.
    """
    models = recipe.get("models")
    if not isinstance(models, Mapping):
        return {}
    found: dict[str, Any] = {}
    for key, kind in (("vqgan", ""), ("prior", "prior:")):
        name = dropped.get(key)
        if isinstance(name, str) and (path := _own_file(models.get(f"{kind}{name}"), name)):
            found[key] = path
    clips = dropped.get("clip")
    if isinstance(clips, list | tuple):
        names = [_own_clip(models, name) for name in clips if isinstance(name, str)]
        if names and len(names) == len(clips) and all(names):
            found["clip"] = tuple(names)
    return found


def _on_cpu(recipe: Mapping[str, Any]) -> bool:
    return set(str(recipe.get("device", "cpu")).split(",")) == {"cpu"}


def _own_clip(models: Mapping[str, Any], entry: str) -> str | None:
    """NAME/TAG as it is; NAME/TAG=FILE or FILE with the path of that file, if it is found."""
    if is_model_name(entry, tagged=True):
        return entry
    name = parse_image_prompt(entry).text
    head, _, file = name.rpartition("=")
    path = _own_file(models.get(f"clip:{name}"), file)
    if path is None or (head and not is_model_name(head, tagged=True)):
        return None
    return f"{head}={path}{entry[len(name) :]}" if head else f"{path}{entry[len(name) :]}"


def _own_file(sha256: object, name: str) -> str | None:
    path = file_with_digest(sha256, name) if isinstance(sha256, str) and sha256 else None
    return None if path is None else str(path)


def _basename(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _own_files(settings: Settings) -> list[Path]:
    named = [settings.init_image, settings.vqgan_config, *(parse_image_prompt(t).text for t in settings.image_prompts)]
    return [Path(name).expanduser() for name in named if name]


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


@cache
def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def differences(recipe: Mapping[str, Any], *, processor: bool = True) -> list[str]:
    """What is not as it was when a picture was painted, a sentence each: versions, processor, weights of a model.

    recipe is untrusted: what is not of the expected kind is passed over. Loads torch only to ask for the processor of
    a picture that was painted on one, and not at all without `processor`.
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
    if processor and isinstance(then := recipe.get("capability"), str) and _on_cpu(recipe):
        from vqclip.engine.precision import capability

        if then != (here := capability()):
            found.append(f"the processor's fast paths were {then:.60} then and are {here} now")
    for kind, name in (("vqgan", "starter"), ("clip", "clip:starter"), ("prior", "prior:starter")):
        if name in models and models[name] != digest(locate("starter", kind)):
            found.append(f"the starter's {kind} is not the one this was painted with")
    return found
