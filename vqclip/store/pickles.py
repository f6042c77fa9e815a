"""Pickled weight files, read without ever running a line of theirs.

torch.load's weights-only reader does the reading, after a rehearsal; harmless classes that real training files mention
are replaced by an inert stand-in, and any other name makes the file refused. The zip container is checked first.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import OrderedDict
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any

import torch

from vqclip.errors import ModelError
from vqclip.store.rehearsal import Unsafe, rehearse
from vqclip.store.torchscript import is_program
from vqclip.words import clean, counted

MOST_MEMBERS = 10_000
MOST_PICKLE_BYTES = 4 * 2**20  # as text of rare letters it takes four times that
MOST_DIRECTORY_BYTES = 2 * 2**20
MOST_NOTE_BYTES = 4096
LEGACY_PICKLES = 5

_MEMBER = re.compile(
    r"[^/]+/(data/\d+|data\.pkl|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id)"
)
_DICTIONARIES = ("Dict", "defaultdict")
_SAFE_HINT = "take a .safetensors file, or one from a source that publishes its checksum"


class _Words:
    """Takes the place of a foreign dictionary, which is filled like any other; it becomes a plain one."""

    def __new__(cls, *args: Any, **kwargs: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


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
    try:
        stand_ins = [
            (_Words if name.endswith(_DICTIONARIES) else _StandIn, name) for name in sorted(_foreign(path, zipped))
        ]
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Unsafe as reason:
        raise _refused(path, str(reason)) from reason
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can raise anything at all, and none of it is our bug
        raise _damaged(path) from error


def _foreign(path: Path, zipped: bool) -> set[str]:
    """The foreign names in a file: in the index of a zip, or in the pickles that the older container begins with."""
    if zipped:
        return rehearse(BytesIO(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")))
    with path.open("rb") as file:
        start = BytesIO(file.read(MOST_PICKLE_BYTES))
    try:
        return set[str]().union(*(rehearse(start) for _ in range(LEGACY_PICKLES)))
    except ValueError:
        if path.stat().st_size > MOST_PICKLE_BYTES == start.tell():
            raise Unsafe(f"more than {MOST_PICKLE_BYTES:,} bytes of index") from None
        raise


def _refused(path: Path, name: str) -> ModelError:
    return ModelError(
        f"{path.name} is refused as unsafe: it asks for {clean(name)[:200]}, which weights never need", hint=_SAFE_HINT
    )


def _damaged(path: Path) -> ModelError:
    size = counted(path.stat().st_size, "byte", form=",")
    return ModelError(f"{path.name} is incomplete or not a weight file ({size} here)", hint="get the file again")


class _Directory(FileIO):
    """A zip read for its list of parts, which is measured before it is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_DIRECTORY_BYTES:
            name = Path(str(self.name)).name
            raise ModelError(f"{name} is refused: the list of its parts alone is {size:,} bytes", hint=_SAFE_HINT)
        return super().read(-1 if size is None else size)


def _check_zip(path: Path) -> None:
    """Refuses a zip that torch would not have written: compressed, overlapping, oversized or with foreign members."""
    try:
        with _Directory(path) as file, zipfile.ZipFile(file) as archive:
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
        if "/data" not in member.filename and member.file_size > MOST_NOTE_BYTES:
            said = f"{clean(member.filename)[:80]} in its zip is {member.file_size:,} bytes"
            raise ModelError(f"{path.name} is refused: {said}", hint=_SAFE_HINT)
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
