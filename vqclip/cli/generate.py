"""`vqclip "PROMPT"`: from flags and preset to settings, and from settings to finished pictures."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqclip.cli import say
from vqclip.cli.group import near_command
from vqclip.cli.limit import limited
from vqclip.cli.options import Asked, Flag, flag_parameters, going_on_flags, read_flags
from vqclip.cli.panels import PanelCommand
from vqclip.errors import DivergedError, MemoryFullError, PartialError, PictureError, UsageError
from vqclip.presets import Preset, load_preset, merge, names_a_file, preset_from_recipe
from vqclip.prompts import parse_prompts, repair
from vqclip.settings import Delivery, Settings

if TYPE_CHECKING:
    from vqclip.sinks.play import StopFlag

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
FILMS = (".mp4", ".webm", ".mov", ".gif")
MAX_STDIN = 1024 * 1024
FLAG_OF = {"image_prompts": "--image-prompt", "vqgan_config": "--vqgan-config", "init_image": "--init-image"}


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    prompt = inspect.Parameter(
        "prompt",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[
            str | None,
            typer.Argument(
                help="What to paint: TEXT[:WEIGHT[:STOP]], several joined by |. A - reads standard input.",
                metavar="PROMPT",
                show_default=False,
            ),
        ],
    )
    add_with_flags(app, generate, prompt)


def add_with_flags(
    app: typer.Typer,
    command: Any,
    first: inspect.Parameter,
    *own: inspect.Parameter,
    without: frozenset[str] = frozenset(),
    more: Sequence[Flag] = (),
) -> None:
    """Adds a command of one argument, options of its `own`, and the flags that say how to paint, with `more`."""
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)

    def call(ctx: typer.Context, **values: Any) -> int:
        return command(ctx, **values)

    flags = flag_parameters(without=without, more=more)
    call.__signature__ = inspect.Signature([context, first, *own, *flags])  # type: ignore[attr-defined]
    call.__annotations__ = {}
    call.__doc__ = command.__doc__
    app.command(command.__name__, cls=PanelCommand, context_settings={"allow_extra_args": True})(call)


def generate(ctx: typer.Context, prompt: str | None, **flags: Any) -> int:
    """Paint a picture from words. The word `generate` itself may be left out."""
    asked = read_flags(flags)
    return carry_out(read_settings(ctx, prompt, asked), asked)


def read_settings(ctx: typer.Context, prompt: str | None, asked: Asked) -> Settings:
    """The settings that preset, flags and prompt come to. Raises: UsageError, PictureError."""
    if ctx.args:
        raise _unquoted([prompt or "", *ctx.args], list(ctx.parent.command.commands) if ctx.parent else [])
    if prompt is not None and asked.prompt is not None:
        raise UsageError(
            f"there are two prompts: {asked.prompt!r:.80} and {prompt!r:.80}", hint='join them: "one | other"'
        )
    preset = find_look(asked.preset) if asked.preset else Preset("none", {})
    for text in () if asked.delivery.quiet else preset.notes:
        say.note(text)
    words = {"prompt": _prompt(asked.prompt if prompt is None else prompt)}
    return Settings.make(laid_over(preset, asked.settings, words))


def laid_over(look: Preset, *layers: Mapping[str, Any]) -> dict[str, Any]:
    """What layers of settings come to over a preset.

    A picture's recipe holds also what was only its start's own, such as the learning rate: another start has another.
    """
    said = merge(*layers)
    if not look.painted:
        return merge(look.settings, said)
    from vqclip.runs.plan import outdated

    open_again = outdated({**look.settings, **look.dropped}, said)
    return merge({key: value for key, value in look.settings.items() if key not in open_again}, said)


def find_look(name: str) -> Preset:
    """A preset by its name or file, or the recipe inside a picture. Raises: UsageError, PictureError."""
    if not name.casefold().endswith(PICTURES):
        return load_preset(name)
    return preset_from_recipe(read_recipe(Path(name)), name=name)


def read_recipe(path: Path) -> Mapping[str, Any]:
    """The recipe inside a picture or film, or in the `.json` file beside it. Raises: PictureError if there is none."""
    from vqclip.sinks import metadata

    if path.suffix.casefold() in FILMS:
        from vqclip.sinks.filmdata import read_film_recipe

        return read_film_recipe(path)
    try:
        with path.open("rb") as file:
            if path.suffix.casefold() == ".json":
                return metadata.parse_recipe(file.read(metadata.MAX_TEXT + 1).decode("utf-8-sig"), name=path.name)
            return metadata.read_recipe(file, name=path.name)
    except OSError as error:
        raise PictureError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PictureError(f"{path}: not UTF-8 text (byte {error.start})") from error


def carry_out(settings: Settings, asked: Asked) -> int:
    """Resolves the settings and paints, or shows the plan. Returns the exit code.

    Raises: PartialError if some of several pictures diverged; whatever else stops a run.
    """
    settings.check()
    if not asked.delivery.quiet:
        _note_heavy_weights(settings)
    from vqclip.runs.plan import resolve

    resolved, notes = resolve(settings)
    notes = [*([f"seed {resolved.seed}"] if asked.fresh_seed else []), *notes]
    for text in () if asked.delivery.quiet else notes:
        say.note(text)
    jobs = [resolved.changed(seed=((resolved.seed or 0) + n) % 2**32) for n in range(asked.count)]
    _refuse_to_overwrite_each_other(jobs, asked.delivery)
    if asked.dry_run:
        note_inputs(resolved, asked.delivery)
        return show_plan(jobs, asked)
    with limited(asked) as stop:
        return _paint_all(jobs, asked, stop)


def _paint_all(jobs: list[Settings], asked: Asked, stop: StopFlag) -> int:
    failed: list[DivergedError | MemoryFullError] = []
    for number, job in enumerate(jobs, start=1):
        try:
            stopped = paint_one(job, asked.delivery.model_copy(update={"number": number}), stop)
        except (DivergedError, MemoryFullError) as error:
            if asked.count == 1:
                raise
            failed.append(error)
            say.failure(error.message, error.hint, error.exit_code, as_json=asked.delivery.json_lines)
            continue
        if stopped:
            if number < asked.count and not asked.delivery.quiet:
                rest = f"the same with --seed {jobs[number].seed} --count {asked.count - number} paints the rest"
                say.note(f"not begun: {asked.count - number} of {asked.count} pictures; {rest}")
            return 128 + stopped
    if len(failed) == asked.count:
        raise failed[-1]
    if failed:
        raise PartialError(f"{len(failed)} of {asked.count} pictures failed", hint="the others are finished")
    return 0


def note_inputs(settings: Settings, delivery: Delivery) -> None:
    """Looks at what a plan needs, and says what is not here yet. Raises: ModelError, PictureError, UsageError."""
    from vqclip.runs.inputs import check_inputs

    for text in check_inputs(settings, device=delivery.device):
        if not delivery.quiet:
            say.note(text)


def show_plan(jobs: list[Settings], asked: Asked) -> int:
    """Shows what would be painted, and where it would go. Returns 0."""
    from vqclip.runs.estimate import estimate, fit, in_words
    from vqclip.runs.plan import target

    for number, job in enumerate(jobs, start=1):
        delivery = asked.delivery.model_copy(update={"number": number})
        path = target(job, delivery)
        job = fit(job, delivery, _silent if delivery.quiet else say.note) if delivery.fit else job
        values = {**job.model_dump(mode="json"), "output": str(path)}
        values |= in_words(estimate(job, delivery))
        if asked.delivery.json_lines:
            say.json_line({"plan": values})
        else:
            say.table(values)
    return 0


def paint_one(job: Settings, delivery: Delivery, stop: StopFlag) -> int:
    """Paints one picture, says where it is, and returns the signal that stopped it (by way of `stop`), or 0.

    If it was stopped, the line that goes on with it is printed, but not with --quiet. Raises: any kind of VqclipError.
    """
    from vqclip.runs.cores import share_cores
    from vqclip.runs.inputs import check_pictures
    from vqclip.runs.plan import target
    from vqclip.sinks.publish import prepare

    check_pictures(job)  # before torch is loaded, as the next line: an error here should be quick
    prepare(target(job, delivery))
    share_cores()
    from vqclip.runs.picture import paint_picture

    done = paint_picture(job, delivery, on_note=_silent if delivery.quiet else say.note, stop=stop)
    path = None if done.path is None else str(done.path)
    if delivery.json_lines:
        recipe = done.settings.model_dump(mode="json")
        facts = {"path": path, "seed": done.settings.seed, "seconds": done.seconds, "steps": done.steps_done}
        film = {"film": str(done.film)} if done.film else {}
        say.json_line({**facts, **film, "stopped": done.stopped, "settings": recipe})
    else:
        for found in (path, done.film):
            if found is not None:
                say.result(found)
    if done.state is not None and not delivery.quiet:
        say.note(f"go on with: {_going_on(done.state, job, delivery)}")
    return int(done.stopped or 0)


def _going_on(state: Path, job: Settings, delivery: Delivery) -> str:
    """The command that goes on from a state: it names the files that the state may not."""
    own = {key: value for key, value in job.model_dump().items() if value and names_a_file(key, value)}
    words = ["vqclip", "resume", str(state)]
    for key, value in own.items():
        for one in value if isinstance(value, tuple) else [value]:
            words += [FLAG_OF.get(key, f"--{key}"), str(one)]
    return shlex.join([*words, *going_on_flags(delivery)])


def _refuse_to_overwrite_each_other(jobs: list[Settings], delivery: Delivery) -> None:
    from vqclip.runs.plan import target

    if delivery.overwrite and len(jobs) > 1:
        paths = {target(job, delivery.model_copy(update={"number": n})) for n, job in enumerate(jobs, start=1)}
        if len(paths) < len(jobs):
            raise UsageError(
                f"--overwrite with --count {len(jobs)}: each picture would replace the one before",
                hint="let the name tell them apart: --output 'castle-{n}.png' or '{slug}-{seed}.png'",
            )


def _silent(text: str) -> None:
    """Takes a note and says nothing, for --quiet."""


def _prompt(text: str | None) -> str | None:
    return repair(_standard_input() if text == "-" else text) if text is not None else None


def _standard_input() -> str:
    data = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise UsageError("the prompt on standard input is longer than 1 MB")
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"the prompt on standard input is not UTF-8 (byte {error.start})") from error


def _unquoted(words: list[str], commands: list[str]) -> UsageError:
    whole = " ".join(word for word in words if word)
    near = near_command(words[0], commands)
    also = f"; did you mean `vqclip {near}`?" if near else ""
    return UsageError("the prompt is several words", hint=f'put the prompt in quotes: vqclip "{whole}"{also}')


def _note_heavy_weights(settings: Settings) -> None:
    for prompt in parse_prompts(settings.prompt, settings.negative):
        if abs(prompt.weight) > 10:
            say.note(rf"the weight of {prompt.text!r} is {prompt.weight:g}; if that is text, write \: for its colon")
