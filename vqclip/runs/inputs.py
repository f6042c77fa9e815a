"""Looks at the files, names and colors that settings name, before torch or any model is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from vqclip.errors import ModelError, UsageError
from vqclip.ops.pixels import background_color
from vqclip.prompts import parse_clip, parse_image_prompt
from vqclip.runs.pictures import look_at
from vqclip.settings import Settings
from vqclip.store.clips import clip_name, download_notice, find_clip, in_cache
from vqclip.store.folder import how_to_get, in_folder, is_here, locate
from vqclip.store.registry import WEIGHT_SUFFIXES, find
from vqclip.store.starter import STARTER
from vqclip.words import counted

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu", "hpu", "mtia")


def check_pictures(settings: Settings) -> None:
    """Opens the pictures that settings name, without reading their pixels.

    Raises: PictureError for one that is missing, too large or no picture; UsageError for no such background.
    """
    background_color(settings.background)
    likes = [parse_image_prompt(text).text for text in settings.image_prompts]
    for path in filter(None, (settings.init_image, *likes)):
        look_at(path)


def read_devices(text: str) -> list[str]:
    """The names of one device or of several, as "cuda:0,cuda:1"; the first one paints, and all look.

    Raises: UsageError for an unknown name, "auto" among several, or a GPU that is named twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        kind, _, number = name.partition(":")
        if kind not in DEVICES or (":" in name and not number.isdecimal()):
            raise UsageError(f"there is no device {name!r}", hint="known: auto, cpu, cuda, cuda:1, mps, cuda:0,cuda:1")
    if "auto" in names and len(names) > 1:
        raise UsageError(f"--device {text}: auto is one device", hint="name each: --device cuda:0,cuda:1")
    gpus = [name if ":" in name else f"{name}:0" for name in names if name.partition(":")[0] != "cpu"]
    if len(set(gpus)) < len(gpus):
        raise UsageError(f"--device {text} names a device twice", hint="name each once: --device cuda:0,cuda:1")
    return names


def require_one_device(text: str) -> None:
    """For films. Raises: UsageError for several devices, and as `read_devices`."""
    if len(read_devices(text)) > 1:
        raise UsageError("a film is painted on one device", hint="name one with --device")


def check_devices(settings: Settings, text: str, *, graph: bool = False) -> list[str]:
    """The devices of a picture, as `read_devices`; settings come from `resolve`.

    Raises: UsageError as that, and where there are more than cutouts, or more than a graph can hold.
    """
    names = read_devices(text)
    if len(names) > (settings.cutouts or 1):
        seen = counted(settings.cutouts or 1, "cutout")
        raise UsageError(f"{len(names)} devices are to share {seen}", hint="name fewer with --device")
    if graph and len(names) > 1:
        raise UsageError("--graph is for one device", hint="leave out --graph, or name one --device")
    return names


def check_inputs(settings: Settings, *, device: str) -> list[str]:
    """Looks whether all can be had that a picture needs; settings come from `resolve`. Opens no model.

    Gives a note for each model that is known and not here yet. Raises: ModelError, PictureError, UsageError.
    """
    check_pictures(settings)
    check_devices(settings, device)
    if settings.vqgan_config and not Path(settings.vqgan_config).expanduser().is_file():
        raise ModelError(f"there is no file {settings.vqgan_config}")
    notes = [_model(settings.vqgan, "vqgan")]
    notes += [_clip(parse_clip(text).name) for text in settings.clip or ()]
    notes += [_model(settings.prior, "prior")] if settings.prior else []
    return [text for text in notes if text]


def _model(name: str, kind: str) -> str | None:
    model = find(name)
    if model.registered and not is_here(model):
        return f"the model {model.name} is not here yet: {how_to_get(model)}"
    if not model.registered or model.name == STARTER:
        locate(name, kind)
    return None


def _clip(name: str) -> str | None:
    text = clip_name(name)
    _, _, local = text.partition("=")
    is_file = bool(local) or text.lower().endswith(WEIGHT_SUFFIXES)
    if is_file and not os.path.isfile(os.path.expanduser(local or text)):
        raise ModelError(f"there is no file {local or text}")
    if is_file or text == STARTER or ("/" not in text and in_folder(text)):
        return None
    clip = find_clip(text)
    if clip is not None:
        return None if in_cache(clip) else _to_fetch(text)
    from vqclip.store.openclip import fetch_notice  # loads torch: only open_clip knows its whole list

    return _to_fetch(text) if fetch_notice(text) else None


def _to_fetch(text: str) -> str:
    return f"not here yet, and fetched when it is painted with: {download_notice(text)}"
