"""The `parameters` text that other picture tools write and read: prompt, negative prompt, then `key: value` pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

# The text is untrusted: every repeat here is bounded or can match in one way only, so that no text takes long.
_PAIR = re.compile(r'(\w[\w \-/]{0,60}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_LONGEST_LINE = 65_536
_NEGATIVE = "Negative prompt:"
_FEWEST_PAIRS = 3


def write_infotext(settings: Mapping[str, Any], *, version: str, model_hash: str | None = None) -> str:
    """Settings as the text that galleries and prompt readers understand."""
    lines = [str(settings.get("prompt") or "")]
    if settings.get("negative"):
        lines.append(f"{_NEGATIVE} {settings['negative']}")
    pairs = {
        "Steps": settings.get("steps"),
        "Sampler": settings.get("optimizer"),
        "Seed": settings.get("seed"),
        "Size": f"{settings['width']}x{settings['height']}" if settings.get("width") else None,
        "Model hash": model_hash,
        "Model": settings.get("vqgan"),
        "CLIP": " + ".join(settings.get("clip") or ()) or None,
        "Version": version,
    }
    lines.append(", ".join(f"{key}: {_quoted(value)}" for key, value in pairs.items() if value is not None))
    return "\n".join(lines)


def read_infotext(text: str) -> dict[str, Any]:
    """What can be painted again from such a text: prompt, negative, seed, width, height; what is absent is left out.

    The text may come from anyone: numbers out of range are dropped, and nothing else is taken from it.
    """
    *lines, last = text.strip().split("\n")
    pairs = dict(_PAIR.findall(last[:_LONGEST_LINE]))
    if len(pairs) < _FEWEST_PAIRS:
        lines, pairs = [*lines, last], {}
    prompt, negative = _split("\n".join(lines))
    settings: dict[str, Any] = {"prompt": prompt, "negative": negative}
    width, _, height = pairs.get("Size", "").partition("x")
    settings["seed"] = _number(pairs.get("Seed", ""), 0, 2**32 - 1)
    settings["width"], settings["height"] = _number(width, 16, 8192), _number(height, 16, 8192)
    if settings["width"] is None or settings["height"] is None:
        settings["width"] = settings["height"] = None
    return {key: value for key, value in settings.items() if value not in ("", None)}


def _split(text: str) -> tuple[str, str]:
    if text.startswith(_NEGATIVE):
        return "", text.removeprefix(_NEGATIVE).strip()
    prompt, _, negative = text.partition(f"\n{_NEGATIVE}")
    return prompt.strip(), negative.strip()


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(',:\n"') else text


def _number(text: str, low: int, high: int) -> int | None:
    text = text.strip()
    if not re.fullmatch(r"[0-9]{1,10}", text):
        return None
    return int(text) if low <= int(text) <= high else None
