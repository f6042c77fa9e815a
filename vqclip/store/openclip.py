"""CLIP models through open_clip, by name, by local file, or our own. The only file that imports open_clip."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from vqclip.errors import ModelError
from vqclip.models.towers import quicken
from vqclip.models.unfilled import Unfilled
from vqclip.store.checkpoint import read_weights, require_finite
from vqclip.store.clipfile import read_clip, write_clip
from vqclip.store.clips import HUB_FILES, cannot_fetch, clip_name, download_notice, not_here
from vqclip.store.clipseen import hold
from vqclip.store.containers import sniff
from vqclip.store.folder import check, in_folder, locate
from vqclip.store.lookalikes import looks_like
from vqclip.store.pages import give_back, give_back_freed
from vqclip.store.perceptor import ClipPerceptor
from vqclip.store.registry import WEIGHT_SUFFIXES
from vqclip.store.torchscript import is_torchscript, openai_archive, read_archive
from vqclip.store.torchvision import heal_torchvision, torchvision_health
from vqclip.words import did_you_mean

__all__ = [
    "build_clip",
    "fetch_notice",
    "fetch_other_clip",
    "load_clip",
    "make_tokenizer",
    "torchvision_health",
    "write_clip",
]


_AT_ONCE = 2**22


def load_clip(
    name: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    offline: bool = False,
) -> ClipPerceptor:
    """Loads a CLIP, frozen and ready to look.

    name is "starter"; an open_clip model as NAME/TAG (ViT-B-32/laion2b_s34b_b79k); the same with weights of one's own
    as NAME/TAG=PATH; or the path of one of our own files. Mean, std, size and activation are those the tag was trained
    with. One of OpenAI's own archives, as a path, is known by its checksum. Offline, weights must be in the cache.
    Raises: ModelError if it is unknown, not at hand, damaged or of another kind.
    """
    text = clip_name(os.fspath(name))
    head, _, local = text.partition("=")
    if text == "starter" or (text.lower().endswith(WEIGHT_SUFFIXES) and not local and Path(text).is_file()):
        path = locate(Path(text) if text != "starter" else text, "clip")
        if is_torchscript(path):
            return _published(openai_archive(path), path, device, dtype, offline)
        return _own(text, path, device, dtype)
    if local:
        return _published(head, Path(os.path.expanduser(local)), device, dtype, offline)
    if text.lower().endswith(WEIGHT_SUFFIXES):
        raise ModelError(f"there is no file {text}")
    if "/" not in text and (found := in_folder(text)):
        return _own(text, check(found), device, dtype)
    return _published(text, None, device, dtype, offline)


def fetch_notice(name: str) -> str | None:
    """What to say before `load_clip` fetches the weights of a CLIP: size and license; None if they are here.

    Raises: ModelError if it is unknown.
    """
    text = clip_name(name)
    local = "=" in text or text.lower().endswith(WEIGHT_SUFFIXES)
    if text == "starter" or local or ("/" not in text and in_folder(text)):
        return None
    model, tag, _ = _known(text)
    here = _cached(_open_clip().get_pretrained_cfg(model, tag))
    return download_notice(text) if here is None else None


def fetch_other_clip(text: str, *, offline: bool) -> Path:
    """Brings the weights of any CLIP of open_clip's list into the shared cache. Raises: ModelError."""
    name, tag, _ = _known(text)
    return _weights_of(text, _open_clip().get_pretrained_cfg(name, tag), offline)


def build_clip(config: Mapping[str, Any], *, filled: bool = True) -> nn.Module:
    """An open_clip CLIP of this config (embed_dim, vision_cfg, text_cfg, ...) with random weights; draws no numbers
    from the caller's generator. filled=False leaves weights as they lie in memory, for others to be loaded.
    Raises: ModelError if open_clip refuses the config.
    """
    open_clip = _open_clip()
    values = {**config, "vision_cfg": dict(config["vision_cfg"]), "text_cfg": dict(config["text_cfg"])}
    if "timm_model_name" in values["vision_cfg"]:
        values["vision_cfg"]["timm_model_pretrained"] = False
    foreign_text = "hf_model_name" in values["text_cfg"]
    if foreign_text:
        values["text_cfg"]["hf_model_pretrained"] = False
    kind = open_clip.CLIP
    if values.pop("custom_text", False) or foreign_text:
        kind = open_clip.CoCa if "multimodal_cfg" in values else open_clip.CustomTextCLIP
    try:
        with torch.random.fork_rng(devices=[]), nullcontext() if filled else Unfilled():
            return kind(**values)
    except Exception as error:  # timm, transformers and open_clip each have their own ways to refuse a config
        raise ModelError(f"open_clip cannot build this model: {error}") from error


