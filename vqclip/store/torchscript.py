"""OpenAI's own CLIP files, which are programs: run only if their checksum is one that OpenAI published."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from vqclip.errors import ModelError
from vqclip.store.clips import openai_name
from vqclip.store.containers import sniff
from vqclip.store.folder import digest


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, by the names in its zip; nothing in it is read."""
    if sniff(path) != "zip":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(is_program(name) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def is_program(member: str) -> bool:
    """Whether a member of a zip belongs to a TorchScript program."""
    return member.endswith("/constants.pkl") or "/code/" in member


def openai_archive(path: Path) -> str:
    """Which of OpenAI's CLIPs a TorchScript archive is, by open_clip's name.

    Raises: ModelError if its checksum is none of theirs.
    """
    sha256 = digest(path)
    name = openai_name(sha256)
    if name is None:
        raise ModelError(
            f"{path.name} is a TorchScript program and none of OpenAI's own: sha256 {sha256}; it is not run",
            hint="for one of OpenAI's CLIPs use its open_clip name, such as ViT-B-32/openai",
        )
    return name


def read_archive(path: Path) -> dict[str, Tensor]:
    """The weights in one of OpenAI's archives. Raises: ModelError if it is any other program, or damaged."""
    openai_archive(path)
    try:
        return dict(torch.jit.load(path, map_location="cpu").state_dict())
    except RuntimeError as error:
        raise ModelError(f"{path.name} cannot be read: {str(error).splitlines()[0][:200]}") from error
