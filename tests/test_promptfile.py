"""Files of prompts: every kind and encoding gives rows with places, and every mistake is told with its own."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqclip.errors import UsageError
from vqclip.promptfile import KINDS, MAX_BYTES, MAX_LINE, decode, read_rows
from vqclip.prompttable import Row, Word

LINES = "# list\na castle --steps 50 -n 3\n\n  fög\t--lr=0.1\n"


def rows(text: str | bytes, kind: str = ".txt") -> list[Row]:
    read = read_rows(text if isinstance(text, bytes) else text.encode(), name="f", kind=kind, short={"-n"})
    assert read.problems == []
    return read.rows


def problems(text: str, kind: str = ".txt") -> list[str]:
    return [str(problem) for problem in read_rows(text.encode(), name="f", kind=kind).problems]


def said(row: Row) -> list[str]:
    return [word.text for word in row.options]


def test_a_line_is_a_prompt_and_its_options_with_their_columns() -> None:
    first, second = rows(LINES)
    assert first == Row(2, "a castle", (Word("--steps", 10), Word("50", 18), Word("-n", 21), Word("3", 24)))
    assert second == Row(4, "fög", (Word("--lr=0.1", 7),))


@pytest.mark.parametrize(
    "data",
    [
        LINES.replace("\n", "\r\n").encode(),
        LINES.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + LINES.encode(),
        LINES.encode("utf-16"),
        b"\xfe\xff" + LINES.encode("utf-16-be"),
        LINES.rstrip("\n").encode(),
    ],
    ids=["crlf", "cr", "mark", "utf-16", "utf-16-be", "no last line end"],
)
def test_encodings_and_line_ends_make_no_difference(data) -> None:
    assert rows(data) == rows(LINES)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"ok\nab\xe9c\n", "line 2, column 3: 0xe9 is not UTF-8"),
        (b"\xef\xbb\xbfok\r\n\xff", "line 2, column 1: 0xff is not UTF-8"),
        ("h\nä".encode("utf-16") + b"\x00\xd8b\0", "line 2, column 2: 0x00 0xd8 is not UTF-16"),
        (b"a\nb\0c", "line 2, column 2: a NUL"),
        ("ab".encode("utf-16-le"), "line 1, column 2: a NUL"),
        (b"x" * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_bytes_that_are_no_text_are_refused_with_their_place(data, words) -> None:
    with pytest.raises(UsageError, match=words):
        read_rows(data, name="f")


@pytest.mark.parametrize(
    ("line", "prompt", "options"),
    [
        ("a well-known - thing -x y", "a well-known - thing -x y", []),
        ("it's a --lr 1", "it's a", ["--lr", "1"]),
        ('"a --b c" --lr 1', "a --b c", ["--lr", "1"]),
        (r'"say \"hi\"" -n 2', 'say "hi"', ["-n", "2"]),
        ('"a" b "c" --lr 1', '"a" b "c"', ["--lr", "1"]),
        ("a:1.2 | b:0.5 \\| c", "a:1.2 | b:0.5 \\| c", []),
        ("a --size '5 6' --x=\"y z\"'w'", "a", ["--size", "5 6", "--x=y zw"]),
        ("--steps 3", "", ["--steps", "3"]),
        ("a -- b", "a -- b", []),
        ("minus -5 degrees", "minus -5 degrees", []),
    ],
)
def test_where_a_prompt_ends(line, prompt, options) -> None:
    (row,) = rows(line)
    assert (row.prompt, said(row)) == (prompt, options)


def test_a_quote_that_is_not_closed_and_a_line_too_long_are_told_and_other_lines_are_read() -> None:
    read = read_rows(f"a --x 'b\n{'c' * (MAX_LINE + 1)}\nfine\n".encode(), name="f")
    assert [str(one) for one in read.problems] == [
        "line 1, column 7: the quote ' is not closed",
        f"line 2, column {MAX_LINE}: the line is longer than {MAX_LINE} characters",
    ]
    assert [row.prompt for row in read.rows] == ["fine"]


def test_a_table_is_cut_at_what_its_first_line_is_cut_at() -> None:
    for cut in ",;\t":
        text = f'steps{cut}prompt{cut}flip\n5{cut}"a{cut} b"{cut}true\n{cut}{cut}\n{cut}c\n'
        first, second = rows(text, ".csv")
        assert (first.prompt, said(first), first.line) == (f"a{cut} b", ["--steps=5", "--flip=true"], 2)
        assert (second.prompt, said(second), second.line) == ("c", [], 4)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("text,steps\na,5\n", ["line 1: the first line must name the columns, `prompt` among them"]),
        ("prompt,a,a\nx,1,2\n", ["line 1, a: two columns have this name"]),
        ("prompt\na,b\n", ["line 2: 2 cells, but the first line names 1 column"]),
        ("prompt,a b\nx,1\n", ["line 2, a b: this is no name of a setting"]),
    ],
)
def test_a_table_that_makes_no_sense_says_where(text, told) -> None:
    assert problems(text, ".csv") == told


def test_json_lines_are_objects_or_strings_and_mistakes_have_columns() -> None:
    text = '{"prompt": "a", "clip": ["x", "y"], "flip": false, "lr": 0.1, "tv": null}\n"b"\n'
    first, second = rows(text, ".jsonl")
    assert (first.prompt, said(first)) == ("a", ["--clip=x", "--clip=y", "--no-flip", "--lr=0.1"])
    assert (second.prompt, second.line) == ("b", 2)
    wrong = '{"prompt": 5}\n{"a" 1}\n[1]\n{"prompt": "x", "lr": {}}\n{"lr": NaN}\n' + "[" * 9999
    places = [told.split(":")[0] for told in problems(wrong, ".jsonl")]
    assert places == [f"line {n}, column {column}" for n, column in enumerate((2, 6, 1, 17, 2, 1), start=1)]


def test_toml_has_a_table_for_each_picture_and_what_stands_above_holds_for_all() -> None:
    text = 'steps = 5\n[[picture]]\nprompt = "a"\n\n[[picture]]\nprompt = "b"\nsteps = 6\n'
    first, second = rows(text, ".toml")
    assert (first.line, said(first), second.line, said(second)) == (2, ["--steps=5"], 5, ["--steps=6"])
    assert problems("a = \n", ".toml")[0].startswith("line 1, column 5: not TOML")


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a = \n", ["line 1, column 5"]),
        ('a = 1\nb = """x\ny', ["line 3, column 2"]),
        ("steps = 5\n picture = 5\n", ["line 2, column 2"]),
        ("[picture]\nprompt = 'a'\n", ["line 1, column 1"]),
        ("[[picture]]\nprompt = 'a'\n\n  lr = 1979-05-27\n", ["line 4, column 3"]),
        ("lr = {}\n[[picture]]\nprompt = 'a'\n", ["line 1, column 1"]),
        ("[[picture]]\nprompt = 'a'\n[[picture]]\nprompt = 5\n", ["line 4, column 1"]),
        ("steps = 5\npicture = [{prompt = 'a'},\n{prompt = 5}]\n", ["line 2, picture 2, prompt"]),
    ],
)  # fmt: skip
def test_mistakes_in_toml_have_a_line_and_a_column(text, places) -> None:
    assert [told.split(":")[0] for told in problems(text, ".toml")] == places


