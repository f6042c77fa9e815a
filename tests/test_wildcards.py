"""Wildcards, alternatives and sweeps: what a template may mean, how many that is, and that a draw stays the same."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vqclip
from vqclip.errors import UsageError
from vqclip.presets import preset_folders
from vqclip.store.starter import starter_path
from vqclip.sweeps import Sweep, combinations, parse_seeds, parse_sweep
from vqclip.wildcards import Wildcards, count, draw, every, holds_choices, picker, wildcard_folders


@pytest.fixture
def lists(tmp_path) -> Wildcards:
    (tmp_path / "color.txt").write_text("# colors\nred\n\n{dark|light} blue\r\n", encoding="utf-8-sig")
    (tmp_path / "thing.txt").write_text("__color__ boat\ntree\n")
    (tmp_path / "loop.txt").write_text("a __pool__\n")
    (tmp_path / "pool.txt").write_text("b __loop__\n")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    return Wildcards([tmp_path])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a {red|blue} boat", ["a red boat", "a blue boat"]),
        ("{a|b} {c|d}", ["a c", "a d", "b c", "b d"]),
        ("{a|{b|c}d}", ["a", "bd", "cd"]),
        ("{a|} x", ["a x", " x"]),
        ("__color__", ["red", "dark blue", "light blue"]),
        ("{__color__|gray} x", ["red x", "dark blue x", "light blue x", "gray x"]),
        ("__thing__", ["red boat", "dark blue boat", "light blue boat", "tree"]),
        ("a:1.2 | b:0.5", ["a:1.2 | b:0.5"]),
        (r"\{a|b\} \__color__", ["{a|b} __color__"]),
        (r"a \| b {c|d}", [r"a \| b c", r"a \| b d"]),
        ("snake_case and __ lines", ["snake_case and __ lines"]),
        ("", [""]),
    ],
)
def test_every_prompt_that_a_template_means(lists, text, meant) -> None:
    template = lists.parse(text)
    assert list(every(template)) == meant and count(template) == len(meant)
    assert {draw(template, picker(seed)) for seed in range(200)} == set(meant)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{a|b", "without its }"),
        ("a|b}", "without its {"),
        ("__colour__", "no wildcard list 'colour'"),
        ("__loop__", "holds itself: loop > pool > loop"),
        ("__empty__", "is empty"),
        ("{" * 30 + "}" * 30, "deeper than"),
    ],
)
def test_a_template_that_makes_no_sense_is_told(lists, text, words) -> None:
    with pytest.raises(UsageError, match=words):
        lists.parse(text)


def test_counting_takes_no_time_however_many_it_is(lists) -> None:
    assert count(lists.parse("{a|b|c|d|e|f|g|h}" * 40)) == 8**40


def test_a_draw_depends_on_the_seed_alone(lists) -> None:
    template = lists.parse("{a|b|c|d} {a|b|c|d} {a|b|c|d}")
    assert [draw(template, picker(seed)) for seed in (1, 2, 1)] == ["b b d", "d d d", "b b d"]


def test_the_lists_that_come_along_can_be_used_and_ones_own_win(tmp_path) -> None:
    shipped = Wildcards(wildcard_folders())
    assert {"color", "style", "subject", "time", "weather"} <= set(shipped.names())
    assert all(count(shipped.parse(f"__{name}__")) > 3 for name in shipped.names())
    (tmp_path / "color.txt").write_text("mine\n")
    assert list(every(Wildcards([tmp_path, *wildcard_folders()]).parse("__color__"))) == ["mine"]


@given(st.text(alphabet="ab{}|_\\ ", max_size=40))
def test_any_template_is_parsed_or_refused_in_a_sentence(text) -> None:
    try:
        template = Wildcards([]).parse(text)
    except UsageError as error:
        assert error.message
        return
    if count(template) < 1000:
        assert len(list(every(template))) == count(template)
    if "\\" not in text and "{" not in text:
        assert list(every(template)) == [text]


def test_what_looks_like_a_choice_is_noticed() -> None:
    assert holds_choices("a {b|c}") and holds_choices("__color__") and not holds_choices("a | b {c} __ d")


def test_sweeps_are_read_and_combined() -> None:
    assert parse_sweep("lr=0.05, 0.1") == Sweep("lr", ("0.05", "0.1"))
    assert parse_sweep("--cutouts=2..4,8,3") == Sweep("cutouts", ("2", "3", "4", "8"))
    assert parse_sweep(r"learning_rate=a\,b") == Sweep("learning-rate", ("a,b",))
    both = list(combinations([Sweep("a", ("1", "2")), Sweep("b", ("3", "4"))]))
    assert both == [(("a", x), ("b", y)) for x in "12" for y in "34"]
    assert list(combinations([])) == [()]
    for wrong in ("lr", "lr=", "=1", "lr=1,,2", "n=5..2", "n=1..999999999"):
        with pytest.raises(UsageError):
            parse_sweep(wrong)


def test_seeds_are_numbers_ranges_and_lists() -> None:
    assert parse_seeds("7") == (7,)
    assert parse_seeds("1..4, 9,2") == (1, 2, 3, 4, 9)
    for wrong in ("", "x", "-1", "4294967296", "1..", "random", "٣"):
        with pytest.raises(UsageError):
            parse_seeds(wrong)


def test_the_wheel_holds_lists_presets_and_weights_where_they_are_looked_for(tmp_path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    root, package = Path(__file__).parent.parent, Path(vqclip.__file__).parent
    (wheel,) = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as packed:
        kept = {name: packed.read(name) for name in packed.namelist() if name.startswith("vqclip/")}
    for name, folders in (("wildcards", wildcard_folders()), ("presets", preset_folders())):
        assert package / name in folders
        files = {f"vqclip/{name}/{path.name}": path.read_bytes() for path in (root / name).iterdir()}
        assert len(files) > 5 and files.items() <= kept.items()
    weights = [starter_path(part) for part in ("vqgan", "clip", "prior")]
    assert all(kept[path.relative_to(package.parent).as_posix()] == path.read_bytes() for path in weights)
