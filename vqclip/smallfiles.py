"""Small files from people and strangers, read with a bound, so that a path that leads astray costs no memory."""

from __future__ import annotations

from pathlib import Path

from vqclip.errors import UsageError, VqclipError


def read_small(path: Path, most: int, error: type[VqclipError] = UsageError) -> bytes:
    """All bytes of a file of at most `most` bytes, which is said in KB. Raises: `error` naming the file."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as reason:  # ValueError: a NUL in the path
        raise error(f"{path}: cannot be read: {getattr(reason, 'strerror', None) or reason}") from reason
    if len(data) > most:
        raise error(f"{path}: larger than {most // 1024:,} KB, which no such file is")
    return data
