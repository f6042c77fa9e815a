"""`vqclip train vqgan`, `clip` and `prior`: models from pictures of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vqclip.cli import say

if TYPE_CHECKING:
    from vqclip.runs.training import Outcome

REMEDIES = "try a smaller --batch or --size; for a VQGAN, --accumulate 4. The last checkpoint is whole"

Source = Annotated[Path, typer.Argument(metavar="FOLDER", help="Pictures: a folder, a .csv list or a .tar shard.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="The model, .safetensors. [FOLDER's name and the kind]")]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="How many updates.")]
Minutes = Annotated[float | None, typer.Option("--minutes", min=0.01, help="How long; without --steps also how many.")]
Rate = Annotated[float | None, typer.Option("--lr", min=1e-8, max=1, help="How far an update goes.")]
SaveEvery = Annotated[int | None, typer.Option("--save-every", min=1, help="Steps between checkpoints. [250]")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Where all chance comes from. [0]")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. [as for painting]")]
Dtype = Annotated[Literal["auto", "bfloat16", "float32"] | None, typer.Option("--dtype", help="[auto]")]


def vqgan(
    folder: Source,
    out: Out = None,
    origin: Annotated[str | None, typer.Option("--from", help="Go on from this VQGAN: a name or a file.")] = None,
    origin_config: Annotated[str | None, typer.Option("--from-config", help="The yaml of --from.")] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Pictures per update and process. [8]")] = None,
    accumulate: Annotated[int | None, typer.Option("--accumulate", min=1, help="Parts of a batch. [1]")] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=16, max=1024, help="Side of a crop in pixels. [128]")
    ] = None,
    smallest: Annotated[
        float | None, typer.Option("--smallest-crop", min=0.05, max=1, help="Of a picture's shorter side. [0.5]")
    ] = None,
    flip: Annotated[bool | None, typer.Option("--flip/--no-flip", help="Mirror half of the crops. [True]")] = None,
    learning_rate: Rate = None,
    stride: Annotated[int | None, typer.Option("--stride", help="Pixels per cell: 4, 8 or 16. [8]")] = None,
    channels: Annotated[
        int | None, typer.Option("--channels", min=32, max=512, help="Of the first level, a multiple of 32. [64]")
    ] = None,
    codes: Annotated[int | None, typer.Option("--codes", min=2, max=2**18, help="Rows of the codebook. [1024]")] = None,
    unit: Annotated[bool | None, typer.Option("--unit/--no-unit", help="Codes of length one. [True]")] = None,
    perception: Annotated[
        Literal["auto", "lpips", "clip"] | None, typer.Option("--perception", help="What compares pictures. [auto]")
    ] = None,
    perception_clip: Annotated[
        str | None, typer.Option("--perception-clip", help="Whose layers, where it is a CLIP. [starter]")
    ] = None,
    adversary: Annotated[
        float | None, typer.Option("--adversary", min=0, max=10, help="Weight of the discriminator. [0.3]")
    ] = None,
    adversary_from: Annotated[
        float | None, typer.Option("--adversary-from", min=0, max=1, help="The share of the steps before it. [0.5]")
    ] = None,
    dtype: Dtype = None,
    save_every: SaveEvery = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Train a VQGAN on pictures of your own. Ctrl-C keeps what is done; the same command goes on from there."""
    said = _said(locals())
    return _run("train_vqgan", "train_own_vqgan", folder, out, said, device, threads)


def clip(
    folder: Source,
    out: Out = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="How many updates. [4000]")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.01, help="Stop after so many.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=2, help="Pictures per update. [64]")] = None,
    side: Annotated[int | None, typer.Option("--side", min=32, max=256, help="Of what it looks at. [64]")] = None,
    width: Annotated[int | None, typer.Option("--width", min=8, max=128, help="Of its picture tower. [24]")] = None,
    embedding: Annotated[int | None, typer.Option("--embedding", min=8, help="Of its embeddings. [128]")] = None,
    views: Annotated[int | None, typer.Option("--views", min=1, max=16, help="Of each picture in a batch. [1]")] = None,
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", min=0, max=0.5, help="How far pixels are perturbed. [0.02]")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", min=1e-8, max=1, help="[0.0015]")] = None,
    save_every: SaveEvery = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Train a small CLIP on captioned pictures. Ctrl-C keeps what is done; the same command goes on from there."""
    said = _said(locals())
    return _run("train_clip", "train_own_clip", folder, out, said, device, threads)


def prior(
    folder: Source,
    out: Out = None,
    vqgan: Annotated[str | None, typer.Option("--vqgan", help="Whose latents it sketches. [starter]")] = None,
    clip: Annotated[str | None, typer.Option("--clip", help="Whose words it reads. [starter]")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="How many updates. [4000]")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.01, help="Stop after so many.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Pictures per update. [64]")] = None,
    size: Annotated[int | None, typer.Option("--size", min=16, max=1024, help="Of the pictures. [128]")] = None,
    fine: Annotated[bool, typer.Option("--fine", help="Learn to refine at twice the size too. [False]")] = False,
    learning_rate: Annotated[float | None, typer.Option("--lr", min=1e-8, max=1, help="[0.002]")] = None,
    save_every: SaveEvery = None,
    seed: Seed = None,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Train a prior on captioned pictures, for one VQGAN and one CLIP. Ctrl-C keeps what is done."""
    said = _said({**locals(), "fine": fine or None})
    return _run("train_prior", "train_own_prior", folder, out, said, device, threads)


def _said(values: dict[str, Any]) -> dict[str, Any]:
    apart = ("folder", "out", "device", "threads")
    return {name: value for name, value in values.items() if value is not None and name not in apart}


def _run(
    module: str, name: str, folder: Path, out: Path | None, said: dict[str, Any], device: str, threads: int | None
) -> int:
    import importlib

    from vqclip.runs.device import memory_errors, set_threads
    from vqclip.sinks.play import signals

    kind = module.removeprefix("train_")
    train = getattr(importlib.import_module(f"vqclip.runs.{module}"), name)
    target = out or Path(f"{folder.absolute().name.removesuffix(folder.suffix)}-{kind}.safetensors")
    set_threads(threads)
    with signals() as stop, memory_errors("training", REMEDIES):
        outcome: Outcome = train(folder, target, said, device=device, stop=stop, note=say.note)
    _tell(outcome, kind)
    return outcome.exit_code


def _tell(outcome: Outcome, kind: str) -> None:
    if outcome.path is None:
        return
    if outcome.steps_done < outcome.steps:
        say.note(f"stopped at step {outcome.steps_done} of {outcome.steps}; the same command goes on from there")
    say.result(outcome.path)
