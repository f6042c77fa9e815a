"""`vqclip train`: makes models of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vqclip.cli import say, trainers
from vqclip.cli.panels import help_alone

Stage = Literal["all", "adopt", "clip", "vqgan", "painted", "prior", "pack"]
ORDER: tuple[Stage, ...] = ("clip", "vqgan", "painted", "prior", "pack")


def add(app: typer.Typer) -> None:
    """Adds the group with its commands to the app."""
    group = typer.Typer(name="train", help="Train models of your own.", rich_markup_mode=None)
    own = {"vqgan": trainers.vqgan, "clip": trainers.clip, "prior": trainers.prior}
    for name, command in {**own, "starter": starter}.items():
        group.command(name)(command)
    group.callback(invoke_without_command=True)(help_alone)
    app.add_typer(group)


def starter(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where scenes and checkpoints are kept; a training goes on from there.")
    ] = Path("work/starter"),
    stage: Annotated[
        Stage,
        typer.Option(
            "--stage", help="One stage alone, or all that are not finished; adopt begins where the shipped weights end."
        ),
    ] = "all",
    out: Annotated[Path, typer.Option("--out", help="Where `pack` writes the three weight files.")] = Path("starter"),
    share: Annotated[
        float, typer.Option("--share", min=0.0001, max=1.0, help="Cut every stage to this share, to try it out.")
    ] = 1.0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")] = 1,
) -> int:
    """Train the starter from nothing but seeds: scenes, CLIP, VQGAN, prior. Hours; Ctrl-C keeps what is done."""
    from vqclip.runs.cores import share_cores

    share_cores()
    import torch

    from vqclip.runs.adopt import adopt_shipped
    from vqclip.runs.starter import StarterRun, StarterTraining, shorter
    from vqclip.sinks.play import signals
    from vqclip.sinks.training import TrainingLines

    torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    with signals() as stop:
        run = StarterRun(folder, shorter(StarterTraining(), share), stop=stop)
        loops = {
            "clip": run.train_clip,
            "vqgan": run.train_vqgan,
            "painted": run.train_against_painted,
            "prior": run.train_prior,
        }
        for name in ORDER if stage == "all" else (stage,):
            if name == "adopt":
                for path in adopt_shipped(run):
                    say.result(str(path))
            elif name == "pack" and not stop:
                out.mkdir(parents=True, exist_ok=True)
                for path in run.pack(out):
                    say.result(str(path))
            elif not stop:
                loops[name](TrainingLines(name))
    return stop.exit_code