def make_tokenizer(context_length: int) -> Any:
    """open_clip's own word-piece tokenizer, cutting texts off after `context_length` tokens."""
    return _open_clip().SimpleTokenizer(context_length=context_length)


@cache
def _open_clip() -> ModuleType:
    heal_torchvision()
    import open_clip

    return open_clip


def _own(name: str, path: Path, device: str | torch.device, dtype: torch.dtype) -> ClipPerceptor:
    file = read_clip(path)
    with torch.device("meta"):
        _require_fit(build_clip(file.config), file.weights, path.name)
    model = build_clip(file.config, filled=False)
    _fill(model, file.weights, path.name, dtype)
    tokenizer = make_tokenizer(model.context_length)
    return ClipPerceptor(
        model,
        tokenizer,
        name=name if name == "starter" else path.stem,
        path=path,
        mean=file.mean,
        std=file.std,
        words=file.words,
        device=device,
        dtype=dtype,
    )


def _published(
    text: str, path: Path | None, device: str | torch.device, dtype: torch.dtype, offline: bool
) -> ClipPerceptor:
    open_clip = _open_clip()
    name, tag, config = _known(text)
    training = open_clip.get_pretrained_cfg(name, tag)
    tokenizer = _tokenizer(text, config, offline)
    notice = None
    if path is None:
        path = _weights_of(text, training, offline)
        notice = hold(text, path)
    config["quick_gelu"] = bool(config.get("quick_gelu", False) or training.get("quick_gelu", False))
    program = is_torchscript(path)
    weights = read_archive(path) if program else read_weights(path)
    model = build_clip(config, filled=False)
    state = _as_today(model, weights, path.name, text)
    weights.clear()  # so that each can go as soon as it is copied
    _require_fit(model, state, path.name)
    _fill(model, state, path.name, dtype, mapped=not program and sniff(path) != "pickle")
    return ClipPerceptor(
        model,
        tokenizer,
        name=text,
        path=path,
        mean=training["mean"],
        std=training["std"],
        notice=notice,
        device=device,
        dtype=dtype,
    )


def _known(text: str) -> tuple[str, str, dict[str, Any]]:
    """Splits NAME/TAG and looks both up. Raises: ModelError with the nearest known name."""
    open_clip = _open_clip()
    name, _, tag = text.rpartition("/") if "/" in text else (text, "", "")
    config = open_clip.get_model_config(name) if ":" not in name else None
    if config is None:
        hint = did_you_mean(name, open_clip.list_models()) or "open_clip's names look like ViT-B-32/openai"
        raise ModelError(f"no CLIP is called {text!r}", hint=hint)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if not open_clip.is_pretrained_cfg(name, tag):
        said = f"{name} has no weights called {tag!r}" if tag else f"{name} is an architecture; which weights?"
        hint = f"there are: {', '.join(f'{name}/{known}' for known in tags)}"
        raise ModelError(said, hint=(tag and did_you_mean(tag, tags)) or hint)
    return name, tag, config


def _weights_of(text: str, training: Mapping[str, Any], offline: bool) -> Path:
    cached = _cached(training)
    if cached is not None:
        return cached
    if offline:
        raise not_here(text)
    try:
        return Path(_open_clip().download_pretrained(training))
    except Exception as error:  # whatever the network and its libraries raise
        raise cannot_fetch(text, error) from error


