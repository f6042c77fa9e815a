"""`vqclip again PICTURE`: paints a picture again from the recipe inside it, with changes if you like."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from vqclip.cli import say
from vqclip.cli.generate import FLAG_OF, add_with_flags, carry_out, find_look, laid_over, read_recipe
from vqclip.cli.options import Asked, read_flags
from vqclip.errors import UsageError
from vqclip.presets import Preset, preset_from_recipe, superseded
from vqclip.prompts import repair
from vqclip.settings import Settings

MOST_THREADS = 256


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    picture = inspect.Parameter(
        "picture",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[Path, typer.Argument(help="A picture that vqclip made.", metavar="PICTURE")],
    )
    add_with_flags(app, again, picture)


def again(ctx: typer.Context, picture: Path, **flags: Any) -> int:
    """Paint a picture again from its own recipe. Flags change it: --seed random is a variation."""
    asked = read_flags(flags)
    if ctx.args:
        raise UsageError(f"again takes one picture, not also {ctx.args[0]!r}", hint="change the prompt with --prompt")
    inside = read_recipe(picture)
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
    return carry_out(settings, with_threads_of(inside, asked))


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
