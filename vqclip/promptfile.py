"""Files of prompts (.txt, .csv, .jsonl, .toml): bytes become rows that know their place. It knows no option by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from vqclip.errors import UsageError
from vqclip.prompttable import Row, Rows, Word, complain, read_csv, read_jsonl, read_toml
from vqclip.words import did_you_mean

KINDS = (".txt", ".csv", ".jsonl", ".toml")
MAX_BYTES = 16 * 1024 * 1024
MAX_LINE = 100_000
MAX_ROWS = 100_000


def read_rows(data: bytes, *, name: str, kind: str = ".txt", short: Collection[str] = ()) -> Rows:
    """The rows of a file of prompts, and all that is wrong with it, each problem with its line and column.

    kind is the suffix that the content has. short names the options of one dash, so that a line knows where its prompt
    ends (`a castle -n 3`); words of two dashes always are options. Text may be UTF-8 or UTF-16, with any line ends.

    Raises: UsageError for an unknown kind, a file too large, or bytes that are no text, saying where they stand.
    """
    if kind not in KINDS:
        near = did_you_mean(kind, KINDS)
        raise UsageError(f"{name}: a file of prompts cannot be of the kind {kind!r}", hint=near or ", ".join(KINDS))
    if len(data) > MAX_BYTES:
        raise UsageError(f"{name}: larger than {MAX_BYTES // 2**20} MB", hint="split it into several files")
    text = decode(data, name=name)
    readers: dict[str, Callable[[str], Rows]] = {
        ".txt": lambda text: _read_lines(text, frozenset(short)),
        ".csv": read_csv,
        ".jsonl": read_jsonl,
        ".toml": read_toml,
    }
    rows = readers[kind](text)
    if len(rows.rows) > MAX_ROWS:
        raise UsageError(f"{name}: more than {MAX_ROWS} prompts", hint="split it into several files")
    return rows


def decode(data: bytes, *, name: str) -> str:
    """Bytes as text with plain line ends: UTF-16 by its mark, else UTF-8, whose mark is dropped.

    Raises: UsageError naming line and column of the first byte that is no text, or of a NUL.
    """
    codec = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        # The decoder counts from behind the mark of UTF-8, so what is good is cut the same way.
        before = (error.object[: error.start]).decode(codec.removesuffix("-sig"), "ignore").removeprefix("\ufeff")
        kind = "UTF-16" if codec == "utf-16" else "UTF-8"
        bad = " ".join(f"{byte:#04x}" for byte in error.object[error.start : error.end][:2])
        raise UsageError(
            f"{name}, {_place(_plain(before))}: {bad or 'the end'} is not {kind} text", hint="save it as UTF-8"
        ) from error
    text = _plain(text)
    if "\0" in text:
        hint = "is it UTF-16 without its mark? save it as UTF-8"
        raise UsageError(f"{name}, {_place(text[: text.index(chr(0))])}: a NUL character", hint=hint)
    return text


def split_options(text: str, *, first: int = 1) -> Iterator[Word]:
    """The words of an option text as a shell would cut them, with the column of each (`first` is that of the text).

    Raises: ValueError whose `args` are a sentence and a column, for a quote that is not closed.
    """
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        found = _WORD.match(text, position)
        end = found.end() if found else position
        if end < len(text) and not text[end].isspace():
            raise ValueError(f"the quote {text[end]} is not closed", first + end)
        yield Word(_QUOTED.sub(_unquote, text[position:end]), first + position)
        position = end


_WORD = re.compile(r"""(?:[^\s"']|"(?:[^"\\]|\\.)*"|'[^']*')+""")
_QUOTED = re.compile(r""""((?:[^"\\]|\\.)*)"|'([^']*)'""")
_WHOLE = re.compile(r'"((?:[^"\\]|\\.)*)"(?=\s*$|\s+-)')
_DASHED = re.compile(r"(?<!\S)(?:--[A-Za-z]|(-[A-Za-z]+)(?![^\s=]))")


def _read_lines(text: str, short: frozenset[str]) -> Rows:
    """A prompt a line; empty lines and those that begin with # are nothing."""
    found = Rows([], [])
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if len(line) > MAX_LINE:
            complain(found, number, MAX_LINE, f"the line is longer than {MAX_LINE} characters")
            continue
        try:
            found.rows.append(_read_line(line, number, short))
        except ValueError as error:
            complain(found, number, error.args[1], error.args[0])
    return found


def _read_line(line: str, number: int, short: frozenset[str]) -> Row:
    """Cuts a line where its options begin. A prompt in double quotes may hold what looks like one."""
    start = len(line) - len(line.lstrip())
    whole = _WHOLE.match(line, start)
    if whole:
        prompt, end = whole[1].replace('\\"', '"'), whole.end()
    else:
        dashed = (found for found in _DASHED.finditer(line) if not found[1] or found[1] in short)
        end = next((found.start() for found in dashed), len(line))
        prompt = line[:end].strip()
    return Row(number, prompt, tuple(split_options(line[end:], first=end + 1)))


def _unquote(found: re.Match[str]) -> str:
    return found[2] if found[1] is None else re.sub(r'\\(["\\])', r"\1", found[1])


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _place(before: str) -> str:
    """Where the text after `before` begins."""
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
