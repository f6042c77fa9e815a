"""Contact sheets: many pictures on one, each above its label."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from vqclip.errors import PictureError, UsageError
from vqclip.sinks.collection import SHEET_MARK, Found, read_picture, small_copy
from vqclip.sinks.lettering import Font, wrap
from vqclip.sinks.publish import publish

MOST = 1024
GAP, MARGIN, SIZE, LEADING = 10, 16, 13, 17
PAPER, INK, MISSING = "#ffffff", "#222222", "#d8d4ce"
MAX_LINES = 4
# As many pixels as a picture may have that this program reads (see ops.pixels), less what labels need.
_ROOM = 40_000_000


@dataclass(frozen=True)
class Tile:
    """One place on a sheet: a picture, or None where there is none to show, and the words below it."""

    picture: Image.Image | None
    label: str


def contact_sheet(
    tiles: Sequence[Tile], *, columns: int | None = None, side: int = 256, title: str = ""
) -> Image.Image:
    """Lays pictures out in rows, each fitted into `side` pixels above its wrapped label; the title goes over all.

    Raises: ValueError if there are no tiles or `columns` or `side` is below 1.
    """
    if not tiles or side < 1 or (columns is not None and columns < 1):
        raise ValueError("a sheet needs tiles, columns and a side of at least 1")
    columns = min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles))
    width = 2 * MARGIN + columns * (side + GAP) - GAP
    head = wrap(title, width=width - 2 * MARGIN, lines=MAX_LINES, size=SIZE + 3) if title.strip() else None
    top = MARGIN + (len(head[0]) * (LEADING + 4) + GAP if head else 0)
    rows = [_row(tiles[n : n + columns], side) for n in range(0, len(tiles), columns)]
    sheet = Image.new("RGB", (width, top + sum(row.height + GAP for row in rows) + MARGIN - GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    if head:
        _write(pen, (MARGIN, MARGIN), *head, leading=LEADING + 4)
    for row in rows:
        sheet.paste(row, (MARGIN, top))
        top += row.height + GAP
    return sheet


def sheet_of(found: Sequence[Found], *, columns: int | None = None, side: int = 256) -> Image.Image:
    """The contact sheet of picture files: what all have in common stands over them, what differs below each.

    Pictures become smaller where there are many. Raises: UsageError for more than MOST of them.
    """
    if len(found) > MOST:
        raise UsageError(f"{len(found)} pictures are too many for a sheet: {MOST} at most", hint="try vqclip gallery")
    title, labels = label_all(found)
    side = max(16, min(side, math.isqrt(_ROOM // max(1, len(found)))))
    tiles = [Tile(_picture(one, side), label) for one, label in zip(found, labels, strict=True)]
    return contact_sheet(tiles, columns=columns, side=side, title=title)


def encode_sheet(sheet: Image.Image) -> bytes:
    """A sheet as a PNG that says that it is one, so that no gallery takes it for a picture."""
    mark, data = PngInfo(), io.BytesIO()
    mark.add_text(SHEET_MARK, "1")
    sheet.save(data, "PNG", pnginfo=mark)
    return data.getvalue()


def write_sheet(path: Path, sheet: Image.Image) -> Path:
    """Writes a sheet in the place of an earlier one; a picture of that name stays. Raises: OutputError."""
    return publish(path, encode_sheet(sheet), overwrite=path.exists() and read_picture(path) is None)


def label_all(found: Sequence[Found]) -> tuple[str, list[str]]:
    """(title, a label for each): the prompt that all share is the title; seeds, and settings that differ, are labels.

    Recipes are untrusted; what they hold is only shown.
    """
    painted = [one for one in found if one.recipe is not None]
    differ = _differing([one.settings for one in painted])
    shared = painted and len(found) > 1 and "prompt" not in differ
    return (painted[0].prompt if shared else ""), [_label(one, differ, prompt=not shared) for one in found]


def _label(one: Found, differ: Sequence[str], *, prompt: bool) -> str:
    if one.recipe is None:
        return f"{one.path.name}\n{one.problem or 'no recipe'}"
    said = {key: one.settings.get(key) for key in ("seed", *differ) if key != "prompt"}
    # The prompt comes last, where a long one is cut.
    lines = [", ".join(f"{_brief(key)} {_brief(value)}" for key, value in said.items() if value is not None)]
    lines += [one.prompt[:400]] if prompt else []
    return "\n".join(line for line in lines if line) or one.path.name


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings that are not the same everywhere, in a fixed order, without those that only follow from others."""
    keys = sorted({key for one in settings for key in one} - {"seed"})
    return [key for key in keys if any(one.get(key) != settings[0].get(key) for one in settings)]


def _brief(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else f"{value}"
    return text if len(text) <= 60 else text[:57] + "..."


def _picture(one: Found, side: int) -> Image.Image | None:
    if one.problem is not None:
        return None
    try:
        return small_copy(one.path, side)
    except PictureError:
        return None


def _row(tiles: Iterable[Tile], side: int) -> Image.Image:
    """One row: pictures stand on a common line, so that the labels do too."""
    fitted = [(_fitted(tile.picture, side), wrap(tile.label, width=side, lines=MAX_LINES, size=SIZE)) for tile in tiles]
    ground = max(picture.height for picture, _ in fitted)
    below = max(len(lines) for _, (lines, _) in fitted) * LEADING
    row = Image.new("RGB", (len(fitted) * (side + GAP) - GAP, ground + below + (6 if below else 0)), PAPER)
    pen = ImageDraw.Draw(row)
    for n, (picture, (lines, font)) in enumerate(fitted):
        left = n * (side + GAP)
        row.paste(picture, (left + (side - picture.width) // 2, ground - picture.height))
        _write(pen, (left, ground + 5), lines, font)
    return row


def _fitted(picture: Image.Image | None, side: int) -> Image.Image:
    if picture is None:
        return Image.new("RGB", (side, side // 2 or 1), MISSING)
    factor = side / max(picture.size)
    width, height = (max(1, round(length * factor)) for length in picture.size)
    # Small pictures are enlarged as they are, so that their pixels can be judged.
    method = Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.NEAREST
    return picture.convert("RGB").resize((width, height), method)


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], lines: Sequence[str], font: Font, *, leading: int = LEADING
) -> None:
    for n, line in enumerate(lines):
        pen.text((at[0], at[1] + n * leading), line, fill=INK, font=font)
