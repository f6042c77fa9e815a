"""Showing how far it is: a bar, lines or JSON; hostile titles, lost terminals and odd clocks do no harm."""

import io
import json
import sys

import pytest
import torch
from steps import make_step

from vqclip.events import Frame
from vqclip.sinks.play import StopFlag, play
from vqclip.sinks.progress import Pace, duration, progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Gone(io.StringIO):
    def write(self, text):
        raise OSError(5, "Input/output error")


@pytest.fixture(autouse=True)
def an_ordinary_terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")


def run(stream, *, steps=10, each=1.0, title="a fox", **options):
    clock = Clock()

    def events():
        for n in range(steps + 1):
            yield make_step(n, steps, loss=1 / (n + 1))
            clock.now += each

    play(events(), progress(title, stream=stream, clock=clock, **options))
    return stream.getvalue()


def test_off_a_terminal_there_is_a_line_every_half_minute_and_a_last_one():
    lines = run(io.StringIO(), steps=20, each=4.0).splitlines()
    assert lines == [
        "a fox: step 8/20, loss 0.1111, 4.00 s/step, 48 s left",
        "a fox: step 16/20, loss 0.0588, 4.00 s/step, 16 s left",
        "a fox: step 20/20, loss 0.0476, 4.00 s/step, 0 s left",
    ]


def make_frame(index, frames):
    facts = {key: value for key, value in vars(make_step(index)).items() if key != "steps"}
    return Frame(**facts, frames=frames, matrix=torch.eye(3)[None])


@pytest.mark.parametrize(("stream", "json_lines"), [(io.StringIO(), False), (Terminal(), False), (io.StringIO(), True)])
def test_a_film_of_six_frames_ends_with_the_sixth(stream, json_lines):
    clock = Clock()

    def events():
        for n in range(6):
            yield make_frame(n, 6)
            clock.now += 2.0

    sink = progress("x", stream=stream, clock=clock, json_lines=json_lines)
    play(events(), sink)
    shown = stream.getvalue()
    if json_lines:
        rows = [json.loads(line) for line in shown.splitlines()]
        assert [(row["event"], row["step"], row["steps"]) for row in rows] == [("frame", n, 6) for n in range(1, 7)]
        assert [row["seconds_left"] for row in rows[1:]] == [8, 6, 4, 2, 0]
    else:
        assert "frame 6/6" in shown and "0 s left" in shown and "/5" not in shown


@pytest.mark.parametrize(("frames", "place"), [(10, "frame 10 of 10"), (1, "frame 1 of 1")])
def test_the_place_that_was_reached_counts_frames_as_progress_does(frames, place):
    stop, said = StopFlag(), io.StringIO()
    play((make_frame(index, frames) for index in range(frames)), progress("x", stream=said), stop=stop)
    assert stop.place == place and f"x: {place.replace(' of ', '/')}," in said.getvalue()


def test_a_stopped_run_says_where_it_stopped():
    stop, stream = StopFlag(), io.StringIO()
    loop = (make_step(n, 10) for n in range(11))
    play(loop, progress("x", stream=stream), lambda event: stop.set(2) if event.index == 3 else None, stop=stop)
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == ["x: step 3/10"]


def test_on_a_terminal_there_is_a_bar_with_all_facts():
    shown = run(Terminal())
    assert "a fox" in shown and "step 10/10" in shown and "loss 0.0909" in shown and "1.00 s/step" in shown
    assert shown.endswith("\x1b[?25h")


def test_results_printed_while_the_bar_moves_stay_on_the_standard_output():
    before, during = sys.stdout, []
    play([make_step(0), make_step(1)], progress("x", stream=Terminal()), lambda event: during.append(sys.stdout))
    assert all(stream is before for stream in during)


