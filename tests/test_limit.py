"""`--timeout`: the run stops in good order when its time is over, and a step that hangs ends with a sentence."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from batches import SMALL, pictures, pixels, start_hanging, strays, wait_for_end_of, wait_for_file
from steps import make_step
from test_workers import children, lives

from vqclip.cli import limit
from vqclip.cli.limit import seconds_of
from vqclip.cli.main import main
from vqclip.errors import UsageError
from vqclip.sinks.play import StopFlag, play

LONGER = ("--steps", "400", *SMALL[2:], "--seed", "5")


@pytest.fixture
def hour_over_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Makes `--timeout 1h` end when the run reaches a place, however long that takes."""
    started = []

    def thread(**how: Any) -> threading.Thread:
        started.append(threading.Thread(**how))
        return started[-1]

    def end_at(place: str) -> None:
        begun, reach = threading.Event(), StopFlag.reach

        class Hour(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                return not begun.wait() if timeout == 3600 else super().wait(timeout)

        def reached(stop: StopFlag, where: str) -> None:
            reach(stop, where)
            if where.startswith(place):
                begun.set()

        monkeypatch.setattr(limit, "threading", SimpleNamespace(Event=Hour, Thread=thread))
        monkeypatch.setattr(StopFlag, "reach", reached)

    yield end_at
    for one in started:
        one.join(5)  # or its words come in the next test


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("90s", 90), (" 90 s ", 90), ("90m", 5400), ("2H", 7200), ("2 h 10 min", 7800),
     ("1h30m", 5400), ("1h 30m", 5400), ("1h30m5s", 5405), ("1h 5s", 3605), ("123456789", 123456789)],
)  # fmt: skip
def test_a_span_of_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "soon", "1.2.3", "h", "2d", "5m 2h", "nan", "1e9", "9" * 99, "1 30"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no span of time"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "cure"), [("1h30", "m, or s,"), ("1 h 30", "m, or s,"), ("1m30", "s"), ("1h30m5", "s")]
)
def test_a_number_behind_a_unit_must_say_its_own(text: str, cure: str) -> None:
    with pytest.raises(UsageError, match="does not say the unit of its last number") as caught:
        seconds_of(text)
    assert caught.value.exit_code == 2 and caught.value.hint == f"write {cure} behind it"


