"""Help in plain columns, options grouped by what they are about: fast, narrow, and readable without color."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from vqclip.cli import say


def help_alone(context: typer.Context) -> None:
    """Shows the help of a group that is called without any of its commands."""
    if context.invoked_subcommand is None:
        say.data(context.get_help())
        raise typer.Exit()


class PanelCommand(TyperCommand):
    """A command whose help groups its options under headings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments first, then each group of options in the order of its first member."""
        write_panels(self.get_params(ctx), ctx, formatter)


def write_panels(params: Sequence[Any], ctx: Any, formatter: Any) -> None:
    """Writes the help of arguments and options, a section for each panel; those without one come last."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for param in sorted(params, key=lambda param: _panel(param) == OTHER):
        record = param.get_help_record(ctx)
        if record is not None:
            panels.setdefault(_panel(param), []).append((record[0], _default(record[1])))
    for name, records in panels.items():
        with formatter.section(name):
            formatter.write_dl(records)


OTHER = "Other"


def _panel(param: Any) -> str:
    return "Arguments" if param.param_type_name == "argument" else param.rich_help_panel or OTHER


def _default(text: str) -> str:
    return text.replace("  [default: (", " [").replace(")]", "]")