def _tokenizer(text: str, config: Mapping[str, Any], offline: bool) -> Any:
    """The tokenizer of a published CLIP. Raises: ModelError if it needs a package or a file that is not here."""
    name, words = text.rpartition("/")[0], config["text_cfg"]
    length = words.get("context_length", 77)
    if not words.get("hf_tokenizer_name"):
        return _open_clip().get_tokenizer(name, context_length=length)
    if importlib.util.find_spec("transformers") is None:
        raise ModelError(
            f"{text} reads words with the package transformers, which is not installed",
            hint='pip install "vqclip[siglip]"',
        )
    try:
        return _open_clip().get_tokenizer(name, context_length=length, local_files_only=offline)
    except Exception as error:  # transformers and the network have many ways to fail
        if offline:
            raise not_here(text) from error
        raise cannot_fetch(text, error) from error


def _cached(training: Mapping[str, Any]) -> Path | None:
    """The weight file of an earlier download, of the hub or of OpenAI's own package, without asking the network."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, file = str(training.get("hf_hub", "")).rpartition("/")
    if repository:
        file = file or HUB_FILES[1]
        safe = HUB_FILES[0] if file == HUB_FILES[1] else str(Path(file).with_suffix(".safetensors"))
        for candidate in (safe, file):
            found = try_to_load_from_cache(repository, candidate)
            if isinstance(found, str):
                return Path(found)
    old = Path.home() / ".cache" / "clip" / Path(str(training.get("url") or "none")).name
    return old if old.is_file() else None


def _as_today(model: nn.Module, weights: dict[str, Tensor], label: str, text: str) -> dict[str, Tensor]:
    """Published weights under today's names and in today's shapes. Raises: ModelError if they are another model's."""
    open_clip = _open_clip()
    try:
        state = open_clip.convert.convert_state_dict(model, dict(weights))
        if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
            state = open_clip.model.convert_to_custom_text_state_dict(state)
        for name in ("logit_scale", "logit_bias"):
            if name in state and getattr(model, name, None) is not None:
                state[name] = state[name].reshape(getattr(model, name).shape)
        if getattr(model, "logit_bias", None) is not None and "logit_bias" not in state:
            state["logit_bias"] = torch.zeros_like(state["logit_scale"])
        own = model.state_dict()
        state = {name: tensor for name, tensor in state.items() if name in own or not name.endswith("position_ids")}
        open_clip.model.resize_pos_embed(state, model)
        open_clip.model.resize_text_pos_embed(state, model)
    except (KeyError, RuntimeError, ValueError, AttributeError) as error:
        raise ModelError(f"{label} is not {text}: it looks like {looks_like(weights)}") from error
    for name in ("input_resolution", "context_length", "vocab_size"):
        state.pop(name, None)
    return state


@torch.no_grad()
def _fill(
    model: nn.Module, weights: dict[str, Tensor], label: str, dtype: torch.dtype, *, mapped: bool = False
) -> None:
    """Moves weights into a model one by one, the picture tower's first: it is quickened and cast before the others
    need their memory. Raises: ModelError if one holds NaN or infinity.
    """
    places = model.state_dict()
    for visual in (True, False):
        for name in [name for name in places if name.startswith("visual.") == visual]:
            tensor, place = weights.pop(name), places.pop(name)
            _copy(tensor, place, mapped)
            require_finite({name: place}, label)
        if visual:
            quicken(model.visual).to(dtype=dtype, memory_format=torch.channels_last)
            give_back_freed()


def _copy(source: Tensor, target: Tensor, mapped: bool) -> None:
    """Copies in pieces, so that no large table is held twice."""
    rows = max(1, _AT_ONCE // max(1, source[:1].numel())) if source.ndim else 0
    pieces = zip(source.split(rows), target.split(rows), strict=True) if rows else [(source, target)]
    for piece, place in pieces:
        place.copy_(piece)
        if mapped:
            give_back(piece)


def _require_fit(model: nn.Module, weights: Mapping[str, Tensor], label: str) -> None:
    expected = model.state_dict()
    wrong = sorted(
        name
        for name in expected.keys() | weights.keys()
        if name not in expected or name not in weights or expected[name].shape != weights[name].shape
    )
    if wrong:
        state = "is missing" if wrong[0] not in weights else "does not fit"
        raise ModelError(
            f"{label} is not the CLIP it should be: {wrong[0][:100]} {state}; it looks like {looks_like(weights)}"
        )
