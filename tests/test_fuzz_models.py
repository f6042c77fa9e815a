"""Weight files of every family, damaged at random, through the command line: done, or exit code 4 and one sentence."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from test_goldens_vqgans import FAMILIES, GOLDENS, golden

from vqclip.cli.main import main

MOST_MEGABYTES = 50
FORMATS = sorted(path.name for path in (GOLDENS / "formats").iterdir())
SHORT, LONG = 5, 120


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 3, 30])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_early(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 2, 8])):
        data[rng.randrange(min(len(data), 4000))] = rng.randrange(256)


def overwrite(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    length = min(rng.choice([4, 100, 5000]), len(data) - start)
    data[start : start + length] = rng.choice([bytes(length), b"\xff" * length, rng.randbytes(length)])


def move(data: bytearray, rng: random.Random) -> None:
    start, length = rng.randrange(len(data)), rng.choice([1, 64, 1024])
    piece = data[start : start + length]
    del data[start : start + length]
    place = rng.randrange(len(data) + 1)
    data[place:place] = piece


def digits(data: bytearray, rng: random.Random) -> None:
    """Other numbers where the text of a header or a config has some."""
    for place in [n for n, byte in enumerate(data[:20_000]) if chr(byte).isdigit()][:: rng.choice([2, 7, 40])]:
        data[place] = rng.choice(b"0123456789")


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (cut, flip, flip_early, overwrite, move, digits)


def damaged(source: Path, target: Path, rng: random.Random) -> Path:
    data = bytearray(source.read_bytes())
    for damage in rng.sample(DAMAGES, rng.choice([1, 1, 2])):
        if data:
            damage(data, rng)
    target.write_bytes(data)
    return target


def peak(*, anew: bool = False) -> float:
    """The most memory held so far or since it was counted anew, in MB; 0 where the system does not tell."""
    if not Path("/proc/self/clear_refs").exists():
        return 0
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def ends_well(path: Path, target: Path, capsys: pytest.CaptureFixture[str]) -> int:
    """Converts a file, and checks code, sentence and memory. The code."""
    before = peak(anew=True)
    code = main(["models", "convert", str(path), "--output", str(target)])
    said = capsys.readouterr().err
    assert peak() - before < MOST_MEGABYTES
    assert code in (0, 4), said
    assert "Traceback" not in said and said.count("error: ") == (code == 4)
    target.unlink(missing_ok=True)
    return code


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the first conversion of a process imports is no matter of a file."""
    _, checkpoint, _, _ = golden("taming_vqgan")
    assert (
        main(["models", "convert", str(checkpoint), "-o", str(tmp_path_factory.mktemp("warm") / "x.safetensors")]) == 0
    )


@pytest.mark.parametrize("times", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_damaged_file_of_a_family_ends_in_a_model_or_a_sentence(name, times, tmp_path, capsys):
    _, checkpoint, config, _ = golden(name)
    codes = []
    for number in range(times):
        rng = random.Random(f"{name} {number}")
        hit = config if config and rng.random() < 0.3 else checkpoint
        for source in filter(None, (checkpoint, config)):
            shutil.copy(source, tmp_path / source.name)
        damaged(hit, tmp_path / hit.name, rng)
        codes.append(ends_well(tmp_path / checkpoint.name, tmp_path / "out.safetensors", capsys))
    assert 4 in codes


@pytest.mark.parametrize("times", [2, pytest.param(60, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_of_any_container_and_the_wrong_kind_ends_in_a_sentence(name, times, tmp_path, capsys):
    shutil.copy(GOLDENS / "formats" / name, tmp_path / name)
    assert ends_well(tmp_path / name, tmp_path / "out.safetensors", capsys) == 4
    for number in range(times):
        if (GOLDENS / "formats" / name).stat().st_size:
            damaged(GOLDENS / "formats" / name, tmp_path / name, random.Random(f"{name} {number}"))
            ends_well(tmp_path / name, tmp_path / "out.safetensors", capsys)
