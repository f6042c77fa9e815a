"""Tools of the tests of the trainings: pictures to learn from, small settings, and the command in this process."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqclip.cli.main import main

SMALL = {
    "--steps": "8",
    "--batch": "2",
    "--size": "16",
    "--stride": "4",
    "--channels": "32",
    "--codes": "16",
    "--dtype": "float32",
    "--save-every": "3",
    "--threads": "1",
    "--device": "cpu",
}
PROGRAM = [sys.executable, "-c", "import sys; from vqclip.cli.main import main; sys.exit(main(sys.argv[1:]))"]


@dataclass(frozen=True)
class Said:
    """What one call of `vqclip` answered."""

    code: int
    out: str
    err: str


class Call:
    """Calls `vqclip` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: str) -> Said:
        self._capsys.readouterr()
        code = main(args)
        return Said(code, *self._capsys.readouterr())


def make_pictures(folder: Path, count: int = 5) -> Path:
    """A folder of small pictures of colored blocks, each with a caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        blocks = Image.fromarray(rng.integers(0, 255, (3, 4, 3), dtype=np.uint8))
        blocks.resize((32, 24), Image.Resampling.NEAREST).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"blocks number {number}\na picture of blocks\n")
    return folder


def cut_short(path: Path) -> Path:
    """A JPEG whose second half never arrived."""
    noise = np.random.default_rng(9).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Lets no file of this process grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def vqgan_command(folder: Path, out: Path, **changed: str | None) -> list[str]:
    """`train vqgan` with small settings; changed: flags by name, None leaves one out."""
    flags = {**SMALL, **{f"--{name.replace('_', '-')}": value for name, value in changed.items()}}
    said = [word for name, value in flags.items() if value is not None for word in (name, value)]
    return ["train", "vqgan", str(folder), "--out", str(out), *said]
