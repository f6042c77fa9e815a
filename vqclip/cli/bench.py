"""`vqclip bench`: how fast this machine paints, in how much memory, and how good the estimates are."""

from __future__ import annotations

from typing import Annotated

import typer

from vqclip.cli import say

HEADER = f"{'model':24} {'size':>9} {'cuts':>4} {'s/step':>8} {'off by':>7} {'memory':>9} {'off by':>7}"


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    app.command("bench")(bench)


def bench(
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Measure this VQGAN only. May be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option(min=2, max=100, help="Steps of each measurement.")] = 6,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="CPU threads.", show_default="the physical cores, at most 8")
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> int:
    """Measure this machine: seconds a step and memory, with the models at hand."""
    from vqclip.errors import VqclipError
    from vqclip.runs.bench import bench as measured
    from vqclip.runs.bench import trials
    from vqclip.settings import Delivery

    delivery = Delivery(device=device, threads=threads, offline=True)
    if not json_lines:
        say.data(HEADER)
    failed = 0
    for row in measured(trials(model or ()), delivery, steps=steps):
        if isinstance(row, VqclipError):
            failed = row.exit_code
            say.failure(row.message, row.hint, row.exit_code, as_json=json_lines)
        elif json_lines:
            say.json_line(row.as_dict())
        else:
            off = ["" if error is None else f"{error:+.0%}" for error in row.errors]
            say.data(
                f"{row.model[-24:]:24} {row.size:>9} {row.cutouts:>4} {row.seconds:>8.3f} {off[0]:>7} "
                f"{row.bytes / 1e9:>6.2f} GB {off[1]:>7}"
            )
    return failed
