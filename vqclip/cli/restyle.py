"""`vqclip restyle VIDEO|FOLDER "PROMPT"`: paints a clip or a folder of frames over, so that it flows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqclip.cli import say
from vqclip.cli.generate import add_with_flags, read_settings
from vqclip.cli.options import Flag, flag, read_flags
from vqclip.cli.zoom import FILM, SHOWN, WITHOUT, film_it, show_plan, with_format
from vqclip.errors import UsageError
from vqclip.films import RestyleSettings, frame_count
from vqclip.settings import Delivery, Settings

if TYPE_CHECKING:
    from vqclip.runs.footage import Footage

CLIP = "The clip"
_STARTS = ("init", "init_image", "init_noise", "init_weight", "coarse", "tile")

FLAGS: tuple[Flag, ...] = (
    flag(CLIP, "--source-weight", float, "How hard the source frame holds the picture.", "NUMBER", default="0"),
    flag(CLIP, "--keep", float, "Share of what was painted that goes on to the next frame.", "0..1", default="0.9"),
    flag(CLIP, "--hold", float, "Share of the frame before that a frame shows.", "0..1", default="0.6"),
    flag(
        CLIP,
        "--flow/--no-flow",
        bool,
        'Follow what moves, with OpenCV: pip install "vqclip[flow]".',
        default="on where OpenCV is",
    ),
    flag(FILM, "--seconds", float, "Restyle only so much of it.", "NUMBER", default="all"),
    flag(FILM, "--frames", int, "Restyle only so many frames of it.", "NUMBER", default="all"),
    flag(FILM, "--fps", float, "Frames in a second.", "NUMBER", default="the clip's own; of a folder 24"),
    flag(FILM, "--steps-per-frame", int, "How many steps each frame is painted on.", "NUMBER", default="5"),
    flag(FILM, "--frame-lr", float, "Learning rate of the frames.", "NUMBER", default="model's own"),
    flag(FILM, "--frame-average", float, "Smooths frames over their steps.", "0..1", default="0.8"),
)


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    source = inspect.Parameter(
        "source",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[str, typer.Argument(help="A clip, or a folder of frames.", metavar="VIDEO|FOLDER")],
    )
    prompt = inspect.Parameter(
        "prompt",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[
            str | None, typer.Argument(help="What to make of it.", metavar="PROMPT", show_default=False)
        ],
    )
    add_with_flags(app, restyle, source, prompt, without=WITHOUT | SHOWN | {*_STARTS, "fps"}, more=FLAGS)


def restyle(ctx: typer.Context, source: str, prompt: str | None, **flags: Any) -> int:
    """Paint a clip over, frame by frame, so that it flows. Frames are kept, and a stopped film goes on."""
    if not source:  # an empty variable of a script must not mean the folder one is in
        raise UsageError("no clip is named", hint='write it first: vqclip restyle clip.mp4 "a forest in oil"')
    said = {key: value for key, value in flags.items() if value is not None and value != []}
    asked = read_flags(with_format(flags))
    settings = over_footage(read_settings(ctx, prompt, asked))
    film = read_restyle(said)
    footage = _look_through(Path(source), said)
    film = film.changed(frames=footage.frames, fps=footage.fps, flow=_flow(said, asked.delivery))
    from vqclip.runs.plan import film_target, resolve, resolve_film, size_of_footage

    resolved, notes = resolve(size_of_footage(settings, footage.size))
    for text in () if asked.delivery.quiet else notes:
        say.note(text)
    film = resolve_film(film, resolved)
    path = film_target(resolved, asked.delivery)
    if asked.dry_run:
        return show_plan(resolved, film, asked, path)
    if asked.delivery.overwrite and path.exists() and path.samefile(source):
        raise UsageError(f"{path} would be replaced by its own restyling", hint="give another --output")
    return film_it(resolved, film, asked, footage=footage)


def over_footage(settings: Settings) -> Settings:
    """Settings that start from what a clip shows, whatever a preset says of the start. Raises: UsageError."""
    kept = {key: value for key, value in settings.model_dump(exclude_unset=True).items() if key not in _STARTS}
    return Settings.make(kept).check().changed(init="image")


def read_restyle(said: Mapping[str, Any]) -> RestyleSettings:
    """The settings of a restyled clip that flags asked for; frames and fps come from it. Raises: UsageError."""
    names = ("steps_per_frame", "frame_average", "source_weight", "keep", "hold")
    values = {key: said[key] for key in names if key in said}
    if "frame_lr" in said:
        values["frame_learning_rate"] = said["frame_lr"]
    return RestyleSettings.make(values, source="the command line")


def _look_through(path: Path, said: Mapping[str, Any]) -> Footage:
    """The footage, as much of it as is wanted. Raises: PictureError, UsageError."""
    fps = said.get("fps")
    wanted = frame_count(said.get("frames"), None, 1.0) if "frames" in said else None
    if "seconds" in said:
        frame_count(said.get("frames"), said["seconds"], 1000.0)  # what makes no sense is refused before any reading
    from vqclip.runs.footage import open_footage

    footage = open_footage(path, fps=fps, at_most=wanted)
    if "seconds" not in said:
        return footage
    return footage.first(frame_count(None, said["seconds"], footage.fps))


def _flow(said: Mapping[str, Any], delivery: Delivery) -> bool:
    """Whether to follow what moves. Raises: UsageError if it is asked for and OpenCV is not there."""
    from vqclip.runs.flow import EXTRA, has_flow, require_flow

    if said.get("flow"):
        require_flow()
    if "flow" not in said and not has_flow() and not delivery.quiet:
        say.note(f"OpenCV is not installed: what was painted does not follow what moves ({EXTRA})")
    return bool(said.get("flow", has_flow()))
