"""Prompts and file names that try to be more than text, in pictures of a folder, for the tests of the gallery."""

from __future__ import annotations

from pathlib import Path

from door import save_picture

PROMPTS = (
    "<script>document.title='ran'</script>",
    '"><img src=x onerror="document.title=\'ran\'">',
    "</article></main><iframe src=javascript:alert(1)></iframe>",
    "' onmouseover='document.title=1' &lt; &amp; {{7*7}} ${alert(1)}",
    "right \u202eot left\u202c, \x1b[2J\x00 and \ud800 alone",
    "טירה בערפל\nقلعة في الضباب\n\n\t霧の中の城",
    "100% of %3Cscript%3E in %s",
    "long " * 3000,
    "]]><!--",
)
NAMES = (
    "<script>document.title='ran'<⁄script>.png",
    "\"><img src=x onerror=document.title='ran'>.png",
    "javascript:alert(1).png",
    "line\nbreak.png",
    "per%20cent%.png",
    "hash#and?query=1&more.png",
    "right\u202egnp.exe.png",
    "-dash 'quote' \\ back\x1b[2J.png",
    "טירה.png",
)


def fill(folder: Path) -> list[Path]:
    """Saves a small picture for each pair of prompt and name; a folder below has such a name too."""
    below = folder / "<b> &amp; \"'"
    below.mkdir()
    places = [folder] * (len(NAMES) - 1) + [below]
    return [
        save_picture(
            place / name,
            {"schema": 1, "settings": {"prompt": prompt, "seed": n, prompt[:50]: "</pre><script>document.title=1"}},
        )
        for n, (place, name, prompt) in enumerate(zip(places, NAMES, PROMPTS, strict=True))
    ]