def test_no_color_means_no_color(monkeypatch):
    assert "\x1b[38;5" in run(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    shown = run(Terminal())
    assert "\x1b[38;5" not in shown and "\x1b[3" not in shown.replace("\x1b[3m", "")


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert run(Terminal()) == "a fox: step 10/10, loss 0.0909, 1.00 s/step, 0 s left\n"


def test_forced_color_puts_no_bar_into_a_file(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in run(io.StringIO())


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_title_is_neither_markup_nor_escape_codes_nor_lines(kind):
    shown = run(kind(), title="[/no] \x1b[2Jx\n{task}")
    assert "[/no]" in shown and "\x1b[2J" not in shown and "{task}" in shown
    assert "\x1b[2J" not in run(kind(), title="y" * 500)


def test_quiet_says_nothing_and_steps_of_zero_are_shown():
    assert run(Terminal(), quiet=True) == ""
    assert "step 0/0" in run(Terminal(), steps=0) and "step 0/0" in run(io.StringIO(), steps=0)


def test_json_lines_are_numbers_for_programs():
    rows = [json.loads(line) for line in run(io.StringIO(), steps=4, each=0.1, json_lines=True).splitlines()]
    assert [row["step"] for row in rows] == [0, 3, 4]
    assert rows[1] == {
        "event": "step",
        "step": 3,
        "steps": 4,
        "loss": 0.25,
        "skipped": 0,
        "seconds_per_step": pytest.approx(0.1),
        "seconds_left": pytest.approx(0.1),
    }


def test_a_loss_that_is_no_number_and_skipped_steps_are_said():
    stream = io.StringIO()
    play([make_step(5, 5, loss=float("nan"), skipped=3)], progress("x", stream=stream))
    assert stream.getvalue() == "x: step 5/5, loss -, 3 steps skipped, their loss was not a number\n"
    stream = io.StringIO()
    play([make_step(5, 5, skipped=1)], progress("x", stream=stream))
    assert stream.getvalue().endswith(", 1 step skipped, their loss was not a number\n")
    stream = io.StringIO()
    play([make_step(5, 5, loss=float("inf"))], progress("x", stream=stream, json_lines=True))
    assert json.loads(stream.getvalue())["loss"] is None


def test_after_a_signal_the_bar_says_so():
    stop, stream = StopFlag(), Terminal()
    play(
        (make_step(n, 10) for n in range(11)),
        lambda event: stop.set(2) if event.index == 3 else None,
        progress("x", stream=stream, stop=stop),
        stop=stop,
    )
    assert "stopping after this step" in stream.getvalue()


@pytest.mark.parametrize("json_lines", [False, True])
def test_a_terminal_that_went_away_does_not_end_the_painting(json_lines):
    class GoneTerminal(Gone, Terminal):
        pass

    for stream in (Gone(), GoneTerminal()):
        sink = progress("x", stream=stream, json_lines=json_lines)
        assert play((make_step(n, 3) for n in range(4)), sink).is_last


def test_losses_are_read_only_when_shown():
    class Counted:
        reads = 0

        def __float__(self):
            Counted.reads += 1
            return 0.5

    clock = Clock()
    sink = progress("x", stream=Terminal(), clock=clock)
    for n in range(100):
        sink(make_step(n, 1000).__class__(**{**vars(make_step(n, 1000)), "loss": Counted()}))
        clock.now += 0.05
    sink.close()
    assert 15 <= Counted.reads <= 25


def test_the_pace_is_a_median_and_a_clock_that_jumps_back_gives_no_negative_time():
    clock = Clock()
    pace = Pace(clock)
    for n, seconds in enumerate([1.0, 1.0, 500.0, 1.0, -300.0, 1.0]):
        pace.tick(make_step(n, 100))
        clock.now += seconds
    report = pace.report(make_step(6, 100, loss=torch.tensor(2.0)))
    assert report.seconds_per_step == 1.0 and report.seconds_left == 94.0


def test_durations_are_said_as_people_say_them():
    assert [duration(s) for s in (0.4, 59, 60, 185, 3600, 7800)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "3 min 5 s",
        "1 h 0 min",
        "2 h 10 min",
    ]
