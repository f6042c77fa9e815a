"""Pickled weight files, read without ever running a line of theirs.

torch.load's weights-only reader does the reading; harmless classes that real training files mention are replaced by an
inert stand-in, and any other name makes the file refused. The zip container is checked before anything is unpacked.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from vqclip.errors import ModelError
from vqclip.store.torchscript import is_program
from vqclip.words import clean

MOST_MEMBERS = 10_000
MOST_PICKLE_BYTES = 64 * 2**20
MOST_STAND_INS = 200

_MEMBER = re.compile(
    r"[^/]+/(data/\d+|data\.pkl|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id)"
)
_HARMLESS_PREFIXES = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "typing.")
_HARMLESS = frozenset(
    {
        "argparse.Namespace",
        "collections.defaultdict",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "numpy.dtype",
        "numpy.ndarray",
        *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
        *(f"builtins.{name}" for name in ("bool", "bytes", "dict", "float", "int", "list", "object", "str", "tuple")),
    }
)
_WANTED = re.compile(r"nsupported (?:global: )?GLOBAL (.+?) (?:was not an allowed|whose module)", re.DOTALL)
_SAFE_HINT = "take a .safetensors file, or one from a source that publishes its checksum"


class _StandIn:
    """Takes the place of a foreign class: it accepts anything and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_pickled(path: Path, *, zipped: bool) -> Any:
    """Reads a pickled weight file, in torch's zip container or its older bare one.

    Storages of a zip stay on the disk until they are used. Raises: ModelError if the file is damaged, not a weight
    file, or asks for anything that is not on the list of harmless names.
    """
    if zipped:
        _check_zip(path)
    allowed: list[tuple[type, str]] = []
    while True:
        try:
            with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        except UnpicklingError as error:
            name = _wanted(str(error))
            if name is None or len(allowed) >= MOST_STAND_INS or any(name == known for _, known in allowed):
                raise _damaged(path) from error
            if not _harmless(name):
                raise _refused(path, name) from error
            allowed.append((_StandIn, name))
        except OSError as error:
            raise ModelError(f"{path.name} cannot be read: {error.strerror or error}") from error
        except Exception as error:  # a damaged pickle can raise anything at all, and none of it is our bug
            raise _damaged(path) from error


def _wanted(message: str) -> str | None:
    found = _WANTED.search(message)
    if not found:
        return None
    name = found.group(1)
    return name if "." in name else f"builtins.{name}"


def _harmless(name: str) -> bool:
    return name in _HARMLESS or name.startswith(_HARMLESS_PREFIXES)


def _refused(path: Path, name: str) -> ModelError:
    return ModelError(
        f"{path.name} is refused as unsafe: it asks for {clean(name)[:200]}, which weights never need", hint=_SAFE_HINT
    )


def _damaged(path: Path) -> ModelError:
    size = f"{path.stat().st_size:,} bytes"
    return ModelError(f"{path.name} is incomplete or not a weight file ({size} here)", hint="get the file again")


def _check_zip(path: Path) -> None:
    """Refuses a zip that torch would not have written: compressed, overlapping, oversized or with foreign members."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
        raise _damaged(path) from error
    names = [member.filename for member in members]
    if any(is_program(name) for name in names):
        raise ModelError(
            f"{path.name} is a TorchScript program, not plain weights, and is not run",
            hint="for one of OpenAI's CLIPs use its open_clip name, such as ViT-B-32/openai",
        )
    if len(members) > MOST_MEMBERS or len(set(names)) != len(names):
        raise ModelError(f"{path.name} is refused: {len(members):,} parts or doubled ones in its zip", hint=_SAFE_HINT)
    for member in members:
        if not _MEMBER.fullmatch(member.filename):
            raise ModelError(f"{path.name} is refused: {clean(member.filename)[:80]!r} in its zip", hint=_SAFE_HINT)
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ModelError(f"{path.name} is refused: its zip is compressed, which torch never does", hint=_SAFE_HINT)
        if member.filename.endswith("/data.pkl") and member.file_size > MOST_PICKLE_BYTES:
            raise ModelError(f"{path.name} is refused: its index alone is {member.file_size:,} bytes", hint=_SAFE_HINT)
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ModelError(f"{path.name} is refused: its parts are larger than the file itself", hint=_SAFE_HINT)
    _check_sums(path, members)


def _check_sums(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Finds flipped bits, which torch would load in silence. (A writer may leave the sums out; then they are 0.)"""
    with zipfile.ZipFile(path) as archive:
        for member in members:
            if member.CRC:
                _check_sum(archive, member, path)


def _check_sum(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    try:
        with archive.open(member) as part:
            while part.read(1 << 20):
                pass
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        said = f"{path.name} is damaged: {clean(member.filename)[:80]} does not fit its own checksum"
        raise ModelError(said, hint="get the file again") from error
