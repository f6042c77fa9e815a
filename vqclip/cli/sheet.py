"""`vqclip sheet PICTURES`: one picture that shows many, each above its prompt, seed and what differs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqclip.cli import say
from vqclip.errors import PictureError, UsageError

if TYPE_CHECKING:
    from vqclip.sinks.collection import Found


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    app.command("sheet")(sheet)


def sheet(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, and folders of them.", metavar="PICTURES")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the sheet goes: .png.")] = Path("outputs/sheet.png"),
    columns: Annotated[int | None, typer.Option("--columns", help="How many side by side.", show_default=False)] = None,
    side: Annotated[int, typer.Option("--side", help="How many pixels each gets, at most.")] = 256,
) -> int:
    """Lay pictures out on one, each above its prompt, its seed and the settings that differ."""
    from vqclip.sinks.collection import find_pictures, read_pictures
    from vqclip.sinks.publish import prepare, publish
    from vqclip.sinks.sheets import encode_sheet, sheet_of

    if columns is not None and not 1 <= columns <= 1024:
        raise UsageError(f"--columns {columns}: give 1 to 1024")
    if not 16 <= side <= 2048:
        raise UsageError(f"--side {side}: give 16 to 2048")
    if out.suffix.casefold() != ".png":
        raise UsageError(f"--out {out}: the sheet is a .png")
    paths = [path for one in pictures for path in (find_pictures(one) if one.is_dir() else [one])]
    found = read_pictures(paths)
    if not found:
        raise UsageError("these are contact sheets, not pictures")
    _require_pictures(found, {*pictures})
    prepare(out)
    say.result(publish(out, encode_sheet(sheet_of(found, columns=columns, side=side))))
    return 0


def _require_pictures(found: Sequence[Found], named: Collection[Path]) -> None:
    """Raises: PictureError if a path that was named is not there, or nothing can be shown."""
    bad = [one for one in found if one.problem is not None]
    missing = [one for one in bad if one.path in named and not one.path.exists()]
    if missing or len(bad) == len(found):
        first = (missing or bad)[0]
        raise PictureError(f"{first.path}: {first.problem}")
