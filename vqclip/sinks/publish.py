"""Files that appear whole or not at all, and never on top of another one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import socket
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from vqclip.errors import OutputError
from vqclip.sinks.names import numbered

STALE_SECONDS = 3600.0
LOCK_SECONDS = 5.0

_PREFIX, _SUFFIX = ".vqclip-", ".part"
_REASONS = {
    "ENOSPC": ("the disk is full", "free some space, or choose another place with --output"),
    "EDQUOT": ("the disk quota is used up", "free some space, or choose another place with --output"),
    "EFBIG": ("the file is larger than this disk or shell allows", "choose another place with --output"),
    "EACCES": ("no permission to write there", "choose another place with --output"),
    "EPERM": ("no permission to write there", "choose another place with --output"),
    "EROFS": ("that disk is read-only", "choose another place with --output"),
    "ENOTDIR": ("a part of the path is a file, not a folder", "choose another place with --output"),
    "EISDIR": ("there is a folder of that name", "choose another name with --output"),
    "ENAMETOOLONG": ("the name is too long", "choose a shorter one with --output"),
    "ENOENT": ("the folder is gone", None),
    "EIO": ("the disk reports an error", None),
}
_BY_NUMBER = {getattr(errno, name): reason for name, reason in _REASONS.items() if hasattr(errno, name)}
# What file systems without hard links (exFAT, some network shares) answer to os.link.
_NO_LINKS = frozenset(
    getattr(errno, name)
    for name in ("EPERM", "EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EMLINK", "EINVAL", "EACCES")
    if hasattr(errno, name)
)


def publish(
    path: Path,
    data: bytes,
    *,
    overwrite: bool = False,
    durable: bool = True,
    same: Callable[[Path], bool] | None = None,
) -> Path:
    """Writes a whole file under `path`, or under `name-2`, `name-3`... if that is taken, and says where it is.

    Whoever reads the folder sees all of the file or nothing, also after a crash. With `overwrite` the file takes
    the place of an old one. `durable=False` skips waiting for the disk: for files that are soon replaced anyway.
    Where a name is taken, same(that file) may say that it already is what this one would be: then the new one is
    dropped and the old one is the answer, so of several runs that do the same work one wins.

    Raises: OutputError; nothing of this file is left behind then, and files that were there are untouched.
    """
    temp = None
    try:
        _make_folder(path.parent)
        temp = _write_temp(path.parent, data, durable=durable)
        final = _replace(temp, path) if overwrite else _claim(temp, path, same)
        if durable:
            _sync_folder(path.parent)
        return final
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        if temp is not None:
            with contextlib.suppress(OSError):
                temp.unlink()


def temporary(path: Path) -> Path:
    """An empty temporary file beside `path`, for what is written piece by piece; `settle` gives it its name.

    Raises: OutputError.
    """
    try:
        _make_folder(path.parent)
        return _write_temp(path.parent, b"", durable=False)
    except OSError as error:
        raise output_error(error, path) from error


def settle(temp: Path, path: Path, *, overwrite: bool = False) -> Path:
    """Gives a finished temporary file its name, as `publish` does. Raises: OutputError; the temporary file is gone."""
    try:
        with temp.open("rb+") as file:
            os.fsync(file.fileno())
        final = _replace(temp, path) if overwrite else _claim(temp, path)
        _sync_folder(path.parent)
        return final
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temp.unlink()


def prepare(path: Path) -> None:
    """Checks before any work that a file can be written at `path`: makes missing folders, sweeps what crashes left.

    Raises: OutputError if a part of the path is a file, or the folder is read-only, full or forbidden.
    """
    try:
        _make_folder(path.parent)
        sweep(path.parent)
        _write_temp(path.parent, bytes(4096), durable=False).unlink()
    except OSError as error:
        raise output_error(error, path) from error
    if path.is_dir():
        raise output_error(IsADirectoryError(errno.EISDIR, ""), path)


def sweep(folder: Path, *, older_than: float = STALE_SECONDS) -> int:
    """Removes temporary files that a crash left in `folder`; how many they were.

    That is: those of processes of this machine that are gone, and all that are more than `older_than` seconds old.
    """
    removed = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX)):
                continue
            with contextlib.suppress(OSError):
                if _is_orphan(entry.name) or time.time() - entry.stat(follow_symlinks=False).st_mtime > older_than:
                    os.unlink(entry.path)
                    removed += 1
    return removed


def claim_folder(path: Path) -> Path:
    """Makes a new folder at `path`, or at `name-2`, `name-3`... if that is taken. Raises: OutputError."""
    try:
        _make_folder(path.parent)
        return _first_free(lambda _, folder: folder.mkdir(), path, path)
    except OSError as error:
        raise output_error(error, path) from error


def output_error(error: OSError, path: Path) -> OutputError:
    """What the system says about a file, as a sentence and a hint."""
    reason, hint = _BY_NUMBER.get(error.errno or 0, (error.strerror or str(error), None))
    return OutputError(f"cannot write {str(path)!r}: {reason}", hint=hint)


@cache
def _machine() -> str:
    """A short name of this machine, or of this container of it, whose process numbers are its own."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _is_orphan(name: str) -> bool:
    """Whether a temporary file belongs to a process of this machine that is gone."""
    parts = name.removeprefix(_PREFIX).split("-")
    if os.name != "posix" or len(parts) != 3 or parts[0] != _machine() or not parts[1].isdigit():
        return False
    try:
        os.kill(int(parts[1]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(folder)) from error


def _write_temp(folder: Path, data: bytes, *, durable: bool) -> Path:
    """A new file of an unpredictable name with the rights that the umask gives; removed again if writing fails."""
    temp = folder / f"{_PREFIX}{_machine()}-{os.getpid()}-{secrets.token_hex(8)}{_SUFFIX}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(temp, flags, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    return temp


def _replace(temp: Path, path: Path) -> Path:
    os.replace(temp, path)
    return path


def _claim(temp: Path, path: Path, same: Callable[[Path], bool] | None = None) -> Path:
    """Gives a finished temporary file the first free name; a hard link fails where a name is taken, so none is lost."""
    try:
        return _first_free(os.link, temp, path, same)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    return _first_free(_link_by_lock, temp, path, same)


def _first_free(
    link: Callable[[Path, Path], None], temp: Path, path: Path, same: Callable[[Path], bool] | None = None
) -> Path:
    n = 1
    while True:
        final = numbered(path, n)
        with contextlib.suppress(FileExistsError):
            link(temp, final)
            return final
        if same is not None and _is_there(final) and same(final):
            return final
        n += 1


def _is_there(final: Path) -> bool:
    """Whether a taken name has its file yet: where there are no links, a name is taken a moment before."""
    patience = time.monotonic() + LOCK_SECONDS
    while not os.path.lexists(final) and time.monotonic() < patience:
        time.sleep(0.01)
    return os.path.lexists(final)


def _link_by_lock(temp: Path, final: Path) -> None:
    """As os.link where there are no hard links: a lock file keeps other runs of vqclip away from the name."""
    digest = hashlib.sha256(os.fsencode(final.name)).hexdigest()[:16]
    lock = final.with_name(f"{_PREFIX}{digest}{_SUFFIX}")
    os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, "taken", str(final))
        os.replace(temp, final)
    finally:
        lock.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes the new name itself survive a power cut; systems that cannot do that for a folder are left in peace."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
