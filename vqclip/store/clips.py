"""The CLIPs vqclip knows by name, read from clips.toml, and their way into the shared Hugging Face cache; no torch."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from vqclip.errors import ModelError
from vqclip.words import before_download

# The names under which open_clip's repositories keep their weights, the safe one first.
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "spiece.model")


@dataclass(frozen=True)
class Clip:
    """What is known of a CLIP. hub is its Hugging Face repository; px the side of its views; gflop one view's work.

    parameters are millions, of all and of the picture tower; seconds a view forward and back on one CPU core; memory
    GB; tokenizer a second repository, for those whose words need the package transformers. None is "not measured".
    """

    name: str
    hub: str
    px: int
    gflop: float | None = None
    parameters: int | None = None
    image_parameters: int | None = None
    license: str = ""
    noncommercial: bool = False
    about: str = ""
    seconds: float | None = None
    memory: float | None = None
    tokenizer: str | None = None

    @property
    def download(self) -> str:
        """How large its weights are, in words for people."""
        return f"about {self.parameters * 4:,} MB" if self.parameters else "size not documented"


def clips() -> tuple[Clip, ...]:
    """The CLIPs of the shipped table, in its order."""
    return tuple(Clip(name, **entry) for name, entry in _document()["clips"].items())


def find_clip(name: str) -> Clip | None:
    """The CLIP of a name, in open_clip's spelling or OpenAI's; None for one that only open_clip knows."""
    return next((clip for clip in clips() if clip.name == clip_name(name)), None)


def clip_name(name: str) -> str:
    """A CLIP's name as this package writes it: OpenAI's spellings (ViT-B/32) become open_clip's (ViT-B-32/openai)."""
    return _document()["aliases"].get(name, name)


def openai_name(sha256: str) -> str | None:
    """Which of OpenAI's own archives has this digest, by open_clip's name; None for any other file."""
    return _document()["openai"].get(sha256)


def in_cache(clip: Clip) -> Path | None:
    """The weights of a CLIP in the shared Hugging Face cache, without asking the network."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(clip.hub, name) for name in HUB_FILES)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def download_notice(name: str) -> str:
    """What is said before a CLIP is fetched, also of one that only open_clip knows."""
    clip = find_clip(name)
    if clip is None:
        return before_download(name, "size not documented", "", noncommercial=False)
    return before_download(clip.name, clip.download, clip.license, noncommercial=clip.noncommercial)


def fetch_clip(clip: Clip, *, offline: bool) -> Path:
    """Brings a CLIP's weights, and its tokenizer if it has one of its own, into the shared cache.

    Raises: ModelError saying what went wrong, and how to get it another way.
    """
    path = in_cache(clip)
    if offline:
        if path is None:
            raise not_here(clip.name)
        return path
    try:
        path = path or _first_of(clip.hub, HUB_FILES)
        if clip.tokenizer:
            for name in _TOKENIZER_FILES:
                _hub_file(clip.tokenizer, name)
    except Exception as error:  # whatever the network and its libraries raise
        raise cannot_fetch(clip.name, error) from error
    return path


def not_here(name: str) -> ModelError:
    """The error for a CLIP that is wanted offline and is not on this machine."""
    return ModelError(
        f"the weights of {name} are not on this machine, and the network is off",
        hint=f"with the network on: vqclip models get {name}; or give the file yourself: {name}=PATH",
    )


def cannot_fetch(name: str, error: Exception) -> ModelError:
    """The error for a CLIP that cannot be downloaded, with the first line of the reason."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return ModelError(
        f"the weights of {name} cannot be downloaded: {reason}",
        hint=f"check the network, or give the file yourself: {name}=PATH",
    )


def _first_of(repository: str, names: tuple[str, ...]) -> Path:
    """The first of several files that a repository has. Raises: FileNotFoundError if it has none; network errors."""
    for name in names:
        if path := _hub_file(repository, name):
            return path
    raise FileNotFoundError(f"{repository} has none of {', '.join(names)}")


def _hub_file(repository: str, name: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name))
    except LocalEntryNotFoundError:  # the network is down, which says nothing about the repository
        raise
    except EntryNotFoundError:
        return None


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(resources.files("vqclip.store").joinpath("clips.toml").read_text(encoding="utf-8"))
