"""Presets: TOML files of settings. Finds, reads, checks, merges and writes them; a picture's recipe is one too."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqclip.errors import UsageError
from vqclip.prompts import parse_image_prompt
from vqclip.settings import Settings
from vqclip.smallfiles import read_small
from vqclip.words import did_you_mean

MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class Preset:
    """A look: settings that are laid over a model's own, what it is, and a command to try it.

    dropped maps each setting that a recipe held but may not name (a file) to what it held; notes say so in words.
    painted says that it is a picture's recipe, in which every setting stands, also what nobody had asked for.
    """

    name: str
    settings: Mapping[str, Any]
    description: str = ""
    try_: str = ""
    dropped: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    painted: bool = False


def preset_folders() -> tuple[Path, ...]:
    """Where presets are looked for: inside the package, beside it (a checkout), and the user's own folder."""
    from platformdirs import user_config_dir

    here = Path(__file__).resolve().parent
    beside = (here.parent / "presets",) if (here.parent / "pyproject.toml").is_file() else ()
    return here / "presets", *beside, Path(user_config_dir("vqclip", appauthor=False)) / "presets"


def find_presets(folders: tuple[Path, ...] | None = None) -> dict[str, Path]:
    """All presets by name. The first folder that has a name keeps it, so a shipped look always means the same."""
    found: dict[str, Path] = {}
    for folder in preset_folders() if folders is None else folders:
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def load_preset(name: str, folders: tuple[Path, ...] | None = None) -> Preset:
    """Loads a preset by its name, or by the path of a `.toml` file, or of a recipe as `.json`.

    Raises: UsageError if there is none of that name or path, or its content is wrong.
    """
    if name.endswith((".toml", ".json")) or "/" in name or "\\" in name:
        return read_preset(Path(name))
    found = find_presets(folders)
    if name not in found:
        raise UsageError(f"there is no preset {name!r}", hint=did_you_mean(name, found))
    return read_preset(found[name])


def read_preset(path: Path) -> Preset:
    """Reads and checks one preset file: TOML of settings beside `description` and `try`, or a recipe as JSON.

    Raises: UsageError naming the file and the key.
    """
    text = read_text(path)
    if path.suffix == ".json":
        return preset_from_recipe(_read_json(text, path), name=path.stem)
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from error
    about = {key: values.pop(key, "") for key in ("description", "try")}
    for key, value in about.items():
        if not isinstance(value, str):
            raise UsageError(f"{path}: {key} must be text in quotes")
    settings = {key: inside(key, value, path) for key, value in values.items()}
    Settings.make(settings, source=str(path))
    return Preset(path.stem, settings, about["description"], about["try"])


def preset_from_recipe(recipe: object, *, name: str = "recipe") -> Preset:
    """Makes a preset of a picture's recipe, which anyone may have written: known settings only, and no files.

    Its settings stand at the top or under "settings". A path, address or file of weights is dropped and noted.
    Raises: UsageError if it is no recipe, or a value is of the wrong kind.
    """
    if not isinstance(recipe, Mapping):
        raise UsageError(f"{name}: not a recipe of vqclip")
    values = recipe.get("settings", recipe)
    if not isinstance(values, Mapping):
        raise UsageError(f"{name}: its settings are not a table of keys and values")
    known = {key: value for key, value in values.items() if key in Settings.model_fields and value is not None}
    dropped = {key: value for key, value in known.items() if names_a_file(key, value)}
    settings = {key: value for key, value in known.items() if key not in dropped}
    Settings.make(settings, source=name)
    notes = [f"{name}: {key} names a file ({_brief(value)}); left out" for key, value in dropped.items()]
    unknown = sorted(map(str, set(values) - set(Settings.model_fields))) if values is not recipe else []
    notes += [f"{name}: unknown settings left out: {_brief(unknown)}"] if unknown else []
    return Preset(name, settings, dropped=dropped, notes=tuple(notes), painted=True)


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lays layers of settings over each other; a later one wins, and None says nothing.

    A start that a later layer names ousts every other: an init image or a prior an `init`, and the reverse.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        said = {key: value for key, value in layer.items() if value is not None}
        for key in superseded(said):
            merged.pop(key, None)
        merged.update(said)
    return merged


