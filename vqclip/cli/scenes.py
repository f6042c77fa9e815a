"""`vqclip scenes`: a sheet of the captioned scenes that the starter model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqclip.cli import say
from vqclip.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

TILE = 128


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    app.command("scenes")(scenes)


def scenes(
    count: Annotated[int, typer.Option("--count", "-n", help="How many scenes.")] = 64,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the sheet goes: .png.")] = Path("outputs/scenes.png"),
    seed: Annotated[int, typer.Option("--seed", help="The number all of them come from.")] = 0,
) -> int:
    """Render a sheet of the starter's training scenes."""
    from vqclip.sinks.publish import publish
    from vqclip.sinks.sheets import encode_sheet

    if not 1 <= count <= 1024:
        raise UsageError(f"--count {count}: a sheet holds 1 to 1024 scenes")
    if seed < 0:
        raise UsageError(f"--seed {seed}: give a number from 0 up")
    if out.suffix.casefold() != ".png":
        raise UsageError(f"--out {out}: the sheet is a .png")
    say.result(publish(out, encode_sheet(sheet(count, seed))))
    return 0


def sheet(count: int, seed: int) -> Image.Image:
    """Renders scenes side by side, each with its caption below. The same seed gives the same sheet."""
    import numpy as np
    from PIL import Image

    from vqclip.sinks.sheets import Tile, contact_sheet
    from vqclip.starter.captions import caption
    from vqclip.starter.scenes import render
    from vqclip.starter.world import random_scene

    tiles = []
    for n in range(count):
        rng = np.random.default_rng([seed, n])
        scene = random_scene(rng)
        picture = Image.fromarray(render(scene, TILE, rng))
        tiles.append(Tile(picture, caption(scene, rng)))
    return contact_sheet(tiles, side=TILE)
