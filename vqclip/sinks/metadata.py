"""The recipe inside a picture: written for this program, for other tools and for catalogs, and read as untrusted data.

A recipe is a plain dict: `schema`, `settings` (all resolved settings), `versions`, `models` (name -> digest), and
whatever else the run adds. Four copies of different reach go into each picture: `vqclip` (the recipe as JSON),
`parameters` (see `infotext`), an XMP packet that marks the picture as made by a model, and `Software`. No times of
day are written, so the same picture is the same file.
"""

from __future__ import annotations

import html
import json
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any, BinaryIO
from xml.sax.saxutils import quoteattr

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vqclip.errors import PictureError
from vqclip.ops.pixels import identify
from vqclip.sinks.infotext import read_infotext, write_infotext
from vqclip.words import clean

SCHEMA = 1
MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MADE_FROM_A_PICTURE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

MAX_TEXT = 1024 * 1024
MAX_DEPTH = 16
MAX_ITEMS = 20_000
# JPEG keeps EXIF and XMP in segments of at most 64 KiB each.
_SEGMENT = 60_000

_SOFTWARE, _EXIF_IFD, _USER_COMMENT = 0x0131, 0x8769, 0x9286
_IN_XMP = re.compile(r'vqclip:recipe="([^"]*)"')
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAMESPACES = {
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "vqclip": "urn:vqclip:recipe:1/",
}


def png_metadata(recipe: Mapping[str, Any], *, private: bool = False) -> PngInfo:
    """All metadata for a PNG. With `private` only what says that a model made it: no prompt, no settings, no seed.

    A picture of a batch says which job it is also then: by that, the batch finds its finished pictures.
    """
    info = PngInfo()
    info.add_text("Software", _software(recipe))
    info.add_itxt("XML:com.adobe.xmp", xmp_packet(recipe, private=private).decode())
    if private:
        if "job" in recipe:
            info.add_text("vqclip", recipe_json({"schema": SCHEMA, "settings": {}, "job": recipe["job"]}))
        return info
    info.add_text("vqclip", recipe_json(recipe))
    info.add_text("parameters", _utf8(_infotext(recipe)).replace("\0", ""))
    return info


def exif_metadata(recipe: Mapping[str, Any], *, private: bool = False) -> bytes:
    """EXIF for JPEG and WebP: Software, and unless `private` the `parameters` text as user comment."""
    exif = Image.Exif()
    exif[_SOFTWARE] = _software(recipe)
    if not private:
        comment = _utf8(_infotext(recipe)).encode("utf-16-be")[:_SEGMENT]
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + comment
    return exif.tobytes()


def xmp_packet(recipe: Mapping[str, Any], *, private: bool = False, with_recipe: bool = False) -> bytes:
    """An XMP packet that says a model made the picture, and unless `private` from which prompt.

    With `with_recipe` it carries the recipe too, which JPEG and WebP have no better place for. A packet that would
    not fit into a JPEG leaves out first the prompt and then the recipe.
    """
    settings = _settings(recipe)
    said = {
        "xmp:CreatorTool": _software(recipe),
        "Iptc4xmpExt:AISystemUsed": _software(recipe),
        "Iptc4xmpExt:DigitalSourceType": MADE_FROM_A_PICTURE if settings.get("init_image") else MADE,
    }
    prompt = {} if private else {"Iptc4xmpExt:AIPromptInformation": str(settings.get("prompt") or "")}
    kept = {"vqclip:recipe": recipe_json(recipe)} if with_recipe and not private else {}
    packets = (_packet({**said, **extra}) for extra in ({**prompt, **kept}, kept, {}))
    return next((packet for packet in packets if len(packet) <= _SEGMENT), b"")


