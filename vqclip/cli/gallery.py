"""`vqclip gallery FOLDER`: one page that shows all pictures of a folder, with their recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqclip.cli import say
from vqclip.errors import UsageError
from vqclip.words import counted


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    app.command("gallery")(gallery)


def gallery(
    folder: Annotated[Path, typer.Argument(help="A folder of pictures; those below it are shown too.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where the page goes, else gallery.html in the folder.")
    ] = None,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Show smaller copies of large pictures, kept beside the page.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No remarks.")] = False,
) -> int:
    """Make a web page of a folder of pictures: prompts, recipes, search. It needs no server."""
    from vqclip.sinks.collection import find_pictures, read_pictures
    from vqclip.sinks.page import gallery_page, write_page
    from vqclip.sinks.publish import prepare
    from vqclip.sinks.thumbnails import make_thumbnails

    page = out or folder / "gallery.html"
    if page.suffix.casefold() not in (".html", ".htm"):
        raise UsageError(f"--out {page}: the page is a .html")
    found = sorted(read_pictures(find_pictures(folder)), key=lambda one: -one.modified)
    prepare(page)
    small = make_thumbnails(found, page.parent) if thumbnails else {}
    title = folder.resolve().name or "Pictures"
    path = write_page(page, gallery_page(found, folder=page.parent, title=title, thumbnails=small))
    broken = [one for one in found if one.problem is not None]
    if not quiet:
        say.note(counted(len(found) - len(broken), "picture"))
        for one in broken[:20]:
            say.note(f"{one.path}: {one.problem}")
        if len(broken) > 20:
            say.note(f"and {len(broken) - 20} more that cannot be read")
    say.result(path)
    return 0
