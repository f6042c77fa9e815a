import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from vqclip.cli.main import build
from vqclip.cli.options import FLAGS
from vqclip.errors import VqclipError
from vqclip.films import FilmSettings, RestyleSettings
from vqclip.settings import Delivery, Settings

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "vqclip").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAX_FILE, MAX_FUNCTION = 400, 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _public(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    """Public functions, classes and methods; what is nested in a function is nobody's business."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_files_and_functions_stay_small(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        assert not isinstance(node, ast.Global)
        if isinstance(node, Function):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION, node.name


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_everything_public_is_documented_and_typed(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree), "a file begins with one sentence that names its job"
    for node in _public(tree.body):
        assert ast.get_docstring(node), node.name
        if isinstance(node, Function):
            given = [arg for arg in (*node.args.args, *node.args.kwonlyargs) if arg.arg not in ("self", "cls")]
            assert all(arg.annotation for arg in given), node.name
            assert node.returns or node.name == "__init__", node.name


def test_every_flag_stands_in_the_readme_and_every_flag_of_the_pages_exists():
    top = build().commands.values()
    commands = [*top, *(below for group in top for below in getattr(group, "commands", {}).values())]
    options = {name for command in commands for param in command.params for name in param.opts + param.secondary_opts}
    options |= {"--install-completion", "--version", "--extra", "--no-python", "--nproc-per-node"}
    readme = PAGES[0].read_text(encoding="utf-8")
    for flag in FLAGS:
        assert flag.hidden or all(f"`{word.split('/')[0]}" in readme for word in flag.spellings), flag.name
    for page in PAGES:
        if page.name != "shell-scripts.md":  # that one is about the spellings of another program
            text = re.sub(r"(?m)^#SBATCH .*$", "", page.read_text(encoding="utf-8"))
            found = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
            assert found <= options, page


def test_every_setting_stands_in_the_reference():
    text = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    fields = (*Settings.model_fields, *FilmSettings.model_fields, *RestyleSettings.model_fields)
    assert [name for name in fields if f"\n| `{name}` |" not in text] == []
    flags = {"private" if name == "metadata" else name for name in Delivery.model_fields}
    spelled = [word for flag in FLAGS if flag.name in flags for word in flag.spellings if word.startswith("--")]
    assert len(spelled) > 15 and [word for word in spelled if f"\n| `{word}` |" not in text] == []


def test_every_exit_code_stands_in_help_readme_and_reference():
    texts = [PAGES[0].read_text(encoding="utf-8"), (ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")]
    for code in (0, 1, *(error.exit_code for error in VqclipError.__subclasses__())):
        assert re.search(rf"\b{code} [a-z]", build().epilog)
        assert all(f"\n| {code} |" in text for text in texts)
    assert "143 SIGTERM, --timeout" in build().epilog and all("143" in text and "--timeout" in text for text in texts)


def test_every_page_is_linked_in_the_readme():
    readme = PAGES[0].read_text(encoding="utf-8")
    assert [page for page in map(_name, PAGES[1:]) if f"]({page})" not in readme] == []


def test_every_command_stands_in_the_readme():
    readme = PAGES[0].read_text(encoding="utf-8")
    assert [name for name in build().commands if f"vqclip {name}" not in readme] == []


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=_name)
def test_every_link_leads_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_source_package_holds_what_its_tests_read():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {".ci", "scripts", "examples", "docs", "tests", *(page.name for page in ROOT.glob("*.md"))} <= {*included}
