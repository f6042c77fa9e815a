"""`vqclip resume FOLDER|STATE`: goes on with what was stopped, as if it never had been."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vqclip.cli import say
from vqclip.cli.again import ask_for_missing, with_threads_of
from vqclip.cli.carryout import carry_out_batch
from vqclip.cli.generate import add_with_flags, paint_one, read_recipe
from vqclip.cli.limit import limited
from vqclip.cli.options import FLAGS, OF_GOING_ON, read_flags
from vqclip.cli.zoom import resume_film
from vqclip.errors import ModelError, PictureError, UsageError
from vqclip.films import FILM_JOB
from vqclip.presets import merge, preset_from_recipe
from vqclip.settings import Settings

# A state goes on only as it began: what changes the picture cannot be said, only where its files lie.
_MAY_BE_SAID = OF_GOING_ON | {"timeout", "vqgan", "vqgan_config", "clip", "prior", "init_image", "image_prompts"}


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    what = inspect.Parameter(
        "what",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[
            str,
            typer.Argument(
                help="A saved state, the picture it lies beside, or the folder of a batch or a film.", metavar="WHAT"
            ),
        ],
    )
    add_with_flags(app, resume, what, without=frozenset({flag.name for flag in FLAGS} - _MAY_BE_SAID))


def resume(ctx: typer.Context, what: str, **flags: Any) -> int:
    """Go on with a stopped picture, from its state, or with a batch or a film, from its folder."""
    if ctx.args:
        raise UsageError(f"resume takes one state or folder, not also {ctx.args[0]!r}")
    if not what:  # an empty variable of a script must not mean the folder one is in
        raise UsageError("no state or folder is named", hint="write it first: vqclip resume FOLDER")
    path = Path(what)
    if (path / FILM_JOB).is_file():
        return resume_film(path, flags)
    return _batch(path, flags, ctx.obj) if path.is_dir() else _picture(path, flags)


def _picture(what: Path, flags: dict[str, Any]) -> int:
    """Paints a single picture to its end, in the place of the unfinished one."""
    from vqclip.runs.painter import literal
    from vqclip.runs.plan import resolve
    from vqclip.runs.recipe import own_models
    from vqclip.sinks.state import read_recipe_of_state

    asked = read_flags(flags)
    state = what if what.name.endswith(".state") else what.with_name(what.name + ".state")
    picture = state.with_name(state.name.removesuffix(".state"))
    inside = read_recipe_of_state(state)
    recipe = preset_from_recipe(inside, name=state.name)
    found = own_models(inside, {key: value for key, value in recipe.dropped.items() if key not in asked.settings})
    ask_for_missing(recipe, {**found, **asked.settings})
    asked = with_threads_of(inside, asked)
    own = {
        "output": literal(str(picture)),
        "state": str(state),
        "overwrite": picture.exists() and _is_unfinished(picture, inside),
        "device": flags.get("device") or str(inside.get("device", "auto")),
    }
    settings = Settings.make(merge(recipe.settings, found, asked.settings), source=state.name)
    job = resolve(settings.check())[0]
    with limited(asked) as stop:
        stopped = paint_one(job, asked.delivery.model_copy(update=own), stop)
    return 128 + stopped if stopped else 0


def _is_unfinished(picture: Path, recipe: Mapping[str, Any]) -> bool:
    """Whether a picture is the one that the state's recipe tells of, or says itself that it was stopped.

    Only such a one is replaced. A private picture says nothing of itself.
    """
    from vqclip.store.folder import digest

    try:
        return recipe.get("picture") == digest(picture) or bool(read_recipe(picture).get("stopped"))
    except (ModelError, PictureError):
        return False


def _batch(folder: Path, flags: dict[str, Any], words: Sequence[str]) -> int:
    from vqclip.runs.batch import planned_jobs
    from vqclip.sinks.ledger import Ledger

    asked = read_flags(flags)
    jobs = planned_jobs(Ledger(folder), asked.settings, lambda text: None if asked.delivery.quiet else say.note(text))
    return carry_out_batch(jobs, folder, asked, {"words": words})
