"""vqclip: pictures from words, by a VQGAN that paints and a CLIP that looks.

    import vqclip
    vqclip.generate("a castle in fog").save("castle.png")

Importing this loads neither torch nor any model; each name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vqclip.errors import (
    DivergedError,
    MemoryFullError,
    ModelError,
    OutputError,
    PartialError,
    PictureError,
    UsageError,
    VqclipError,
)

if TYPE_CHECKING:
    from vqclip.runs.picture import generate as generate
    from vqclip.store.openclip import load_clip as load_clip
    from vqclip.store.vqgans import load_vqgan as load_vqgan

__all__ = [
    "DivergedError",
    "MemoryFullError",
    "ModelError",
    "OutputError",
    "PartialError",
    "PictureError",
    "UsageError",
    "VqclipError",
    "__version__",
    "generate",
    "load_clip",
    "load_vqgan",
]

_HOMES = {
    "generate": "vqclip.runs.picture",
    "load_clip": "vqclip.store.openclip",
    "load_vqgan": "vqclip.store.vqgans",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'vqclip' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("vqclip")
    except metadata.PackageNotFoundError:
        return "0+unknown"
