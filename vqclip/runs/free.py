"""How much memory this process may still take: what is free, what its container grants, what its limits allow."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

CGROUPS = (
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.stat", "inactive_file"),
    (
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "sys/fs/cgroup/memory/memory.usage_in_bytes",
        "sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
)

# what there is where a driver of NVIDIA or AMD is loaded, in a Windows below Linux, and in Windows
DRIVERS = ("dev/nvidiactl", "dev/kfd", "dev/dxg", "Windows/System32/nvcuda.dll")


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes of main memory that can still be taken, or None where the system does not tell."""
    known = [value for value in (_machine(root), _container(root), *_limits(root)) if value is not None]
    return max(0, min(known)) if known else None


def free_on(device: str) -> int | None:
    """Bytes that can still be taken on a device of torch's: its own memory, or main memory for "cpu" and "mps".

    Of several devices ("cuda:0,cuda:1") it is the first, which holds the most.
    """
    first = device_of(device).partition(",")[0]
    if not first.startswith("cuda"):
        return free_memory()
    import torch

    return int(torch.cuda.mem_get_info(first)[0]) if torch.cuda.is_available() else free_memory()


def device_of(name: str, root: Path = Path("/")) -> str:
    """The name of a device, "auto" as the one it is: as torch says where it is loaded, else as drivers let suppose."""
    if name != "auto":
        return name
    if "torch" in sys.modules:
        from vqclip.runs.parts import choose_device

        return str(choose_device(name))
    if platform.system() == "Darwin":
        return "mps" if platform.machine() == "arm64" else "cpu"
    return "cuda" if any((root / driver).exists() for driver in DRIVERS) and not _torch_is_without() else "cpu"


def is_limited() -> bool:
    """Whether this process has a limit of its own on its memory (`ulimit -v`, `ulimit -d`, some cluster queues)."""
    try:
        import resource
    except ImportError:  # Windows has none
        return False
    limits = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    return any(resource.getrlimit(limit)[0] != resource.RLIM_INFINITY for limit in limits)


def _torch_is_without() -> bool:
    """Whether the torch that is installed was made for the CPU alone."""
    try:
        return metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return True


def _machine(root: Path) -> int | None:
    fields = _fields(root / "proc/meminfo")
    return fields.get("MemAvailable")


def _container(root: Path) -> int | None:
    for limit, usage, stat, idle in CGROUPS:
        granted, used = _number(root / limit), _number(root / usage)
        if granted is not None and used is not None:
            # files in the cache are given back as soon as memory is wanted
            return granted - used + _fields(root / stat).get(idle, 0)
    return None


def _limits(root: Path) -> list[int]:
    try:
        import resource
    except ImportError:  # Windows has none
        return []
    now = _fields(root / "proc/self/status")
    found = []
    for limit, field in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY and field in now:
            found.append(soft - now[field])
    return found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _fields(path: Path) -> dict[str, int]:
    """ "Name: 12 kB" or "name 12" line by line, in bytes."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    parts = [line.replace(":", " ").split() for line in lines]
    kilo = {part[0]: int(part[1]) * 1024 for part in parts if len(part) == 3 and part[1].isdigit() and part[2] == "kB"}
    return kilo | {part[0]: int(part[1]) for part in parts if len(part) == 2 and part[1].isdigit()}


def probable_itemsize() -> int:
    """2 where the processor multiplies bfloat16 fast, else 4: what torch will say, without loading it."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 4
    return 2 if "amx_bf16" in flags or ("avx512_bf16" in flags and "GenuineIntel" not in flags) else 4


def cache_folder() -> Path:
    """Where measurements are kept: $VQCLIP_HOME/cache, or the platform's cache folder for vqclip."""
    import platformdirs

    home = os.environ.get("VQCLIP_HOME")
    return Path(home) / "cache" if home else Path(platformdirs.user_cache_dir("vqclip", appauthor=False))