def test_tables_of_another_name_are_told_where_they_begin_and_hide_no_other_mistake() -> None:
    text = "[[picture]]\nprompt = 'a'\nlr = 1979-05-27\n[[pictures]]\nprompt = 'b'\n"
    told = problems(text, ".toml")
    assert told[0] == "line 4, column 1: [[pictures]] is nothing here; write [[picture]] for each picture"
    assert len(told) == 2 and told[1].startswith("line 3, column 1: a value is text")


def test_an_option_in_toml_knows_its_own_line() -> None:
    first, second = rows('steps = 5\n[[picture]]\nprompt = "a"\n\n[[picture]]\n lr = 6\n', ".toml")
    assert first.options == (Word("--steps=5", 1, 1),) and second.line == 5
    assert second.options == (Word("--steps=5", 1, 1), Word("--lr=6", 2, 6))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="of the kind"):
        read_rows(b"", name="f", kind=".yaml")


@given(st.binary(max_size=300), st.sampled_from(KINDS))
def test_any_bytes_give_rows_or_a_sentence(data, kind) -> None:
    try:
        read = read_rows(data, name="f", kind=kind, short={"-n"})
    except UsageError as error:
        assert error.message.startswith("f")
        return
    assert all(row.line >= 1 for row in read.rows) and all(str(one) for one in read.problems)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=60))
def test_a_prompt_in_json_comes_back_as_it_was(text) -> None:
    (row,) = rows(json.dumps({"prompt": text}, ensure_ascii=False), ".jsonl")
    assert row.prompt == text
    assert decode(text.encode("utf-16"), name="f") == text
