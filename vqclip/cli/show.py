"""`vqclip show PICTURE`: prints the recipe inside a picture or a film."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqclip.cli import say
from vqclip.cli.generate import read_recipe
from vqclip.presets import preset_from_recipe, preset_toml


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    app.command("show")(show)


def show(
    picture: Annotated[Path, typer.Argument(help="A picture or film that vqclip made.", metavar="PICTURE")],
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    toml: Annotated[bool, typer.Option("--toml", help="As a preset file.")] = False,
) -> int:
    """Show the recipe inside a picture or a film."""
    recipe = read_recipe(picture)
    if json:
        say.json_line(recipe)
    elif toml:
        say.data(preset_toml(preset_from_recipe(recipe, name=picture.name)).rstrip())
    else:
        from vqclip.sinks.metadata import describe

        say.data(describe(recipe))
    return 0
