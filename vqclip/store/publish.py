"""Writing a model file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vqclip.errors import OutputError


def published(path: Path, write: Callable[[Path], Any]) -> Path:
    """Lets `write` fill a file beside `path` and moves it there once it is complete. Raises: OutputError."""
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=".vqclip-", suffix=".part", dir=path.parent)
        os.close(handle)
        part = Path(name)
        write(part)
        part.chmod(0o666 & ~_umask())
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return path


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
