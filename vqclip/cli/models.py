"""`vqclip models`: which models there are, and bringing them here, checking, converting and removing them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqclip.cli import model_facts, say
from vqclip.cli.network import is_offline
from vqclip.cli.panels import help_alone
from vqclip.errors import ModelError, UsageError
from vqclip.words import before_download

if TYPE_CHECKING:
    from vqclip.store.clips import Clip
    from vqclip.store.download import Progress

Names = Annotated[list[str], typer.Argument(help="Names from `vqclip models list`.", metavar="NAME...")]
Some = Annotated[list[str] | None, typer.Argument(help="Names; all that are here if none is given.", metavar="NAME...")]
One = Annotated[str, typer.Argument(help="A name, or a weight file.", metavar="NAME|FILE")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per model.")]


def add(app: typer.Typer) -> None:
    """Adds the group with its commands to the app."""
    group = typer.Typer(name="models", help="Get, check and convert models.", rich_markup_mode=None)
    group.callback(invoke_without_command=True)(help_alone)
    for name, command in (
        ("list", list_models),
        ("info", info),
        ("get", get),
        ("add", add_files),
        ("verify", verify),
        ("convert", convert),
        ("export", export),
        ("path", path),
        ("rm", rm),
    ):
        group.command(name)(command)
    app.add_typer(group)


def list_models(
    clip: Annotated[bool, typer.Option("--clip", help="The CLIPs, instead of the VQGANs.")] = False,
    json: Json = False,
) -> int:
    """List the models known by name, and which of them are here."""
    for facts in model_facts.clips() if clip else model_facts.vqgans():
        if json:
            say.json_line(facts)
        else:
            say.data(model_facts.clip_row(facts) if clip else model_facts.vqgan_row(facts))
    if clip and not json:
        say.note("every other model and tag of open_clip works too, as --clip NAME/TAG")
    return 0


def info(name: Annotated[str, typer.Argument(help="A name.", metavar="NAME")], json: Json = False) -> int:
    """Show all that is known about one model."""
    facts = model_facts.facts_of(name)
    if json:
        say.json_line(facts)
    else:
        say.data(model_facts.page(facts))
    return 0


def get(
    names: Names, offline: Annotated[bool, typer.Option("--offline", help="Never touch the network.")] = False
) -> int:
    """Fetch models: VQGANs into the model folder, CLIPs into the shared Hugging Face cache."""
    from vqclip.store.clips import clip_name, find_clip

    for name in names:
        known = find_clip(name)
        if known is not None:
            say.result(_get_clip(known, is_offline(offline)))
        elif "/" in clip_name(name):
            say.result(_get_other_clip(clip_name(name), is_offline(offline)))
        else:
            say.result(_get_vqgan(name, is_offline(offline)))
    return 0


def add_files(
    files: Annotated[list[Path], typer.Argument(help="Weight files.", metavar="FILE...")],
    name: Annotated[str | None, typer.Option("--name", help="The name to know it by (of one file).")] = None,
) -> int:
    """Copy weight files into the model folder, and record their checksums."""
    from vqclip.store.stock import add as add_file

    if name is not None and len(files) > 1:
        raise UsageError("--name is for one file", hint="add them one by one")
    for file in files:
        say.result(add_file(file, name, say.note))
    return 0


def verify(names: Some = None) -> int:
    """Check the files in the model folder against their checksums; record those that have none yet."""
    from vqclip.store import stock

    wrong = 0
    for file in [file for name in names for file in stock.files_of(name)] if names else stock.stored():
        try:
            stock.verify(file, say.note)
            say.data(f"ok      {file.name}")
        except ModelError as error:
            wrong += 1
            say.data(f"WRONG   {file.name}: {error.message}" + (f" - {error.hint}" if error.hint else ""))
    return ModelError.exit_code if wrong else 0


def convert(
    name: One,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The .safetensors file to write.")] = None,
    half: Annotated[bool, typer.Option("--half", help="16-bit numbers: half the size, nearly the same.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Remove the original afterwards.")] = False,
) -> int:
    """Convert a checkpoint to a small .safetensors file, without what only training needs."""
    from vqclip.store.convert import convert as convert_model

    say.result(convert_model(name, output, half=half, replace=replace))
    return 0


def export(
    name: One, file: Annotated[Path, typer.Argument(help="The .ckpt to write; its .yaml goes beside it.")]
) -> int:
    """Write a VQGAN as a checkpoint and a .yaml that taming-transformers reads."""
    from vqclip.store.convert import export as export_model

    for written in export_model(name, file):
        say.result(written)
    return 0


def path(name: Annotated[str | None, typer.Argument(help="A name.", metavar="NAME")] = None) -> int:
    """Print the model folder, or where a model's file is."""
    from vqclip.store.folder import model_folder
    from vqclip.store.stock import files_of

    say.result(model_folder() if name is None else files_of(name)[0])
    return 0


def rm(names: Names) -> int:
    """Remove models from the model folder."""
    from vqclip.store.stock import files_of, remove

    for name in names:
        files_of(name)  # all are there before any is removed
    for name in names:
        for file in remove(name):
            say.note(f"removed {file}")
    return 0


def _get_vqgan(name: str, offline: bool) -> Path:
    from vqclip.store.folder import in_folder
    from vqclip.store.registry import find
    from vqclip.store.stock import get as get_model

    model = find(name)
    if model.mirrors and not offline and in_folder(model.name) is None:
        say.note(before_download(model.name, model.download, model.license, noncommercial=model.noncommercial))
    with _bar(model.name) as progress:
        return get_model(name, offline=offline, note=say.note, progress=progress)


def _get_clip(clip: Clip, offline: bool) -> Path:
    from vqclip.store.clips import download_notice, fetch_clip, in_cache
    from vqclip.store.clipseen import hold

    if not offline and in_cache(clip) is None:
        say.note(download_notice(clip.name))
    path = fetch_clip(clip, offline=offline)
    if said := hold(clip.name, path):
        say.note(said)
    return path


def _get_other_clip(name: str, offline: bool) -> Path:
    from vqclip.store.clipseen import hold
    from vqclip.store.openclip import fetch_notice, fetch_other_clip

    if not offline and (said := fetch_notice(name)):
        say.note(said)
    path = fetch_other_clip(name, offline=offline)
    if said := hold(name, path):
        say.note(said)
    return path


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    """A bar on stderr while bytes come; where stderr is no terminal, nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console, bar = Console(stderr=True), (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(
        TextColumn(name, markup=False), *bar, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task(name, total=None)
        yield lambda here, total: shown.update(task, completed=here, total=total)
