"""The one door: builds the app, runs it, and is the only place that prints errors and decides the exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

import vqclip
from vqclip import errors
from vqclip.cli import say

BUG, USAGE, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141

EPILOG = """\
Examples:
  vqclip "a castle in fog" --steps 300
  vqclip "a lighthouse:1.2 | storm:0.5" --negative "text" --size 512 384
  vqclip "a castle in fog" --preset draft --count 4 --output castles/
  vqclip again outputs/a-castle-in-fog-7.png --seed random
  vqclip batch prompts.txt --seed 1..4

Exit codes:
  0 done            3 some of several failed    6 cannot write the result
  1 a bug           4 model missing, refused    7 out of memory
  2 wrong usage     5 cannot read a picture     8 diverged
  130 Ctrl-C        143 SIGTERM, --timeout      129 SIGHUP
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs vqclip with the given arguments (those of the process by default) and returns its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        return _run(args)
    except KeyboardInterrupt as stop:
        code = getattr(stop, "exit_code", INTERRUPTED)
        return code if argv is not None else _quit(code)
    except BrokenPipeError:
        # What is still in the buffer has nowhere to go; without this Python complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except errors.VqclipError as error:
        say.failure(error.message, error.hint, error.exit_code, as_json=_wants_json(args))
        return error.exit_code
    except MemoryError:
        say.failure("out of memory", "try a smaller --size, or fewer --cutouts", 7, as_json=_wants_json(args))
        return errors.MemoryFullError.exit_code
    except Exception:
        traceback.print_exc()
        say.failure("this is a bug in vqclip", "please report it, with all the lines above: see CONTRIBUTING.md", BUG)
        return BUG


def _quit(code: int) -> NoReturn:
    """Ends the process at once: to take an interpreter with torch in it down in good order can take seconds."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _run(args: list[str]) -> int:
    command = build()
    if "_VQCLIP_COMPLETE" in os.environ:
        command.main(args, prog_name="vqclip")
    if not args:
        return _help_on_stderr(command)
    try:
        with command.make_context("vqclip", list(args), obj=tuple(args)) as context:
            code = command.invoke(context)
    except typer.Exit as exit_:
        code = exit_.exit_code
    except typer.TyperException as error:
        raise errors.UsageError(error.format_message(), hint=f"{_path_of(error)} --help lists all options") from error
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _path_of(error: Any) -> str:
    """The command that an error is about. The prompt's own is `vqclip`, as it is written."""
    from vqclip.cli.group import DEFAULT

    context = getattr(error, "ctx", None)
    return context.command_path.removesuffix(f" {DEFAULT}") if context is not None else "vqclip"


def build() -> Any:
    """Builds the command line anew: the group with all its commands. Loads no torch."""
    from vqclip.cli import (
        again,
        batch,
        bench,
        doctor,
        encode,
        film,
        gallery,
        generate,
        models,
        presets,
        restyle,
        resume,
        scenes,
        sheet,
        show,
        train,
        words,
        zoom,
    )
    from vqclip.cli.group import PromptFirstGroup

    app = typer.Typer(
        cls=PromptFirstGroup,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EPILOG,
    )
    app.callback()(_root)
    painting = (generate, batch, again, resume, zoom, film, restyle, encode)
    for room in (*painting, show, gallery, sheet, presets, models, words, scenes, train, bench, doctor):
        room.add(app)
    return typer.main.get_command(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        say.data(f"vqclip {vqclip.__version__}")
        raise typer.Exit()


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Paints a picture from words, with VQGAN and CLIP, on this machine.

    In brackets: what holds when a flag is not said. For "model's own" --dry-run shows the values.
    """


def _help_on_stderr(command: Any) -> int:
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(typer.Exit):
        command.make_context("vqclip", ["--help"])
    return USAGE


def _wants_json(args: list[str]) -> bool:
    return say.JSON_FLAG in (args[: args.index("--")] if "--" in args else args)
