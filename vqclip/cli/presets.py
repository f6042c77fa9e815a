"""`vqclip presets`: lists the named looks; `vqclip presets show NAME` prints one."""

from __future__ import annotations

from typing import Annotated

import typer

from vqclip.cli import say
from vqclip.errors import UsageError
from vqclip.presets import find_presets, load_preset, preset_toml, read_preset


def add(app: typer.Typer) -> None:
    """Adds the command, and the one below it, to the app."""
    group = typer.Typer(help="List the named looks, or show one.", invoke_without_command=True, rich_markup_mode=None)
    group.callback()(presets)
    group.command("show")(show_preset)
    app.add_typer(group, name="presets")


def presets(ctx: typer.Context) -> int:
    """List the named looks: what each is, and a command to try it."""
    if ctx.invoked_subcommand:
        return 0
    for name, path in sorted(find_presets().items()):
        try:
            preset = read_preset(path)
        except UsageError as error:  # one broken file of the user's own must not hide all the others
            say.note(f"left out: {error.message}")
            continue
        say.data(f"{name:12}{preset.description}")
        if preset.try_:
            say.data(f"{'':12}{preset.try_}")
    return 0


def show_preset(name: Annotated[str, typer.Argument(help="A preset's name, or a .toml file.", metavar="NAME")]) -> int:
    """Show one preset as TOML, ready to be copied and changed."""
    say.data(preset_toml(load_preset(name)).rstrip())
    return 0
