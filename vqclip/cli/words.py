"""`vqclip words`: lists the words that the built-in starter model has learned."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from vqclip.cli import say


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    app.command("words")(words)


def words(json: Annotated[bool, typer.Option("--json", help="As one JSON object, by group.")] = False) -> int:
    """List the words that the built-in starter model knows."""
    from vqclip.starter import captions, world

    known = captions.words()
    if json:
        say.json_line(known)
        return 0
    kinds = {
        "subjects": world.SUBJECTS,
        "colors": world.COLORS,
        "times": world.TIMES,
        "weather": world.WEATHERS,
        "styles": world.STYLES,
        "grounds": world.GROUNDS,
    }
    listed = {name for names in kinds.values() for name in names}
    kinds["and"] = tuple(name for name in known if name not in listed)
    for kind, names in kinds.items():
        found = sorted({word for name in names for word in known[name]})
        say.data(textwrap.fill(", ".join(found), 78, initial_indent=f"{kind:10}", subsequent_indent=" " * 10))
    return 0
