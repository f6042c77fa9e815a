"""Draining a loop: order, closing, and what signals do."""

import os
import signal
import threading
import time

import pytest
from steps import start_python

from vqclip.sinks.play import Interrupted, Sink, StopFlag, play, signals


class Recorder:
    def __init__(self, name, log, fail_at=None):
        self.name, self.log, self.fail_at = name, log, fail_at

    def __call__(self, event):
        self.log.append((self.name, event))
        if event == self.fail_at:
            raise RuntimeError("full")

    def close(self):
        self.log.append((self.name, "closed"))


def test_every_event_goes_to_every_sink_in_order_and_the_last_comes_back():
    log = []
    assert play(range(2), Recorder("a", log), Recorder("b", log)) == 1
    assert log == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", "closed"), ("b", "closed")]
    assert isinstance(Recorder("a", log), Sink)


def test_a_plain_function_is_a_sink_and_no_events_give_none():
    seen = []
    assert play(iter("xyz"), seen.append) == "z" and seen == ["x", "y", "z"]
    assert play([]) is None


def test_a_flag_stops_between_events_after_all_sinks_have_seen_the_event():
    log, stop = [], StopFlag()
    last = play(range(10), lambda event: stop.set(15) if event == 3 else None, Recorder("b", log), stop=stop)
    assert last == 3
    assert log[-2:] == [("b", 3), ("b", "closed")]
    assert stop.exit_code == 143


def test_a_flag_that_is_already_up_asks_for_no_event_at_all():
    def never():
        raise AssertionError("asked for an event")
        yield

    stop = StopFlag()
    assert not stop and stop.exit_code == 0
    stop.set(2)
    stop.set(15)
    assert play(never(), stop=stop) is None and stop.exit_code == 130


def test_an_error_in_a_sink_still_closes_the_loop_and_all_sinks():
    log = []

    def loop():
        try:
            yield from range(5)
        finally:
            log.append(("loop", "closed"))

    with pytest.raises(RuntimeError, match="full"):
        play(loop(), Recorder("a", log, fail_at=1), Recorder("b", log))
    assert log[-3:] == [("loop", "closed"), ("a", "closed"), ("b", "closed")]


def test_the_first_signal_sets_the_flag_the_second_raises_and_the_old_handlers_come_back():
    def own(number, frame): ...

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, own) for number in numbers}  # under nohup SIGHUP is ignored
    try:
        for number in numbers:
            with pytest.raises(Interrupted) as caught, signals() as stop:
                os.kill(os.getpid(), number)
                assert stop.signal == number and stop.exit_code == 128 + number
                os.kill(os.getpid(), number)
                time.sleep(1)
            assert caught.value.exit_code == 128 + number
            assert isinstance(caught.value, KeyboardInterrupt)
            assert {signal.getsignal(n) for n in numbers} == {own}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_signal_that_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_the_flag_just_stays_down():
    found = []

    def work():
        with signals() as stop:
            found.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


CHILD = """
import sys, time
from vqclip.sinks.play import Interrupted, play, signals

def loop():
    yield 0
    print("ready", flush=True)
    while not stop:
        time.sleep(0.01)
    if sys.argv[1] == "stubborn":
        print("heard", flush=True)
        time.sleep(600)
    yield 1
    yield 2

try:
    with signals() as stop:
        last = play(loop(), stop=stop)
except Interrupted as error:
    print("at once", flush=True)
    sys.exit(error.exit_code)
print("saved", last, flush=True)
sys.exit(stop.exit_code)
"""


def test_one_signal_finishes_the_step_and_a_second_quits_at_once():
    cases = [(number, kind) for number in (2, 15, 1) for kind in ("willing", "stubborn")]
    running = [(number, kind, start_python(CHILD, kind)) for number, kind in cases]
    for number, kind, process in running:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        if kind == "stubborn":
            assert process.stdout.readline() == "heard\n"
            process.send_signal(number)
        said, problem = process.communicate(timeout=300)
        assert process.returncode == 128 + number, problem
        assert said == ("at once\n" if kind == "stubborn" else "saved 1\n")
