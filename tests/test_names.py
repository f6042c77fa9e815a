"""File names: safe whatever the prompt, templates with known fields only, and nothing outside the folder."""

import os
import unicodedata
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vqclip.errors import UsageError
from vqclip.sinks.names import name_fields, numbered, render, slug, where_to

FIELDS = name_fields(
    prompt="A castle in fog",
    seed=42,
    model="vqgan/f16:16384",
    steps=300,
    width=256,
    height=192,
    n=3,
    digest="sha256:0123456789abcdef0123",
    when=datetime(2031, 2, 3, 4, 5, 6),
)

ANY_TEXT = st.text(st.characters(), max_size=200)


@given(ANY_TEXT)
@example("../../etc/passwd")
@example("CON")
@example("nul.txt")
@example("\ud800\udce9")
@example("‮gnp.exe")
@example("\u0301" * 99)
@example("x" * 10_000)
@example("한" * 99)
@settings(max_examples=150, deadline=None)
def test_any_prompt_gives_a_safe_name(text):
    name = slug(text)
    assert 1 <= len(name.encode("utf-8")) <= 64
    assert all(unicodedata.category(char)[0] in "LMN" or char in "-_" for char in name)
    assert name.partition(".")[0] not in ("con", "nul", "aux", "prn", "com1", "lpt9")
    assert Path("/base/folder", name).resolve().parent == Path("/base/folder")
    assert slug(text) == name


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A castle in fog", "a-castle-in-fog"),
        ("  a   castle!!  ", "a-castle"),
        ("a castle:1.2 | fog:0.5", "a-castle-1-2-fog-0-5"),
        ("-rf /", "rf"),
        ("../../etc/passwd", "etc-passwd"),
        ("%s {seed} [/red]", "s-seed-red"),
        ("Füchse in Åre", "füchse-in-åre"),
        ("ﬁre ①", "fire-1"),
        ("日本の城", "日本の城"),
        ("con", "con_"),
        ("COM¹", "com1_"),
        ("a\0b\x1b[2J\n", "a-b-2j"),
        ("heart\ufe0f ❤\ufe0f x", "heart-x"),
        ("", "untitled"),
        ("🏰❤️", "untitled-" + slug("🏰❤️")[-8:]),
    ],
)
def test_prompts_become_these_names(prompt, name):
    assert slug(prompt) == name


def test_different_prompts_without_letters_get_different_names():
    assert len({slug("🏰"), slug("🐉"), slug("!"), slug("\u3164"), slug("")}) == 5
    assert slug("\u3164").startswith("untitled-")


def test_a_long_prompt_is_cut_between_characters():
    assert slug("日" * 100) == "日" * 20
    assert slug("word " * 50) == "word-word-word-word-word-word-word-word-word-word-word-word"


def test_names_do_not_depend_on_case_or_form():
    assert slug("CAFÉ") == slug("café") == slug("cafe\u0301")


def test_every_field_can_be_used():
    template = "{slug}_{seed}_{date}_{time}_{model}_{steps}_{n:04}_{width}x{height}_{hash}"
    expected = "a-castle-in-fog_42_2031-02-03_04-05-06_vqgan-f16-16384_300_0003_256x192_sha2560123456789"
    assert render(template, FIELDS) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{prompt}",
        "{seed.__class__}",
        "{seed[0]}",
        "{0}",
        "{}",
        "{seed!r}",
        "{seed:>9999999999}",
        "{seed:99999}",
        "{seed:x}",
        "{slug:{seed}}",
        "{slug:.0}",
        "{slug",
        "slug}",
        "{slug/}",
    ],
)
def test_other_fields_formats_and_stray_braces_are_usage_errors(template):
    with pytest.raises(UsageError) as caught:
        where_to(template + ".png", FIELDS)
    assert caught.value.exit_code == 2 and caught.value.hint


def test_a_misspelled_field_is_answered_with_the_right_one():
    with pytest.raises(UsageError) as caught:
        render("{sed}", FIELDS)
    assert "'seed'" in caught.value.hint


def test_doubled_braces_are_real_braces():
    assert render("a{{b}}-{seed}", FIELDS) == "a{b}-42"


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
@settings(max_examples=60, deadline=None)
def test_no_field_leads_out_of_the_folder(prompt, model, digest):
    fields = name_fields(prompt=prompt, seed=0, model=model, steps=1, width=16, height=16, digest=digest)
    for template in ("{slug}/{model}/{hash}.png", "{model:.1}{slug:.1}.png"):
        path = where_to("/base/folder/" + template, fields)
        assert path.resolve().is_relative_to("/base/folder")
        assert len(path.parts) == 3 + template.count("/") + 1


def test_a_field_that_spells_a_reserved_name_is_guarded():
    assert render("{slug:.3}", {**FIELDS, "slug": "console"}) == "con_"
    assert render("{slug:.3}.png", {**FIELDS, "slug": "console"}) == "con_.png"


def test_where_pictures_go(tmp_path):
    (tmp_path / "album").mkdir()
    default = "a-castle-in-fog-42.png"
    assert where_to(None, FIELDS) == Path("outputs") / default
    assert where_to(None, FIELDS, folder=tmp_path) == tmp_path / default
    assert where_to("new/", FIELDS) == Path("new") / default
    assert where_to(str(tmp_path / "album"), FIELDS) == tmp_path / "album" / default
    assert where_to(".", FIELDS) == Path(default)
    assert where_to("{date}/", FIELDS) == Path("2031-02-03") / default
    assert where_to("castle", FIELDS) == Path("castle.png")
    assert where_to("../castle.JPG", FIELDS) == Path("../castle.JPG")
    assert where_to("x/{seed}.webp", FIELDS) == Path("x/42.webp")
    assert where_to("~/castle.png", FIELDS) == Path(os.path.expanduser("~/castle.png"))
    assert where_to("~nobody-of-this-name.png", FIELDS) == Path("~nobody-of-this-name.png")


@pytest.mark.parametrize("output", ["castle.bmp", "castle.v1.2", "", "a\0.png"])
def test_what_cannot_be_a_picture_file_is_a_usage_error(output):
    with pytest.raises(UsageError):
        where_to(output, FIELDS)


def test_taken_names_are_numbered_and_never_too_long():
    assert numbered(Path("a/b.png"), 1) == Path("a/b.png")
    assert numbered(Path("a/b.png"), 2) == Path("a/b-2.png")
    assert numbered(Path("a/b.v1.png"), 10) == Path("a/b.v1-10.png")
    for stem in ("x" * 300, "日" * 100):
        for n in (1, 2, 99_999):
            name = numbered(Path(stem + ".png"), n).name
            assert len(os.fsencode(name)) <= 255 and name.endswith(".png" if n == 1 else f"-{n}.png")