def superseded(said: Mapping[str, Any]) -> set[str]:
    """Which settings of an earlier start are of no use any more, once `said` names another one."""
    kinds = {kind for kind, key in _STARTS.items() if key in said} | ({said["init"]} if "init" in said else set())
    if not kinds:
        return set()
    return {key for kind, key in _STARTS.items() if kind not in kinds} | ({"init"} - said.keys())


def preset_toml(preset: Preset) -> str:
    """Writes a preset as TOML that `read_preset` reads back as the same preset."""
    import tomli_w

    about = {"description": preset.description, "try": preset.try_}
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in preset.settings.items()}
    said = {key: value for key, value in {**about, **values}.items() if value not in (None, "")}
    return tomli_w.dumps(said)


def is_model_name(name: str, *, tagged: bool) -> bool:
    """Whether this is a model's plain name, never a file's: safe to take from anyone. tagged allows NAME/TAG:WEIGHT."""
    try:
        bare = _split_weight(name)[0] if tagged else name
    except UsageError:
        return False
    if "/" in bare and not tagged:
        return False
    return bool(_MODEL_NAME.fullmatch(bare)) and ".." not in bare and not bare.casefold().endswith(_WEIGHTS)


# Settings whose value may be a file: a recipe may give these only as a plain model name.
_MODELS = frozenset({"vqgan", "clip", "prior"})
_FILES = _MODELS | {"init_image", "image_prompts", "vqgan_config"}
# What names the start itself, for the values of `init` that need it.
_STARTS = {"image": "init_image", "prior": "prior"}
_WEIGHTS = (".ckpt", ".pt", ".pth", ".bin", ".safetensors", ".msgpack", ".yaml", ".yml", ".json", ".toml")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?")


def names_a_file(key: str, value: object) -> bool:
    """Whether a setting's value is, or may be, a file: nothing that a recipe from elsewhere may say."""
    if key not in _FILES:
        return False
    if key not in _MODELS:
        return bool(value)
    names = value if isinstance(value, list | tuple) else [value]
    return not all(isinstance(name, str) and is_model_name(name, tagged=key == "clip") for name in names)


def inside(key: str, value: Any, preset: Path) -> Any:
    """A setting whose files lie in the folder of `preset` (or of a file of prompts) or below, as paths.

    Raises: UsageError if one lies elsewhere: files from others may name only what came with them.
    """
    if key not in _FILES | {"preset", "sound"} or not isinstance(value, str | list):
        return value
    if isinstance(value, list):
        return [inside(key, one, preset) if isinstance(one, str) else one for one in value]
    if key in _MODELS and is_model_name(value, tagged=key == "clip"):
        return value
    path, rest = _split_weight(value) if key in ("image_prompts", "clip") else (value, "")
    head, equals, path = path.rpartition("=") if key == "clip" else ("", "", path)
    folder = preset.parent.resolve()
    whole = (folder / path).resolve()
    if not whole.is_relative_to(folder):
        raise UsageError(
            f"{preset}: {key} = {value!r} lies outside its own folder",
            hint="a preset may name only files beside it, as may a file of prompts; name this one on the command line",
        )
    return f"{head}{equals}{whole}{rest}"


def read_text(path: Path) -> str:
    """The text of a small settings file, its line ends made alike. Raises: UsageError."""
    try:
        return read_small(path, MAX_BYTES).decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start})") from error


def _split_weight(value: str) -> tuple[str, str]:
    path = parse_image_prompt(value).text
    return path, value[len(path) :]


def _brief(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _read_json(text: str, path: Path) -> Any:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a JSON file: {error}") from error