def recipe_json(recipe: Mapping[str, Any]) -> str:
    """A recipe as one line of compact ASCII JSON, its keys sorted. Raises: ValueError for NaN or infinity."""
    return json.dumps(recipe, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_recipe(data: bytes | BinaryIO, *, name: str = "the picture") -> dict[str, Any]:
    """The recipe in a PNG, JPEG or WebP, from vqclip or, as far as prompt, seed and size go, from another tool.

    The answer always has a dict `settings`; `foreign` is true if another tool wrote it. Nothing in it has been
    checked beyond its size and shape: every value may have been written by an enemy.

    Raises: PictureError if the picture is broken, or carries no recipe, or one too large or too deep to be real.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            own, foreign = _texts(identify(data, name=name))
    except PictureError:
        raise
    # Metadata parsers answer damaged bytes with nearly every kind of exception; none of them is a bug of ours.
    except Exception as error:
        raise PictureError(f"{name} has damaged metadata: {type(error).__name__}") from error
    if own is not None:
        return parse_recipe(own, name=name)
    if foreign is not None and len(foreign) <= MAX_TEXT and (settings := read_infotext(foreign)):
        return {"schema": SCHEMA, "settings": settings, "foreign": True}
    hint = "only pictures that vqclip or a tool with `parameters` text has written carry one"
    raise PictureError(f"{name} carries no recipe", hint=hint)


def parse_recipe(text: str, *, name: str = "the recipe") -> dict[str, Any]:
    """Untrusted JSON -> a recipe with a dict `settings`. Raises: PictureError if it is too large, too deep or none."""
    if len(text) > MAX_TEXT:
        raise PictureError(f"{name}: the recipe is larger than {MAX_TEXT // 1024} KiB")
    try:
        recipe = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise PictureError(f"{name}: the recipe is damaged") from error
    if not isinstance(recipe, dict) or not isinstance(recipe.get("settings"), dict):
        raise PictureError(f"{name}: the recipe holds no settings")
    if not _is_small(recipe):
        raise PictureError(f"{name}: the recipe is nested deeper than {MAX_DEPTH} levels or has too many parts")
    return {**recipe, "foreign": False}


def describe(recipe: Mapping[str, Any]) -> str:
    """An untrusted recipe as `key: value` lines that are safe to print: nothing in it can steer a terminal."""
    settings = _settings(recipe)
    rest = {key: value for key, value in recipe.items() if key not in ("settings", *settings)}
    if rest.get("foreign") is False:
        del rest["foreign"]
    shown = {key: value for key, value in {**settings, **rest}.items() if value not in (None, "", [], ())}
    return "\n".join(f"{_line(key)}: {_line(value)}" for key, value in shown.items())


def _line(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return clean(text).replace("\n", "\\n")


def _texts(picture: Image.Image) -> tuple[str | None, str | None]:
    """(our JSON, the `parameters` text) as they lie in the picture, None for what is not there."""
    own, foreign = picture.info.get("vqclip"), picture.info.get("parameters")
    if own is None:
        packet = picture.info.get("xmp") or b""
        found = _IN_XMP.search(
            packet[: 2 * MAX_TEXT].decode("utf-8", "replace") if isinstance(packet, bytes) else packet
        )
        own = html.unescape(found[1]) if found else None
    if foreign is None and picture.format != "PNG":
        foreign = _comment(picture.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT))
    return (own if isinstance(own, str) else None), (foreign if isinstance(foreign, str) else None)


def _comment(value: object) -> str | None:
    if not isinstance(value, bytes):
        return value if isinstance(value, str) else None
    kind, text = value[:8], value[8:]
    if not kind.startswith(b"UNICODE"):
        return (text if kind.startswith((b"ASCII", b"\0")) else value).decode("utf-8", "replace")
    # The order of the bytes is not written down; the half that is mostly zero is the high one.
    low_first = text[1::2].count(0) > text[0::2].count(0)
    return text.decode("utf-16-le" if low_first else "utf-16-be", "replace")


def _packet(values: Mapping[str, str]) -> bytes:
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items())
    fields = " ".join(f"{key}={_attribute(value)}" for key, value in values.items() if value)
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}">'
        f'<rdf:Description rdf:about="" {spaces} {fields}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def _attribute(value: str) -> str:
    return quoteattr(_NOT_IN_XML.sub("\ufffd", value), {'"': "&quot;"})


def _infotext(recipe: Mapping[str, Any]) -> str:
    settings = _settings(recipe)
    models = recipe.get("models")
    digest = models.get(settings.get("vqgan")) if isinstance(models, Mapping) else None
    model_hash = digest.rpartition(":")[2][:10] if isinstance(digest, str) else None
    return write_infotext(settings, version=_software(recipe), model_hash=model_hash)


def _settings(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = recipe.get("settings")
    return settings if isinstance(settings, Mapping) else {}


def _software(recipe: Mapping[str, Any]) -> str:
    versions = recipe.get("versions")
    return f"vqclip {versions.get('vqclip', '')}".strip() if isinstance(versions, Mapping) else "vqclip"


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _finite(digits: str) -> float:
    return float(digits) if math.isfinite(float(digits)) else _refuse(digits)


def _is_small(value: object) -> bool:
    level, items = [value], 0
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        items += len(level)
        if not level or items > MAX_ITEMS:
            break
    return not level and items <= MAX_ITEMS


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
