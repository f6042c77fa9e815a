"""`vqclip film FILE.toml`: scenes, cross-fades, and a camera that follows curves or a sound; storyboard first."""

from __future__ import annotations

import inspect
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqclip.cli import say
from vqclip.cli.generate import add_with_flags, find_look, laid_over
from vqclip.cli.options import Asked, Flag, flag, read_flags
from vqclip.cli.zoom import FILM, SHOWN, WITHOUT, film_it, show_plan, with_format
from vqclip.errors import UsageError
from vqclip.films import FilmSettings
from vqclip.presets import Preset, merge
from vqclip.settings import Delivery, Settings

if TYPE_CHECKING:
    from vqclip.filmfile import FilmFile
    from vqclip.shotlist import Heard, Script

STEPS_PER_FRAME = 5
_NAMED = ("prompt_flag", "negative", "image_prompts")
_STORY = ("change_every", "fade", "seconds", "frames", "fps")

FLAGS: tuple[Flag, ...] = (
    flag(FILM, "--storyboard", bool, "Draw the film on one page, list its frames, and paint nothing."),
    flag(FILM, "--story", str, "Prompts in turn, without a file.", '"PROMPT ^ PROMPT ..."'),
    flag(FILM, "--change-every", int, "Frames until the story's next prompt.", "NUMBER", default="equal shares"),
    flag(FILM, "--fade", float, "Seconds in which a story's prompts turn into each other.", "NUMBER", default="1"),
    flag(FILM, "--seconds", float, "How long a story is.", "NUMBER", default="each prompt once, or 10"),
    flag(FILM, "--frames", int, "How many frames a story has, instead of --seconds.", "NUMBER"),
)


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    file = inspect.Parameter(
        "file",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[
            str | None, typer.Argument(help="A film file: scenes and curves.", metavar="FILE.toml", show_default=False)
        ],
    )
    add_with_flags(app, film, file, without=WITHOUT | SHOWN | set(_NAMED), more=FLAGS)


def film(ctx: typer.Context, file: str | None, **flags: Any) -> int:
    """Film what a file says, or a story in one line. Frames are kept, and a stopped film goes on."""
    said = {key: value for key, value in flags.items() if value is not None and value != []}
    asked = read_flags(with_format(flags))
    if ctx.args:
        raise UsageError(f"one film file at a time: {ctx.args[0]!r} is too many", hint=_quoted(file, ctx.args))
    told = _read(file, said, asked)
    settings = _settings(told, asked)
    from vqclip.runs.plan import film_target, resolve

    resolved, notes = resolve(settings)
    for text in () if asked.delivery.quiet else notes:
        say.note(text)
    heard = _hear(told)
    script, film = _plan(told, resolved, heard)
    delivery = _named(asked.delivery, file)
    path = film_target(resolved, delivery)
    if said.get("storyboard"):
        return _storyboard(script, film, resolved, path, heard, delivery)
    if asked.dry_run:
        return show_plan(resolved, film, asked, path, script=script)
    return film_it(resolved, film, replace(asked, delivery=delivery), script=script)


def _read(file: str | None, said: Mapping[str, Any], asked: Asked) -> FilmFile:
    """The film file, or what the story comes to. Raises: UsageError."""
    from vqclip.filmfile import read_film_file, tell_story

    if (file is None) == ("story" not in said):
        raise UsageError(
            "give a film file, or a --story",
            hint='vqclip film FILE.toml, or vqclip film --story "a castle ^ a forest" --change-every 48',
        )
    if file is None:
        how = {"every": said.get("change_every"), "frames": said.get("frames"), "seconds": said.get("seconds")}
        return tell_story(said["story"], fade=said.get("fade", 1.0), fps=asked.delivery.fps, **how)
    for name in _STORY:
        if name in said:
            raise UsageError(f"--{name.replace('_', '-')} is for a --story: a film file says it itself")
    if not Path(file).exists():
        raise UsageError(f"there is no film file {file!r}", hint=_quoted(file, []))
    return read_film_file(Path(file))


def _settings(told: FilmFile, asked: Asked) -> Settings:
    """The settings of the first picture: the file's, below those of a preset that a flag names, below the flags."""
    look = find_look(asked.preset) if asked.preset else Preset("none", {})
    words = {key: told.settings.get(key) for key in ("prompt", "negative", "image_prompts")}
    return Settings.make(merge(told.settings, laid_over(look, asked.settings, words))).check()


def _hear(told: FilmFile) -> Heard | None:
    if told.sound is None:
        return None
    from vqclip.runs.sound import hear

    return hear(told.sound, fps=told.timeline.fps)


def _plan(told: FilmFile, resolved: Settings, heard: Heard | None) -> tuple[Script, FilmSettings]:
    from vqclip.planner import plan_film
    from vqclip.runs.inputs import check_pictures
    from vqclip.runs.plan import resolve_film
    from vqclip.shotlist import Script

    rate = resolve_film(FilmSettings(), resolved).frame_learning_rate or 0.1
    defaults = {"steps": STEPS_PER_FRAME, "learning_rate": rate, "cutouts": resolved.cutouts or 1}
    shots, film = plan_film(told, defaults={**defaults, "tv": resolved.tv or 0.0}, heard=heard)
    for images in {scene.image_prompts for scene in shots.scenes}:
        check_pictures(resolved.changed(image_prompts=images))
    return Script(shots, told.text, told.sound), resolve_film(film, resolved)


def _named(delivery: Delivery, file: str | None) -> Delivery:
    """The delivery, with a film called like its file where nothing else is said."""
    if delivery.output is not None or file is None:
        return delivery
    from vqclip.sinks.names import DEFAULT_FOLDER, slug

    return delivery.model_copy(update={"output": f"{DEFAULT_FOLDER}/{slug(Path(file).stem)}-{{seed}}"})


def _storyboard(
    script: Script, film: FilmSettings, settings: Settings, path: Path, heard: Heard | None, delivery: Delivery
) -> int:
    """Writes the page and the list of frames beside where the film would be, and says where. Returns 0."""
    from vqclip.sinks.publish import publish
    from vqclip.sinks.storyboard import draw_storyboard

    page = io.BytesIO()
    size = (settings.width or 256, settings.height or 256)
    beats = heard.beats if heard else ()
    draw_storyboard(script.shots, frames=film.frames, size=size, title=path.stem, beats=beats).save(page, "PNG")
    made = {
        "storyboard": publish(path.with_suffix(".storyboard.png"), page.getvalue(), overwrite=delivery.overwrite),
        "frames": publish(path.with_suffix(".frames.csv"), script.shots.table().encode(), overwrite=delivery.overwrite),
    }
    if delivery.json_lines:
        say.json_line(made)
    else:
        for found in made.values():
            say.result(found)
    return 0


def _quoted(file: str | None, rest: list[str]) -> str | None:
    words = " ".join(["film", *([file] if file else []), *rest])
    return f'to paint these words, put them in quotes: vqclip "{words}"'
