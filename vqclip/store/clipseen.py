"""Holds the weights of published CLIPs to the checksum they had when they were first used here; no torch."""

from __future__ import annotations

from pathlib import Path

from vqclip.errors import ModelError, OutputError
from vqclip.store.folder import digest, model_folder, record, recorded


def seen_folder() -> Path:
    """Where checksums of CLIPs are kept: beside the models, for the weights lie in a cache shared with others."""
    return model_folder() / "clips"


def hold(name: str, path: Path) -> str | None:
    """Records the sha256 of a CLIP's file at its first use, and gives the sentence that says so; None ever after.

    Nobody publishes checksums for most CLIPs, and a repository's newest file may be another one tomorrow.
    Raises: ModelError if the file is another than the first one.
    """
    place = seen_folder() / f"{name.replace('/', '--')}{path.suffix}"
    found, expected = digest(path), recorded(place)
    if expected == found:
        return None
    if expected is not None:
        raise ModelError(
            f"{name} is not the file that was first used here: sha256 {found}, not {expected}",
            hint=f"if it should be, remove {place}.sha256; else remove the file from the cache: {path}",
        )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        record(place, found)
    except (OSError, OutputError):
        return f"no checksum is published for {name}, and its own, {found}, could not be recorded"
    return f"no checksum is published for {name}; recorded {found}, and it is held to that from now on"
