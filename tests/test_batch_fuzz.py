"""Damaged files of prompts: a plan, or a documented exit code and a sentence; never a traceback or a hang."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from watch import small, watched

from vqclip.cli.main import main
from vqclip.promptfile import KINDS

GOOD = {
    ".txt": b'# list\na castle --steps 5 --lr 0.01\n"fog -- on" -n 2 -s 32 32\na {red|blue} __color__ boat --flip\n',
    ".csv": b'prompt,lr,flip,count,clip\r\na castle,0.1,true,2,starter\r\n"fog, __time__",,false,,\r\n',
    ".jsonl": b'{"prompt": "a castle", "steps": 5, "flip": false}\n"{fog|sun}"\n{"prompt": "x", "clip": ["starter"]}\n',
    ".toml": b'steps = 5\n[[picture]]\nprompt = "a castle"\n[[picture]]\nprompt = "fog"\nlr = 0.1\nflip = true\n',
}
PIECES = [b"\0", b"\xff", b"\xef\xbb\xbf", b"{", b"}", b"|", b"__", b"--", b'"', b"'", b"\\", b"\n", b"1e999", b"--lr"]
PIECES += [
    b" --seed 1..99",
    b" --init-image ../../x",
    b" --vqgan /etc/passwd",
    b"--help",
    b" -n -3",
    b":1:2",
    b"9" * 500,
]
DOCUMENTED = {0, 2, 3, 4, 5, 6, 7, 8}

mutations = st.lists(
    st.tuples(st.integers(0, 200), st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)), st.integers(0, 6)),
    max_size=6,
)


def damaged(data: bytes, changes: list[tuple[int, bytes, int]]) -> bytes:
    for place, piece, gone in changes:
        place %= len(data) + 1
        data = data[:place] + piece + data[place + gone :]
    return data


def plan(folder: Path, kind: str, changes: list[tuple[int, bytes, int]], capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / f"p{kind}"
    path.write_bytes(damaged(GOOD[kind], changes))
    with watched(), small():
        code = main(["batch", str(path), "--dry-run", "--expand", "all", "--max-jobs", "300"])
    out, err = capsys.readouterr()
    assert code in DOCUMENTED and "Traceback" not in err, err
    assert bool(out) == (code == 0) and (code == 0 or "error: " in err)


def test_a_hang_is_noticed() -> None:
    with pytest.raises(AssertionError, match="longer than"), watched(0.2):
        time.sleep(5)


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(kind=st.sampled_from(KINDS), changes=mutations)
def test_a_damaged_file_is_a_plan_or_a_sentence(tmp_path, capsys, kind, changes) -> None:
    plan(tmp_path, kind, changes, capsys)


@pytest.mark.long
@settings(max_examples=500, deadline=None, suppress_health_check=QUIET)
@given(kind=st.sampled_from(KINDS), changes=mutations)
def test_five_hundred_damaged_files_are_plans_or_sentences(tmp_path, capsys, kind, changes) -> None:
    plan(tmp_path, kind, changes, capsys)
