import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "vqclip"
FLOORS = {"ops": 1, "models": 2, "store": 3, "starter": 3, "engine": 4, "train": 4, "sinks": 4, "runs": 5, "cli": 6}
FRONT = (PACKAGE / "__init__.py", PACKAGE / "__main__.py")  # they name what people use, and fetch it when it is used
FREE_OF_TORCH = [*PACKAGE.glob("*.py"), *(PACKAGE / "cli").glob("*.py"), PACKAGE / "store" / "registry.py"]


def _imports(path: Path, *, at_top: bool) -> Iterator[str]:
    """The modules a file imports: at its top, without those for annotations only; or all of them, anywhere."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if at_top else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else ""


def test_imports_go_down_or_stay_in_their_room():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        home = _room(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        if path in FRONT:
            continue
        for module in _imports(path, at_top=False):
            room = _room(module) if module.startswith("vqclip.") else home
            if room != home and FLOORS.get(room, 0) >= FLOORS.get(home, 0):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not wrong


def test_words_cli_and_registry_import_no_torch_at_their_top():
    heavy = {"torch", "open_clip", "torchvision", "numpy", "PIL", "safetensors", "rich"}
    wrong = [
        f"{path.name}: {m}" for path in FREE_OF_TORCH for m in _imports(path, at_top=True) if m.split(".")[0] in heavy
    ]
    assert not wrong


def test_only_one_file_imports_open_clip():
    users = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if any(m.startswith("open_clip") for m in _imports(path, at_top=False))
    ]
    assert users in ([], ["openclip.py"])


def test_torch_is_not_loaded_by_importing_the_ground_floor():
    import subprocess
    import sys

    names = ", ".join(f"vqclip.{path.stem}" for path in PACKAGE.glob("*.py") if path.stem != "__init__")
    code = f"import sys, vqclip, {names}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0
