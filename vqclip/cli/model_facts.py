"""What `vqclip models` shows: the facts of each model as plain data, as a row, and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqclip.store.clips import Clip
    from vqclip.store.registry import Model

Facts = dict[str, Any]


def vqgans() -> Iterator[Facts]:
    """The facts of every registered VQGAN."""
    from vqclip.store.registry import models

    return (_vqgan(model) for model in models())


def clips() -> Iterator[Facts]:
    """The facts of every CLIP of the shipped table."""
    from vqclip.store.clips import clips as all_clips

    return (_clip(clip) for clip in all_clips())


def facts_of(name: str) -> Facts:
    """The facts of one model, VQGAN or CLIP. Raises: ModelError if no model is called so."""
    from vqclip.store.clips import find_clip
    from vqclip.store.registry import find, unknown

    clip = find_clip(name)
    if clip is None and not find(name).registered:
        raise unknown(name)
    return _clip(clip) if clip is not None else _vqgan(find(name))


def vqgan_row(facts: Mapping[str, Any]) -> str:
    """One line about a VQGAN: name, stride, download, whether it is here, what it is."""
    stride = f"f{facts['stride']}" if facts["stride"] else ""
    here = "here" if facts["here"] else "" if facts["mirrors"] else "by hand"
    only = " (non-commercial)" if facts["noncommercial"] else ""
    return f"{facts['name']:30}{stride:5}{_short(facts['download']):>9}  {here:9}{facts['about']}{only}"


def clip_row(facts: Mapping[str, Any]) -> str:
    """One line about a CLIP: name, pixels, work and time of a view, download, whether it is here, what it is."""
    gflop = f"{facts['gflop']:g}" if facts["gflop"] else "?"
    seconds = f"{facts['seconds']:g} s" if facts["seconds"] else "?"
    here, only = "here" if facts["here"] else "", " (non-commercial)" if facts["noncommercial"] else ""
    size = _short(facts["download"])
    row = f"{facts['name']:45}{facts['px']:4} px{gflop:>7} GFLOP{seconds:>8}{size:>9}  {here:6}"
    return f"{row}{facts['about']}{only}"


def page(facts: Mapping[str, Any]) -> str:
    """All facts that are known, a line each."""
    lines = []
    for key, value in facts.items():
        if value in (None, "", [], (), {}, False):
            continue
        for n, part in enumerate(_parts(value)):
            label = "" if n else key.replace("_", " ") + ":"
            lines.append(f"{label:18}{part}")
    return "\n".join(lines)


def _parts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key} = {one}" for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    return ["yes" if value is True else str(value)]


def _vqgan(model: Model) -> Facts:
    from vqclip.store.folder import is_here

    facts = _plain(model)
    facts["download"] = model.download if model.suffix else None
    facts["here"] = is_here(model)
    return facts


def _clip(clip: Clip) -> Facts:
    from vqclip.store.clips import in_cache

    return {**_plain(clip), "download": clip.download, "here": in_cache(clip) is not None}


def _plain(record: Any) -> Facts:
    values = {field.name: getattr(record, field.name) for field in fields(record) if field.name != "registered"}
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _short(download: str | None) -> str:
    text = (download or "").removeprefix("about ")
    return text if text.endswith("MB") else "?" if text else ""
