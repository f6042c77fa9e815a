import html
import re
import shlex
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from door import RECIPE, Door, save_picture
from hostile import NAMES, PROMPTS, fill
from PIL import Image

from vqclip.words import shell_word


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Door:
    monkeypatch.chdir(tmp_path)
    return Door(monkeypatch, capsys)


TAGS = {"html", "head", "meta", "title", "style", "body", "header", "h1", "bdi", "p", "input", "output", "main"}
TAGS |= {"article", "a", "img", "div", "code", "button", "details", "summary", "pre", "script"}


class Reader(HTMLParser):
    """Collects a page's tags with their attributes, and the text of `code`."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.lines: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "code":
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "code" and not self.lines[-1]:
            self.lines[-1] = data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def made(door: Door, *args: str) -> str:
    ran = door("gallery", *args)
    assert ran.code == 0, ran.err
    return Path(ran.out.strip()).read_text(encoding="utf-8")


def test_the_page_shows_each_picture_with_prompt_recipe_and_the_line_that_paints_it_again(door: Door):
    save_picture(Path("castle-41.png"))
    page = made(door, ".")
    reader = Reader(page)
    assert [one["src"] for one in reader.all("img")] == ["./castle-41.png"]
    assert reader.all("img")[0]["loading"] == "lazy"
    assert reader.lines == ["vqclip again castle-41.png"]
    assert '<p class="prompt" dir="auto">a castle</p>' in page
    assert "seed 41 · steps 9 · 8 × 8" in page
    assert "flip: false" in page


def test_hostile_prompts_and_names_stay_text(door: Door, tmp_path: Path):
    paths = fill(tmp_path)
    reader = Reader(made(door, "."))
    assert {tag for tag, _ in reader.tags} == TAGS
    assert len(reader.all("script")) == 1
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on") or name == "style"]
    shown = [one["src"] or "" for one in reader.all("img")]
    assert all(address.startswith("./") and re.fullmatch(r"[\w./%~-]+", address) for address in shown)
    assert {Path(unquote_to_bytes(one).decode()) for one in shown} == {path.relative_to(tmp_path) for path in paths}
    alts = {one["alt"] for one in reader.all("img")}
    assert PROMPTS[0] in alts and PROMPTS[1] in alts


def test_the_line_to_paint_again_names_the_same_file_in_a_shell(tmp_path: Path, door: Door):
    fill(tmp_path)
    lines = Reader(made(door, ".")).lines
    assert not [line for line in lines if re.search(r"[\x00-\x1f\x7f\u202e]", line)]
    script = "\n".join(f"[ -f {line.removeprefix('vqclip again ')} ] || exit 1" for line in lines)
    assert len(lines) == len(NAMES)
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path).returncode == 0


def test_a_word_for_the_shell_is_plain_where_it_can_be():
    assert [shell_word(name) for name in ("a.png", "a b.png", "-a.png")] == ["a.png", "'a b.png'", "./-a.png"]
    assert shell_word("a\x1b'\\é\x07") == r"$'a\033\047\134\303\251\007'"
    assert shlex.split(shell_word("it's")) == ["it's"]


def test_the_policy_lets_only_the_pages_own_script_and_style_run(door: Door):
    import base64
    import hashlib

    save_picture(Path("a.png"))
    page = made(door, ".")
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "http" not in policy
    for kind in ("script", "style"):
        text = re.search(f"<{kind}>(.*)</{kind}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert page.index("Content-Security-Policy") < min(page.index("<title"), page.index("<style"))


def test_pictures_that_are_broken_or_carry_no_recipe_are_listed(door: Door):
    Image.new("RGB", (8, 8)).save("plain.png")
    Path("<b>.png").write_bytes(b"no picture")
    ran = door("gallery", ".")
    page = Path(ran.out.strip()).read_text(encoding="utf-8")
    assert "the picture carries no recipe" in page
    assert "1 picture · 1 without a recipe · " in page
    assert re.search(r"<li><bdi>&lt;b&gt;.png</bdi>: .*not a picture", page), page
    assert "<b>.png" in ran.err


def test_the_page_may_lie_elsewhere_and_its_pictures_are_still_found(door: Door):
    Path("pictures").mkdir()
    save_picture(Path("pictures/a b.png"))
    page = made(door, "pictures", "--out", "pages/mine.html")
    assert Reader(page).all("img")[0]["src"] == "../pictures/a%20b.png"
    assert "vqclip again &#x27;../pictures/a b.png&#x27;" in page


def test_a_second_page_takes_the_place_of_the_first_but_of_nothing_else(door: Door):
    save_picture(Path("a.png"))
    assert made(door, ".") == made(door, ".")
    Path("mine.html").write_text("my own page", encoding="utf-8")
    ran = door("gallery", ".", "--out", "mine.html")
    assert ran.code == 6 and "not a gallery" in ran.err
    assert Path("mine.html").read_text(encoding="utf-8") == "my own page"


@pytest.mark.parametrize(
    ("args", "code"), [([".", "--out", "x.png"], 2), (["none"], 5), (["."], 5), (["a.png"], 5), ([], 2)]
)
def test_what_makes_no_gallery_says_so(door: Door, tmp_path: Path, args: list[str], code: int):
    if args == ["a.png"]:
        save_picture(tmp_path / "a.png")
    ran = door("gallery", *args)
    assert ran.code == code and ran.err.startswith("error: ")


def test_a_recipe_of_a_megabyte_does_not_fill_the_page(door: Door):
    settings = {**RECIPE["settings"], **{f"key {n}": "x" * 500 for n in range(1500)}}
    save_picture(Path("a.png"), {"schema": 1, "settings": settings})
    assert len(made(door, ".")) < 120_000


def test_thumbnails_are_shown_where_they_were_asked_for(door: Door):
    Image.new("RGB", (900, 600)).save("a.png")
    assert Reader(made(door, ".")).all("img")[0]["src"] == "./a.png"
    [shown] = Reader(made(door, ".", "--thumbnails")).all("img")
    assert shown["src"].startswith("./gallery-thumbnails/") and Path(shown["src"]).exists()
    assert (shown["width"], shown["height"]) == ("900", "600")


def test_a_thousand_pictures_take_a_few_seconds_and_no_torch(tmp_path: Path):
    data = save_picture(tmp_path / "0.png").read_bytes()
    for n in range(1, 1000):
        (tmp_path / f"{n}.png").write_bytes(data)
    code = (
        "import sys; from vqclip.cli.main import main; "
        f"sys.exit(main(['gallery', {str(tmp_path)!r}]) or 'torch' in sys.modules)"
    )
    started = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=Path(__file__).parent.parent)
    assert ran.returncode == 0, ran.stderr
    assert time.monotonic() - started < 20
