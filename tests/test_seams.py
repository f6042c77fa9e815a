"""A seam finder, and what it finds: nothing in pictures painted in bands, nothing where tiles meet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from vqclip.cli.main import main
from vqclip.models.vqgan import VQGAN
from vqclip.ops import bands
from vqclip.ops.pixels import to_tensor
from vqclip.store.vqgans import load_vqgan

BAND = 16
SIDE = 64


def seam(picture: Tensor, places: list[int], *, across: bool = False) -> float:
    """How much more a picture [B, C, H, W] bends between rows place - 1 and place than three rows off on both sides.

    About 1 where there is no seam. What bends is the second difference, so that no slope is taken for a seam. across
    looks between columns instead.
    """
    rows = picture.mT if across else picture
    bent = rows.diff(n=2, dim=2).abs().mean(dim=(0, 1, 3))
    at = torch.stack([bent[place - 2 : place].mean() for place in places])
    beside = torch.stack(
        [torch.cat([bent[place - 6 : place - 3], bent[place + 1 : place + 4]]).mean() for place in places]
    )
    return float(at.mean() / beside.mean())


@pytest.fixture(scope="module")
def starter() -> VQGAN:
    return load_vqgan("starter", dtype=torch.float32)


@pytest.fixture(scope="module")
def latent(starter: VQGAN) -> Tensor:
    """A picture of the starter's world, as a latent: hills and a sky without any edge along a row."""
    x, y = torch.meshgrid(torch.linspace(0, 3, 2 * SIDE), torch.linspace(0, 3, 2 * SIDE), indexing="xy")
    image = torch.stack([0.5 + 0.4 * torch.sin(x + y), 0.5 + 0.3 * torch.cos(2 * x - y), 0.5 + 0.2 * torch.sin(y)])
    return starter.tokenize(image[None])[0]


def test_the_starter_in_bands_paints_the_whole_picture_and_no_seam_is_found(starter, latent, monkeypatch):
    def decoded(rows: int, *, lean: bool = False) -> Tensor:
        monkeypatch.setattr(bands, "band_rows", lambda *_: rows)
        return starter.decode(latent.detach().requires_grad_(), lean=lean).detach()  # only a gradient makes it lean

    whole = decoded(10**6)
    borders = list(range(BAND, 2 * SIDE, BAND))
    for lean in (False, True):
        banded = decoded(BAND, lean=lean)
        assert float((banded - whole).abs().max()) < 1 / 255
        assert seam(banded, borders) == pytest.approx(seam(whole, borders), rel=0.01)
    half = latent.shape[2] // 2
    with torch.no_grad():  # what the finder is for: two tiles that do not know of each other
        apart = torch.cat([starter.decode(part) for part in latent.split(half, dim=2)], dim=2)
    assert seam(apart, [SIDE]) > 1.5 * seam(whole, [SIDE])


@pytest.mark.parametrize("tile", ["both", "none"])
def test_a_tile_of_the_command_line_laid_out_two_by_two_has_no_seam(tile, tmp_path: Path, capsys):
    flags = ["--size", str(SIDE), "--steps", "6", "--cutouts", "8", "--init", "codes", "--seed", "3", "--quiet"]
    command = ["a castle in fog", *flags, "--tile", tile, "--device", "cpu", "--dtype", "float32"]
    assert main([*command, "-o", f"{tmp_path}/"]) == 0
    picture = to_tensor(Image.open(capsys.readouterr().out.strip()))
    laid = picture.repeat(1, 1, 2, 2)
    found = [seam(laid, [SIDE], across=across) for across in (False, True)]
    if tile == "both":
        assert max(found) < 3
    else:
        assert min(found) > 6
