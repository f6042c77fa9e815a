"""`vqclip again PICTURE`: paints a picture or a zoom again from the recipe inside it, with changes if you like."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from vqclip.cli import say
from vqclip.cli.generate import FLAG_OF, add_with_flags, carry_out, find_look, laid_over, read_recipe
from vqclip.cli.options import Asked, read_flags
from vqclip.cli.zoom import SHOWN, WITHOUT, carry_out_film, with_format
from vqclip.errors import UsageError
from vqclip.films import FilmSettings, kept_film_values
from vqclip.presets import Preset, preset_from_recipe, superseded
from vqclip.prompts import repair
from vqclip.settings import Settings

MOST_THREADS = 256


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    picture = inspect.Parameter(
        "picture",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[Path, typer.Argument(help="A picture or a zoom that vqclip made.", metavar="PICTURE")],
    )
    add_with_flags(app, again, picture)


def again(ctx: typer.Context, picture: Path, **flags: Any) -> int:
    """Paint a picture, or film a zoom, again from its own recipe. Flags change it: --seed random is a variation."""
    asked = read_flags(flags)
    if ctx.args:
        raise UsageError(f"again takes one picture, not also {ctx.args[0]!r}", hint="change the prompt with --prompt")
    inside = read_recipe(picture)
    film = film_of(inside, picture, flags)
    if film is not None:
        asked = read_flags(in_its_format(picture, flags))
    recipe = preset_from_recipe(inside, name=picture.name)
    look = find_look(asked.preset) if asked.preset else Preset("none", {})
    prompt = {"prompt": repair(asked.prompt)} if asked.prompt is not None else {}
    said = laid_over(look, asked.settings, prompt)
    from vqclip.runs.cores import share_cores
    from vqclip.runs.recipe import differences, own_models

    found = own_models(inside, {key: value for key, value in recipe.dropped.items() if key not in said})
    ask_for_missing(recipe, {**found, **said})
    settings = Settings.make(laid_over(recipe, found, said), source=picture.name)
    share_cores()
    unlike = differences(inside, processor=not asked.dry_run)
    notes = [*recipe.notes[len(recipe.dropped) :], *(f"not the same pixels: {text}" for text in unlike)]
    for text in () if asked.delivery.quiet else notes:
        say.note(text)
    asked = with_threads_of(inside, asked)
    return carry_out(settings, asked) if film is None else carry_out_film(settings, film, asked)


def film_of(recipe: Mapping[str, Any], path: Path, flags: Mapping[str, Any]) -> FilmSettings | None:
    """How a zoom was filmed, by the recipe in it or in one of its frames; None for a picture's recipe.

    Raises: UsageError for other films, whose recipes do not hold all it takes, and for flags of pictures.
    """
    film = recipe.get("film")
    if not isinstance(film, Mapping):
        return None
    if "timeline" in recipe:
        shown = shlex.join(["vqclip", "show", str(path), "--json"])
        hint = f"save the text at `timeline` in `{shown}` as a file: vqclip film FILE.toml"
        raise UsageError(f"{path.name} was filmed from a film file", hint=hint)
    if "scenes" in recipe:
        raise UsageError(f"{path.name} tells a story", hint='tell it again: vqclip film --story "PROMPT ^ PROMPT ..."')
    if "footage" in recipe:
        raise UsageError(f"{path.name} is a restyled clip", hint='take the clip: vqclip restyle CLIP "PROMPT"')
    for name in sorted(WITHOUT):
        if flags.get(name):
            raise UsageError(f"--{name.replace('_', '-')} is for pictures, and {path.name} is of a film")
    said = {name: flags[name] for name in ("fps", *SHOWN) if flags.get(name) is not None}
    return kept_film_values({**film, **said})


def in_its_format(path: Path, flags: Mapping[str, Any]) -> Mapping[str, Any]:
    """The flags with the format that a film has, unless another is said."""
    said = with_format(flags)
    if said.get("film_format"):
        return said
    return {**said, "film_format": with_format({"output": path.name}).get("film_format")}


def with_threads_of(recipe: Mapping[str, Any], asked: Asked) -> Asked:
    """What was asked for, with the recipe's number of threads unless another is said: it changes the last bits."""
    threads = recipe.get("threads")
    if asked.delivery.threads is not None or type(threads) is not int or not 1 <= threads <= MOST_THREADS:
        return asked
    return replace(asked, delivery=asked.delivery.model_copy(update={"threads": threads}))


def ask_for_missing(recipe: Preset, said: Mapping[str, Any]) -> None:
    """Raises: UsageError unless all files were said that are still of use: a recipe may not name them."""
    of_no_use = superseded(said)
    of_no_use |= {"vqgan_config"} if "vqgan" in said else set()
    for key, value in recipe.dropped.items():
        if key not in said and key not in of_no_use:
            flag = FLAG_OF.get(key, f"--{key}")
            names = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            raise UsageError(
                f"{recipe.name} was painted with a file of its own ({names}), and a recipe may not open files",
                hint=f"name it yourself: add {flag} PATH",
            )
