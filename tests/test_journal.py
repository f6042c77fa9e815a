"""The table of losses."""

import csv
import json

import pytest
from steps import make_step

from vqclip.errors import OutputError, UsageError
from vqclip.sinks.journal import Journal
from vqclip.sinks.play import StopFlag, play


def events(count, steps=None):
    for n in range(count):
        loss = float("nan") if n == 3 else 1.0 / (n + 1)
        yield make_step(n, steps or count - 1, loss=loss, losses={"starter": 0.5, "tv": n / 8})


def test_every_step_is_a_row_of_the_csv(tmp_path):
    play(events(120), Journal(tmp_path / "new" / "losses.csv"))
    rows = list(csv.DictReader((tmp_path / "new" / "losses.csv").open(encoding="utf-8")))
    assert [int(row["step"]) for row in rows] == list(range(120))
    assert list(rows[0]) == ["step", "loss", "starter", "tv"]
    assert float(rows[1]["loss"]) == 0.5 and float(rows[2]["tv"]) == 0.25
    assert rows[3]["loss"] == ""


def test_every_step_is_a_line_of_the_jsonl(tmp_path):
    play(events(60), Journal(tmp_path / "losses.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert len(rows) == 60 and rows[1] == {"step": 1, "loss": 0.5, "starter": 0.5, "tv": 0.125}
    assert rows[3]["loss"] is None


def test_a_stopped_run_loses_no_row_and_a_second_run_gets_its_own_file(tmp_path):
    for _ in range(2):
        stop, journal = StopFlag(), Journal(tmp_path / "losses.csv")
        play(events(20, 100), journal, lambda event, stop=stop: stop.set(2) if event.index == 7 else None, stop=stop)
        assert len(journal.path.read_text().splitlines()) == 1 + 8
    assert journal.path.name == "losses-2.csv"


def test_a_journal_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        play(events(3), Journal(tmp_path / "file" / "losses.csv"))
    with pytest.raises(UsageError, match=r"\.xls"):
        Journal(tmp_path / "losses.xls")
