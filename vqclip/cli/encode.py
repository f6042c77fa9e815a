"""`vqclip encode-film FOLDER`: makes a film of pictures that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqclip.cli import say
from vqclip.errors import UsageError
from vqclip.settings import FilmFormat


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    app.command("encode-film")(encode_film)


def encode_film(
    folder: Annotated[str, typer.Argument(help="A folder of pictures, taken in natural order.", metavar="FOLDER")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The film; its suffix is its format.", show_default=False)
    ] = None,
    film_format: Annotated[FilmFormat, typer.Option("--format", help="The format, where --output says none.")] = "mp4",
    fps: Annotated[float | None, typer.Option("--fps", help="Frames in a second.", show_default="24")] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="How long the film is, instead of --fps.", show_default=False)
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Let the last frames fade into the first.")] = False,
    hold: Annotated[float, typer.Option("--hold-last", help="Seconds to hold the last frame.")] = 0.0,
    interpolate: Annotated[
        float | None,
        typer.Option("--interpolate", help="Frames in a second after frames in between are added.", show_default=False),
    ] = None,
    sound: Annotated[
        Path | None, typer.Option("--sound", help="A sound file to be heard in the film.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> int:
    """Make a film of the pictures in a folder: of kept frames, or any pictures of one size."""
    if not folder:  # an empty variable of a script must not mean the folder one is in
        raise UsageError("no folder is named", hint="write it first: vqclip encode-film FOLDER")
    if film_format == "frames":
        raise UsageError("--format frames: the frames are there already")
    if fps is not None and seconds is not None:
        raise UsageError("both --fps and --seconds say how fast the film runs", hint="leave one of them out")
    for flag, value, most in (("--fps", fps, 240), ("--seconds", seconds, 36000), ("--interpolate", interpolate, 240)):
        if value is not None and not 0 < value <= most:
            raise UsageError(f"{flag} {value:g}: give a number above 0, up to {most}")
    if not 0 <= hold <= 3600:
        raise UsageError(f"--hold-last {hold:g}: give seconds from 0 to 3600")
    path = output or Path(folder).resolve().with_suffix(f".{film_format}")
    if not path.suffix:
        path = path.with_suffix(f".{film_format}")
    from vqclip.runs.encode import encode

    made = encode(
        Path(folder),
        path,
        fps=fps,
        seconds=seconds,
        loop=loop,
        hold=hold,
        interpolate=interpolate,
        sound=sound,
        overwrite=overwrite,
        on_note=_silent if quiet else say.note,
    )
    say.result(made)
    return 0


def _silent(text: str) -> None:
    """Takes a note and says nothing, for --quiet."""