def test_a_wrong_timeout_is_exit_2_before_any_work(tiny_models, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("fog\n")
    for command in (["fog"], ["batch", "p.txt"], ["zoom", "fog"], ["film", "--story", "a ^ b"]):
        assert main([*command, "--timeout", "soon", "--dry-run"]) == 2
        assert "'soon' is no span of time" in capsys.readouterr().err


def test_the_flag_knows_where_the_run_is_and_since_when(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("vqclip.sinks.play.time.monotonic", lambda: now[0])
    stop = StopFlag()

    def loop():
        for index, seconds in enumerate((1.0, 5.0, 2.0)):
            now[0] += seconds
            yield make_step(index, 300)

    play(loop(), stop=stop)
    assert (stop.place, stop.heard) == ("step 2 of 300", 8.0)


def test_a_picture_whose_time_is_over_is_saved_and_its_line_goes_on(
    tiny_models, tmp_path, monkeypatch, capsys, hour_over_at
) -> None:
    monkeypatch.chdir(tmp_path)
    hour_over_at("step 2 ")
    assert main(["a castle", *tiny_models.flags(), *LONGER, "--timeout", "1h", "--count", "2"]) == 143
    out, err = capsys.readouterr()
    assert out == "outputs/a-castle-5.png\n" and "the time is over: stopping after this step" in err
    assert "not begun: 1 of 2 pictures; the same with --seed 6 --count 1 paints the rest" in err
    first = pixels(out.strip())
    (line,) = [line for line in err.splitlines() if "go on with: " in line]
    hour_over_at("step 1")  # a later one: it goes on from there
    assert main([*shlex.split(line.split("go on with: ")[1])[1:], "--timeout", "1h"]) == 143
    out, err = capsys.readouterr()
    assert "goes on from step" in err and pixels(out.strip()) != first


@pytest.mark.parametrize(("workers", "place"), [("1", "step 1 "), ("2", "line")])
def test_a_batch_whose_time_is_over_goes_on_with_the_same_command(
    tiny_models, tmp_path, monkeypatch, capsys, hour_over_at, workers, place
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("fog --steps 1\na castle --steps 40\n")
    command = ["batch", "p.txt", *tiny_models.flags(), *SMALL[2:], "--sweep", "average=0.5,0.6"]
    hour_over_at(place)
    assert main([*command, "--workers", workers, "--timeout", "1h"]) == 143
    assert "the same command goes on: vqclip batch p.txt" in capsys.readouterr().err
    assert len(pictures(Path("outputs/p"))) < 4
    assert main(command) == 0 and len(pictures(Path("outputs/p"))) == 4 and strays(Path("outputs/p")) == []


def test_a_film_whose_time_is_over_goes_on_from_its_folder(
    tiny_models, tmp_path, monkeypatch, capsys, hour_over_at
) -> None:
    monkeypatch.chdir(tmp_path)
    hour_over_at("frame 1 ")
    film = ["--frames", "2000", "--steps-per-frame", "1", "--format", "gif", "--timeout", "1h"]
    assert main(["zoom", "a castle", *tiny_models.flags(), *SMALL, "--seed", "5", *film]) == 143
    assert "go on with: vqclip resume outputs/a-castle-5.frames" in capsys.readouterr().err
    hour_over_at("frame")
    assert main(["resume", "outputs/a-castle-5.frames", "--timeout", "1h"]) == 143


@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("step 1 ", ("a castle", *LONGER, "--count", "2")),
        ("step 1 ", ("batch", "p.txt", *LONGER)),
        ("frame 1 ", ("zoom", "a castle", *SMALL, "--frames", "2000", "--steps-per-frame", "1", "--format", "gif")),
    ],
)
def test_quiet_says_nothing_of_a_picture_a_batch_and_a_film_that_were_stopped(
    tiny_models, tmp_path, monkeypatch, capsys, hour_over_at, place, command
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("a castle\n")
    hour_over_at(place)
    assert main([*command, *tiny_models.flags(), "--timeout", "1h", "--quiet"]) == 143
    out, err = capsys.readouterr()
    assert err == "" and bool(out) == (command[0] != "batch")
    if out:  # the path is enough to go on
        hour_over_at(place.split()[0])
        flags = tiny_models.flags() if command[0] == "a castle" else ()
        assert main(["resume", out.strip(), *flags, "--timeout", "1h", "--quiet"]) == 143
        assert capsys.readouterr() == (out, "")


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_step_that_hangs_ends_the_process_with_a_sentence_that_names_the_last(tiny_models, tmp_path, more) -> None:
    size = [*SMALL, "-o", tmp_path / "a.png", "--timeout", "1h"]
    process = start_hanging(tmp_path, "fog", *tiny_models.flags(), *size, *more)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (143, "")
    said = json.loads(err.splitlines()[-1])["error"] if more else err
    assert "no step came to its end for 1 s: the last was step 1 of 3" in said and "Traceback" not in err
    assert list(tmp_path.glob("*.png")) == []


def test_workers_that_hang_are_ended_with_their_driver(tiny_models, tmp_path) -> None:
    (tmp_path / "p.txt").write_text("a castle\nfog\n")
    size = [*SMALL, "-o", tmp_path / "out", "--workers", "2", "--timeout", "1h"]
    driver = start_hanging(tmp_path, "batch", tmp_path / "p.txt", *tiny_models.flags(), *size)
    wait_for_file(tmp_path / "hung", driver)
    crew = children(driver.pid)
    out, err = driver.communicate(timeout=300)
    assert (driver.returncode, out) == (143, "") and "no step came to its end" in err, err
    assert len(crew) == 2
    wait_for_end_of(lambda: [pid for pid in crew if lives(pid)])
