"""A file from the first mirror that has it: taken up where it broke off, hashed on the way, published only if right."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vqclip.errors import ModelError, OutputError
from vqclip.store.containers import START_BYTES, recognize
from vqclip.store.web import Answer, Dropped, Refused, asked, host
from vqclip.words import counted

CHUNK = 1 << 20
MOST_STALLS = 4
MOST_TRIES = 50

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Wanted:
    """The file to fetch: where it goes, whence (in this order), and how it is known to be the right one."""

    target: Path
    mirrors: Sequence[str]
    size: int | None = None
    sha256: str | None = None

    @property
    def part(self) -> Path:
        """What has come so far."""
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def source(self) -> Path:
        """Whence the part came, and which version: without a checksum, two must not be mixed."""
        return self.target.with_name(f".{self.target.name}.source")


def fetch(wanted: Wanted, *, note: Callable[[str], None], progress: Progress, pause: float = 1.0) -> str:
    """Brings a file to its target, from the first mirror that gives the right one, and returns its sha256.

    progress hears (bytes here, bytes in all or None); pause is the first wait, in seconds, after a broken transfer.
    What has come stays for the next time if this is stopped. Raises: ModelError with each mirror's reason;
    OutputError if it cannot be written.
    """
    reasons = []
    with _alone(wanted):
        for url in wanted.mirrors:
            try:
                sha256 = _from_mirror(url, wanted, progress, pause)
            except Refused as reason:
                reasons.append(f"{host(url)} {reason}")
                note(reasons[-1])
                continue
            _publish(wanted)
            return sha256
    raise ModelError(
        f"{wanted.target.name} cannot be fetched: {'; '.join(reasons) or 'it has no mirror'}",
        hint=f"try again later, or fetch it by hand and say: vqclip models add FILE --name {wanted.target.stem}",
    )


def _from_mirror(url: str, wanted: Wanted, progress: Progress, pause: float) -> str:
    """Asks one mirror until it has given the whole file, or stalls too often. Raises: Refused."""
    stalls, last = 0, ""
    for _ in range(MOST_TRIES):
        before = _size(wanted.part)
        try:
            return _transfer(url, wanted, progress)
        except Dropped as reason:
            last = str(reason)
            if reason.useless:
                wanted.part.unlink(missing_ok=True)
            stalls = 0 if _size(wanted.part) >= before + CHUNK else stalls + 1
        if stalls >= MOST_STALLS:
            break
        time.sleep(pause * 2**stalls)
    raise Refused(f"broke off again and again ({last})")


def _transfer(url: str, wanted: Wanted, progress: Progress) -> str:
    """One request: for the rest of the file, or for all of it. Raises: Refused, Dropped, OutputError."""
    tag = _tag(url, wanted)
    have = _size(wanted.part) if wanted.sha256 or tag else 0
    if have and have == wanted.size:
        with _written(wanted), open(wanted.part, "rb", opener=_no_link) as file:
            return _right(_hash_of(file, have).hexdigest(), have, wanted, resumed=True)
    with asked(url, have, "" if wanted.sha256 else tag) as answer:
        total = wanted.size if answer.total is None else answer.total
        if total is None:  # the end of the file and a broken transfer would look the same
            raise Refused("does not say how large the file is")
        start = _checked_start(answer, total, wanted)
        with _written(wanted):
            if answer.offset == 0:
                with open(wanted.source, "w", encoding="utf-8", opener=_no_link) as source:
                    source.write(f"{url}\n{answer.tag}")
            with open(wanted.part, "r+b" if answer.offset else "wb", opener=_no_link) as file:
                hasher = _hash_of(file, answer.offset)
                got = _pour(start, answer, file, hasher, total, progress)
    if got < total:
        raise Dropped(f"{got:,} of {counted(total, 'byte', form=',')} came")
    return _right(hasher.hexdigest(), got, wanted, resumed=answer.offset > 0)


def _tag(url: str, wanted: Wanted) -> str:
    """The mark by which this mirror knows the version of the file that the part is of; "" if there is none."""
    try:
        address, tag = wanted.source.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return ""
    return tag if address == url and not tag.startswith("W/") else ""


def _checked_start(answer: Answer, total: int, wanted: Wanted) -> bytes:
    """The first bytes, before anything here is touched. Raises: Refused, Dropped, OutputError."""
    start = answer.read(START_BYTES)
    if not start and total:
        raise Dropped("nothing came")
    if answer.offset == 0:
        try:
            recognize(start, total, "what it sends")
        except ModelError as error:
            raise Refused(f"has no weights: {error.message}") from error
    if wanted.size is not None and total != wanted.size:
        raise Refused(f"has another file: {counted(total, 'byte', form=',')}, not {wanted.size:,}")
    missing, free = total - answer.offset, shutil.disk_usage(wanted.target.parent).free
    if missing > free:
        raise OutputError(
            f"{wanted.target.name} needs {missing / 1e6:,.0f} MB more, and the disk has {free / 1e6:,.0f} MB left",
            hint="make room, or name another folder for models: see docs/guides/models.md",
        )
    return start


def _pour(start: bytes, answer: Answer, file: BinaryIO, hasher: Any, total: int, progress: Progress) -> int:
    """Writes and hashes what comes, from the answer's offset on; returns how much of the file is here then.

    A mirror that sends more than the file has is not listened to for long.
    """
    got, chunk = answer.offset, start
    file.truncate(got)
    file.seek(got)
    while chunk and got <= total:
        file.write(chunk)
        hasher.update(chunk)
        got += len(chunk)
        progress(got, total)
        chunk = answer.read(CHUNK)
    return got


def _hash_of(file: BinaryIO, length: int) -> Any:
    """A hasher that has seen the first `length` bytes of a file."""
    hasher = hashlib.sha256()
    while length > 0 and (chunk := file.read(min(CHUNK, length))):
        hasher.update(chunk)
        length -= len(chunk)
    return hasher


def _right(sha256: str, size: int, wanted: Wanted, *, resumed: bool) -> str:
    """Lets through only the file that was wanted, and throws any other away.

    Raises: Refused; Dropped if what was here before may have been the wrong half.
    """
    if wanted.size not in (None, size):
        said = f"gives {counted(size, 'byte', form=',')}, not {wanted.size:,}"
    elif wanted.sha256 not in (None, sha256):
        said = f"gives another file: sha256 {sha256}, not {wanted.sha256}"
    else:
        return sha256
    wanted.part.unlink(missing_ok=True)
    raise (Dropped if resumed else Refused)(said)


def _publish(wanted: Wanted) -> None:
    with _written(wanted):
        with wanted.part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(wanted.part, wanted.target)
        wanted.source.unlink(missing_ok=True)


@contextmanager
def _written(wanted: Wanted) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{wanted.target} cannot be written: {error.strerror or error}",
            hint="what has come is kept: once the folder can be written, say it again",
        ) from error


@contextmanager
def _alone(wanted: Wanted) -> Iterator[None]:
    """Keeps a second vqclip from fetching the same file at the same time."""
    from filelock import FileLock, Timeout

    with _written(wanted):
        wanted.target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(wanted.target.with_name(f".{wanted.target.name}.lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise ModelError(f"{wanted.target.name} is being fetched by another vqclip", hint="wait for it") from error
    try:
        yield
    finally:
        lock.release()


def _no_link(path: str, flags: int) -> int:
    """Opens a file of a known name, but never what a link of that name points to: the folder may be shared."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
