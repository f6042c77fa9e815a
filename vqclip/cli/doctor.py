"""`vqclip doctor`: checks this machine, a line each, and exits with the code of what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from vqclip.cli import say
from vqclip.errors import ModelError, UsageError, VqclipError
from vqclip.words import counted

OLDEST = (3, 11)
STARTER = ("vqgan", "clip", "prior")
MOST_HEADER_BYTES = 4 * 2**20


def add(app: typer.Typer) -> None:
    """Adds the command to the app."""
    app.command("doctor")(doctor)


def doctor() -> int:
    """Check whether this machine is ready, a line each."""
    codes = set()
    for name, check in CHECKS:
        try:
            say.data(f"ok      {name:12} {check()}")
        except VqclipError as error:
            codes.add(error.exit_code)
            say.data(f"WRONG   {name:12} {error.message}" + (f" - {error.hint}" if error.hint else ""))
        except Exception as error:  # a broken package can fail in any way, and the next line is still wanted
            codes.add(UsageError.exit_code)
            say.data(f"WRONG   {name:12} {type(error).__name__}: {' '.join(str(error).split())}")
    return next((code for code in (4, 6, 2) if code in codes), 0)


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST:
        raise UsageError(f"Python {version}", hint=f"vqclip needs {OLDEST[0]}.{OLDEST[1]} or newer")
    return f"Python {version}"


def _torch() -> str:
    import torch

    threads = counted(torch.get_num_threads(), "thread")
    return f"torch {torch.__version__}, {threads}, {torch.backends.cpu.get_cpu_capability()}"


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count()))
    return "mps" if torch.backends.mps.is_available() else "cpu only"


def _torchvision() -> str:
    from vqclip.store.torchvision import torchvision_health

    healthy, sentence = torchvision_health()
    if not healthy:
        raise UsageError(sentence)
    return sentence


def _encoders() -> str:
    import av

    known = ("libx264", "libvpx-vp9", "mjpeg", "gif")
    found = [name for name in known if name in av.codec.codecs_available]
    if not found:
        raise UsageError("no video encoder", hint="reinstall the package av")
    return ", ".join(found)


def _writing() -> str:
    from vqclip.sinks.names import DEFAULT_FOLDER
    from vqclip.sinks.publish import prepare

    prepare(DEFAULT_FOLDER / "doctor.png")
    return f"{Path(DEFAULT_FOLDER).resolve()} can be written"


def _starter() -> str:
    from vqclip.store.starter import starter_path

    sizes = {part: starter_path(part).stat().st_size for part in STARTER}
    for part, size in sizes.items():
        if size != (whole := _whole_size(starter_path(part))):
            raise ModelError(
                f"the starter's {part} is damaged: {size:,} bytes" + (f" of {whole:,}" if whole else ""),
                hint="install vqclip again",
            )
    return ", ".join(f"{part} {size / 2**20:.1f} MB" for part, size in sizes.items())


def _whole_size(path: Path) -> int | None:
    """How large a safetensors file has to be by its own header; None if it has none that can be read."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= MOST_HEADER_BYTES else {}
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return 8 + length + max(ends)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _models() -> str:
    from vqclip.store.folder import at_hand, model_folder

    names = [model.name for model in at_hand()]
    return f"{', '.join(names) or 'none but the starter'}; more go into {model_folder()}"


CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("python", _python),
    ("torch", _torch),
    ("device", _device),
    ("torchvision", _torchvision),
    ("encoders", _encoders),
    ("output", _writing),
    ("starter", _starter),
    ("models", _models),
)
