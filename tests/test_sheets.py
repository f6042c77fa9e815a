import time
from pathlib import Path

import pytest
from door import Door, save_picture
from PIL import Image

from vqclip.sinks.collection import find_pictures, read_pictures
from vqclip.sinks.lettering import wrap
from vqclip.sinks.sheets import Tile, contact_sheet, label_all


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Door:
    monkeypatch.chdir(tmp_path)
    return Door(monkeypatch, capsys)


def save(name: str, **settings: object) -> None:
    save_picture(Path(name), {"schema": 1, "settings": settings})


def test_a_sheet_shows_every_picture_in_its_place():
    colors = ("red", "lime", "blue", "yellow", "black")
    tiles = [Tile(Image.new("RGB", (20, 20), color), color) for color in colors]
    sheet = contact_sheet(tiles, columns=2, side=40)
    seen = {pixel for _, pixel in sheet.getcolors(1 << 20)}
    assert {tile.picture.getpixel((0, 0)) for tile in tiles} <= seen
    rows = [[sheet.getpixel((x, y)) for x in (36, 86)] for y in (36, 36 + sheet.height // 3)]
    assert rows[0] == [(255, 0, 0), (0, 255, 0)]
    assert rows[1] == [(0, 0, 255), (255, 255, 0)]


def test_pictures_of_any_shape_keep_it_and_a_missing_one_leaves_a_gap():
    tiles = [Tile(Image.new("RGB", (100, 25), "red"), ""), Tile(None, "gone")]
    sheet = contact_sheet(tiles, side=80)
    reds = sum(sheet.getpixel((x, y)) == (255, 0, 0) for x in range(sheet.width) for y in range(sheet.height))
    assert reds == 80 * 20


def test_a_sheet_of_nothing_is_refused():
    for tiles, columns, side in (([], None, 40), ([Tile(None, "")], 0, 40), ([Tile(None, "")], 1, 0)):
        with pytest.raises(ValueError):
            contact_sheet(tiles, columns=columns, side=side)


def test_a_prompt_that_all_share_is_the_title_and_what_differs_are_the_labels(door: Door):
    for seed, rate in ((1, 0.1), (2, 0.1), (3, 0.2)):
        save(f"{seed}.png", prompt="fog", seed=seed, learning_rate=rate, steps=9)
    title, labels = label_all(read_pictures(find_pictures(Path("."))))
    assert title == "fog"
    assert labels == ["seed 1, learning_rate 0.1", "seed 2, learning_rate 0.1", "seed 3, learning_rate 0.2"]


def test_prompts_that_differ_are_labels(door: Door):
    save("1.png", prompt="fog", seed=1)
    save("2.png", prompt="sea", seed=1)
    Image.new("RGB", (8, 8)).save("3.png")
    Path("4.png").write_bytes(b"")
    title, labels = label_all(read_pictures(find_pictures(Path("."))))
    assert title == ""
    assert labels == ["seed 1\nfog", "seed 1\nsea", "3.png\nno recipe", "4.png\nthe file is empty (0 bytes)"]


@pytest.mark.parametrize(
    "text",
    ["a castle in fog " * 40, "x" * 500, "טירה בערפל", "霧の中の城 🏰", "a\x00\x1b\u202e\ud800b", "", "\n\n", "é" * 90],
)
def test_any_text_is_wrapped_into_its_box(text: str):
    lines, font = wrap(text, width=120, lines=4, size=13)
    assert len(lines) <= 4
    assert all(font.getlength(line) <= 120 for line in lines)
    assert bool(lines) == bool(text.strip())


def test_a_word_of_a_megabyte_takes_no_time():
    began = time.monotonic()
    lines, font = wrap("x" * 2**20, width=16, lines=6, size=13)
    assert time.monotonic() - began < 1
    assert len(lines) == 6 and lines[-1].endswith("...") and font.getlength(lines[0]) <= 16


def test_wrapping_loses_no_word_that_fits_and_says_when_it_cuts():
    lines, _ = wrap("a castle in the fog at dawn", width=90, lines=9, size=13)
    assert " ".join(lines) == "a castle in the fog at dawn"
    cut, _ = wrap("a castle in the fog at dawn", width=90, lines=1, size=13)
    assert cut[0].startswith("a castle") and cut[0].endswith("...")


def test_letters_that_no_font_has_lose_their_accents_or_become_one_box(monkeypatch: pytest.MonkeyPatch):
    from vqclip.sinks import lettering

    lettering._fonts.cache_clear()
    monkeypatch.setattr(lettering, "_OTHERS", ())
    lines, _ = wrap("café 霧の中の城 end", width=900, lines=1, size=14)
    lettering._fonts.cache_clear()
    assert lines[0].startswith("cafe ") and lines[0].endswith(" end")
    assert len(lines[0]) == len("cafe  end") + 1


def test_the_command_writes_a_sheet_that_later_sheets_and_galleries_pass_over(door: Door):
    for seed in range(3):
        save(f"{seed}.png", prompt="fog", seed=seed)
    first = door("sheet", ".", "--out", "sheet.png", "--columns", "3", "--side", "32")
    again = door("sheet", ".", "--out", "sheet.png", "--columns", "3", "--side", "32")
    assert (first.out, again.out) == ("sheet.png\n", "sheet-2.png\n")
    assert Path("sheet.png").read_bytes() == Path("sheet-2.png").read_bytes()
    with Image.open("sheet.png") as sheet:
        assert sheet.width == 2 * 16 + 3 * 42 - 10
    assert door("sheet", "sheet.png").code == 2


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["a.png", "--columns", "0"], 2),
        (["a.png", "--side", "9"], 2),
        (["a.png", "--out", "x.jpg"], 2),
        (["a.png", "--out", "a.png/x.png"], 6),
        (["."], 0),
        (["none.png"], 5),
        ([], 2),
    ],
)
def test_what_makes_no_sheet_says_so(door: Door, args: list[str], code: int):
    save("a.png", prompt="fog", seed=1)
    assert door("sheet", *args).code == code


def test_a_named_picture_that_is_missing_makes_no_sheet(door: Door):
    save("a.png")
    Path("broken.png").write_bytes(b"no picture")
    for args in (["nope.png"], ["a.png", "nope.png"], ["broken.png"]):
        ran = door("sheet", *args, "--out", "sheet.png")
        assert (ran.code, ran.out) == (5, "") and args[-1] in ran.err
    assert not Path("sheet.png").exists()
    assert door("sheet", "a.png", "broken.png", "--out", "sheet.png").code == 0
