"""`vqclip batch FILE`: paints a file of prompts, and only what is missing when it is run again."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vqclip.cli import say
from vqclip.cli.carryout import carry_out_batch, show_standing
from vqclip.cli.generate import add_with_flags
from vqclip.cli.options import Asked, read_flags
from vqclip.errors import UsageError, VqclipError
from vqclip.promptfile import KINDS, MAX_BYTES, read_rows
from vqclip.prompttable import Problem
from vqclip.sweeps import Sweep, parse_sweep
from vqclip.wildcards import Wildcards, holds_choices, wildcard_folders
from vqclip.words import counted

MOST_JOBS = 10_000
MOST_PROBLEMS = 20
PANEL = "The batch"
# What makes no sense for many pictures at once.
WITHOUT = frozenset({"prompt_flag", "overwrite", "preview", "save_every"})


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    add_with_flags(app, batch, _FILE, *(_option(*one) for one in _OPTIONS), without=WITHOUT)


def batch(ctx: typer.Context, file: str, **flags: Any) -> int:
    """Paint a file of prompts into a folder. Run again, it paints only what is missing."""
    own = {name: flags.pop(name) for name, *_ in _OPTIONS}
    if ctx.args:
        raise UsageError(f"batch takes one file, not also {ctx.args[0]!r}", hint="join the files, or run it for each")
    asked = read_flags({key: value for key, value in flags.items() if key != "seed"})
    data, name, kind = _read(file)
    from vqclip.cli.rows import make_asks, read_said, short_options

    rows = read_rows(data, name=name, kind=kind, short=short_options())
    most = own["max_jobs"] or MOST_JOBS
    sweeps = _sweeps(own["sweep"] or [], most)
    command = ctx.parent.command.commands["generate"]  # type: ignore[union-attr]
    asks, problems = make_asks(
        rows.rows, command=command, file=Path(file).expanduser(), flags=read_said(flags), sweeps=sweeps
    )
    from vqclip.runs.jobs import look_at_inputs, make_jobs

    expand = own["expand"] or "no"
    lists = Wildcards((*map(Path, [own["wildcards"]] if own["wildcards"] else []), *wildcard_folders()))
    made = make_jobs(asks, expand=expand, wildcards=lists, most=most)
    if not own["status"]:
        look_at_inputs(made, asked.delivery.device)
    _refuse(name, [*rows.problems, *problems, *made.problems], made.missing)
    if not made.jobs:
        raise UsageError(f"{name} holds no prompts", hint="write one a line")
    if not asked.delivery.quiet:
        _remark(made.notes, made.repeated, expand, [row.prompt for row in rows.rows])
    target = _target(asked, "batch" if file == "-" else Path(file).stem)
    if own["status"]:
        return show_standing(made.jobs, target, asked.delivery, own)
    return carry_out_batch(made.jobs, target, asked, {**own, "words": ctx.obj})


_FILE = inspect.Parameter(
    "file",
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    annotation=Annotated[
        str, typer.Argument(help=f"A file of prompts ({', '.join(KINDS)}); - is standard input.", metavar="FILE")
    ],
)
_OPTIONS: tuple[tuple[str, str, Any, str, str | None], ...] = (
    ("sweep", "--sweep", list[str], "Every value of a setting, of several all combinations.", "NAME=VALUE,..."),
    ("expand", "--expand", Literal["all", "random"], "What to make of {red|blue} and __color__.", None),
    ("wildcards", "--wildcards", str, "A folder with lists of your own.", "FOLDER"),
    ("max_jobs", "--max-jobs", int, f"The most pictures to plan, else {MOST_JOBS}.", "NUMBER"),
    ("workers", "--workers", str, "How many processes paint, or auto: one for each GPU or two cores.", "NUMBER"),
    ("ray", "--ray", str, "Paint on a Ray cluster: its address, or auto.", "ADDRESS"),
    ("shard", "--shard", str, "Only the i-th of n parts, for job arrays.", "I/N"),
    ("grid", "--grid", bool, "Also a contact sheet of all that is done: sheet.png in the folder.", None),
    ("status", "--status", bool, "Say what is done, failed and left, and stop.", None),
)


def _option(name: str, spelling: str, kind: Any, text: str, metavar: str | None) -> inspect.Parameter:
    option = typer.Option(spelling, help=text, metavar=metavar, rich_help_panel=PANEL, show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _read(file: str) -> tuple[bytes, str, str]:
    """(content, name, kind) of the file of prompts; standard input is text, a prompt a line."""
    if file == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1), "standard input", ".txt"
    path = Path(file).expanduser()
    try:
        with path.open("rb") as opened:
            return opened.read(MAX_BYTES + 1), path.name, path.suffix.casefold()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{file!r} is no name of a file") from error


def _sweeps(texts: Sequence[str], most: int) -> list[Sweep]:
    sweeps = [parse_sweep(text) for text in texts]
    names = [sweep.name for sweep in sweeps]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"--sweep {twice} is said twice", hint=f"write --sweep {twice}=ONE,OTHER")
    wanted = math.prod(len(sweep.values) for sweep in sweeps)
    if wanted > most:
        raise UsageError(
            f"the sweeps alone ask for {counted(wanted, 'picture')}, more than {most}", hint="raise --max-jobs"
        )
    return sweeps


def _target(asked: Asked, stem: str) -> Path:
    output = asked.delivery.output
    if output is None:
        return Path("outputs") / (stem or "batch")
    if Path(output).suffix.casefold() in (".png", ".jpg", ".jpeg", ".webp"):
        raise UsageError(f"--output {output}: a batch paints into a folder", hint="name a folder")
    return Path(output).expanduser()


def _refuse(name: str, problems: Sequence[Problem], missing: Sequence[tuple[Problem, VqclipError]]) -> None:
    """Raises: UsageError with all problems, one a line; ModelError or PictureError if only files are missing."""
    if not problems and not missing:
        return
    kind = UsageError if problems else type(missing[0][1])
    hint = (missing[0][1].hint if not problems else None) or "nothing was painted"
    ordered = sorted({str(one): one for one in [*problems, *(one for one, _ in missing)]}.values(), key=_line)
    if len(ordered) == 1:
        raise kind(f"{name}, {ordered[0]}", hint=hint)
    lines = [f"  {problem}" for problem in ordered[:MOST_PROBLEMS]]
    more = [f"  and {len(ordered) - MOST_PROBLEMS} more"] if len(ordered) > MOST_PROBLEMS else []
    raise kind("\n".join([f"{name}: {len(ordered)} mistakes", *lines, *more]), hint=hint)


def _line(problem: Problem) -> int:
    return problem.line


def _remark(notes: Sequence[str], repeated: int, expand: str, prompts: Sequence[str]) -> None:
    for text in notes[:MOST_PROBLEMS]:
        say.note(text)
    if repeated:
        say.note(f"{counted(repeated, 'picture is', 'pictures are')} asked for more than once, and painted once")
    if expand == "no" and any(map(holds_choices, prompts)):
        say.note("some prompts hold {..|..} or __..__: taken as they stand, because --expand is not said")
