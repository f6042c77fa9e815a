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
    from vqclip.starter import captions

    if json:
        say.json_line(captions.words())
        return 0
    for kind, names in captions.phrases().items():
        say.data(f"{kind}:")
        for name, said in names.items():
            also = ", ".join(phrase for phrase in said if phrase != name)
            line = f"{name}: {also}" if also else name
            say.data(textwrap.fill(line, 78, initial_indent="  ", subsequent_indent=" " * 6))
    return 0
