"""A gallery as one static HTML page: pictures, prompts, recipes, and the line that paints each again.

The page needs no server and no network. All that comes from files is escaped, and its Content-Security-Policy lets
nothing run but the one script below it, so that a prompt or file name from anyone stays text.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from vqclip.errors import OutputError
from vqclip.sinks.collection import Found
from vqclip.sinks.metadata import describe
from vqclip.sinks.publish import publish
from vqclip.words import clean, shell_word

GENERATOR = '<meta name="generator" content="vqclip gallery">'
MAX_LINES, MAX_LINE = 120, 600
MAX_PROMPT = 4000


def write_page(out: Path, page: str) -> Path:
    """Puts the page in the place of an earlier one, whole or not at all.

    Raises: OutputError if it cannot be written, or a file is there that is not such a page.
    """
    try:
        with out.open("rb") as file:
            ours = GENERATOR.encode() in file.read(4096)
    except FileNotFoundError:
        ours = True
    except OSError as error:
        raise OutputError(f"cannot write {str(out)!r}: {error.strerror or error}") from error
    if not ours:
        raise OutputError(f"{out} is there already, and is not a gallery", hint="choose another name with --out")
    return publish(out, page.encode(), overwrite=True)


def gallery_page(
    pictures: Sequence[Found], *, folder: Path, title: str, thumbnails: Mapping[Path, Path] | None = None
) -> str:
    """The page for a collection of pictures; it will lie in `folder`, and names all files from there.

    thumbnails maps the paths of pictures to smaller copies that are shown in their place.
    """
    style, script = (Path(__file__).with_name(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    policy = "; ".join(
        (
            "default-src 'none'",
            "img-src 'self' file:",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    good = [one for one in pictures if one.problem is None]
    broken = [one for one in pictures if one.problem is not None]
    cards = "\n".join(_card(one, folder, (thumbnails or {}).get(one.path, one.path)) for one in good)
    # The policy stands before anything it is to hold back.
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
{GENERATOR}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{_text(title)}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1><bdi>{_text(title)}</bdi></h1>
<p>{_summary(good, broken)}</p>
<input type="search" placeholder="Search prompts" aria-label="Search prompts" autocomplete="off">
<p><output aria-live="polite"></output></p>
</header>
<main>
{cards}
</main>
{_broken(broken, folder)}<script>{script}</script>
</body>
</html>
"""


def _card(one: Found, folder: Path, shown: Path) -> str:
    width, height = one.size or (1, 1)
    name = os.path.relpath(one.path, folder)
    prompt = one.prompt[:MAX_PROMPT] + ("…" if len(one.prompt) > MAX_PROMPT else "")
    alt = _text(prompt[:200]) or "a picture without a prompt"
    parts = [
        f'<a class="picture" href="{_address(one.path, folder)}"><img src="{_address(shown, folder)}" alt="{alt}" '
        f'width="{width}" height="{height}" loading="lazy" decoding="async"></a>',
        f'<p class="prompt" dir="auto">{_text(prompt)}</p>' if prompt else "",
        f'<p class="facts">{_facts(one)}</p>',
        f'<p class="file"><bdi>{_name(name)}</bdi></p>',
    ]
    if one.recipe is None:
        parts.append(f'<p class="none">{_text(one.remark or "no recipe")}</p>')
    else:
        line = html.escape(f"vqclip again {shell_word(name)}")
        parts.append(f'<div class="again"><code dir="ltr">{line}</code><button type="button">Copy</button></div>')
        parts.append(f"<details><summary>Recipe</summary><pre>{_recipe(one.recipe)}</pre></details>")
    return "<article>\n" + "\n".join(filter(None, parts)) + "\n</article>"


def _facts(one: Found) -> str:
    said = {"seed": one.settings.get("seed"), "steps": one.settings.get("steps")}
    numbers = [f"{key} {value}" for key, value in said.items() if type(value) is int and abs(value) < 2**64]
    size = [f"{one.size[0]} × {one.size[1]}"] if one.size else []
    other = ["from another tool"] if one.recipe and one.recipe.get("foreign") else []
    stopped = ["stopped early"] if one.recipe and one.recipe.get("stopped") else []
    return " · ".join([*numbers, *size, *other, *stopped])


def _recipe(recipe: Mapping[str, object]) -> str:
    lines = describe(recipe).split("\n")
    shown = [line if len(line) <= MAX_LINE else line[:MAX_LINE] + "…" for line in lines[:MAX_LINES]]
    return _text("\n".join([*shown, *(["…"] if len(lines) > MAX_LINES else [])]))


def _summary(good: Sequence[Found], broken: Sequence[Found]) -> str:
    bare = sum(one.recipe is None for one in good)
    parts = [f"{len(good)} picture{'s' * (len(good) != 1)}"]
    parts += [f"{bare} without a recipe"] if bare else []
    parts += [f'<a href="#broken">{len(broken)} broken</a>'] if broken else []
    return " · ".join(parts) + " · the lines to paint again are for a terminal in this page's folder"


def _broken(broken: Sequence[Found], folder: Path) -> str:
    if not broken:
        return ""
    items = "\n".join(
        f"<li><bdi>{_name(os.path.relpath(one.path, folder))}</bdi>: {_text(one.problem or '')}</li>" for one in broken
    )
    return f'<section id="broken">\n<h2>Pictures that cannot be read</h2>\n<ul>\n{items}\n</ul>\n</section>\n'


def _address(path: Path, folder: Path) -> str:
    """The way from the page to a file, percent-encoded; it begins with a dot, so no name can be taken for a scheme."""
    way = os.path.relpath(path, folder).replace(os.sep, "/")
    return quote(os.fsencode(way if way.startswith("../") else f"./{way}"), safe="/")


def _name(name: str) -> str:
    return _text(name).replace("\n", "\\n")


def _text(text: str) -> str:
    with contextlib.suppress(UnicodeError):  # a name on the disk is UTF-8, though a locale may not know such letters
        text = text.encode("utf-8", "surrogateescape").decode("utf-8")
    return html.escape(clean(text), quote=True)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
