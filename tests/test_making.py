import os
from fractions import Fraction

import av
import pytest
import torch
from steps import make_step

from vqclip.errors import OutputError
from vqclip.sinks.film import FilmFile
from vqclip.sinks.making import EASE, EASE_OF_PICTURES, MakingOf, eased
from vqclip.sinks.play import play


def _film(path, frames=12, notes=None):
    file = FilmFile(path, size=(16, 16), fps=Fraction(12))
    return MakingOf(file, (16, 16), frames=frames, fps=12, on_note=(notes if notes is not None else []).append)


def _steps(count, *, stop=None):
    return (make_step(n, count, value=n / count, size=16) for n in range((stop or count) + 1))


def _brightness(path):
    with av.open(str(path)) as film:
        return [float(frame.to_ndarray(format="rgb24").mean()) for frame in film.decode(video=0)]


def test_the_start_takes_its_time():
    times = list(eased(11, 100))
    assert (times[0], times[-1]) == (0, 100) and times == sorted(times)
    assert times[5] == 25  # half of the film shows the first quarter of the steps
    assert list(eased(1, 100)) == [0]
    assert list(eased(3, 100, first=60, power=1)) == [60, 80, 100]


@pytest.mark.parametrize(("ease", "share"), [(EASE, 0.01), (EASE_OF_PICTURES, 0.058)])
def test_what_changes_evenly_needs_less_ease_to_move_from_the_first_tenth_on(tmp_path, ease, share):
    file = FilmFile(tmp_path / "a.mp4", size=(16, 16), fps=Fraction(12))
    making = MakingOf(file, (16, 16), frames=51, fps=12, on_note=print, ease=ease)
    play(_steps(100), making)
    shown = _brightness(making.path)
    assert (shown[5] - shown[0]) / 255 == pytest.approx(share, abs=0.015)
    assert (shown[25] - shown[0]) / 255 == pytest.approx(0.5**ease, abs=0.02)


def test_a_painting_that_was_gone_on_with_is_filmed_from_there(tmp_path):
    making = _film(tmp_path / "a.mp4")
    play((make_step(n, 40, value=n / 40, size=16) for n in range(20, 41)), making)
    light = _brightness(making.path)
    assert len(light) == 24 and light[0] == pytest.approx(127, abs=6) and light[-1] > 245
    assert light[6] - light[0] > 10  # not a still up to the step it went on at


@pytest.mark.parametrize("steps", [1, 5, 40])
def test_a_making_of_has_its_length_and_holds_the_last_frame(tmp_path, steps):
    making = _film(tmp_path / "a.mp4")
    play(_steps(steps), making)
    light = _brightness(making.path)
    assert len(light) == 12 + 12
    assert light == sorted(light) and light[-1] - light[11] < 2 and light[-1] > 245 and light[0] < 8


def test_a_painting_that_is_stopped_gets_a_film_up_to_there(tmp_path):
    making = _film(tmp_path / "a.mp4")
    play(_steps(40, stop=20), making)
    light = _brightness(making.path)
    assert 12 < len(light) < 24 and light[-1] == pytest.approx(127, abs=6)


def test_smaller_stages_are_enlarged_and_steps_back_are_passed_over(tmp_path):
    making = _film(tmp_path / "a.mp4")
    events = [
        make_step(n, 10, value=n / 10, size=8 if n < 5 else 16) for n in (0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    ]
    play(iter(events), making)
    assert len(_brightness(making.path)) == 24


def test_a_film_that_cannot_be_written_does_not_end_the_painting(tmp_path, monkeypatch):
    notes = []
    making = _film(tmp_path / "a.mp4", notes=notes)

    def fail(self, picture):
        self.discard()
        raise OutputError("the disk is full")

    monkeypatch.setattr(FilmFile, "add", fail)
    last = play(_steps(10), making)
    assert last is not None and last.is_last and making.path is None
    assert notes == ["no more film: the disk is full"] and os.listdir(tmp_path) == []


def test_a_painting_without_any_event_leaves_no_film(tmp_path):
    making = _film(tmp_path / "a.mp4")
    assert play(iter(()), making) is None
    assert making.path is None and os.listdir(tmp_path) == []


def test_pictures_between_two_steps_fade(tmp_path):
    making = _film(tmp_path / "a.mp4", frames=9)
    events = [make_step(0, 1, value=0.0, size=16), make_step(1, 1, value=1.0, size=16)]
    play(iter(events), making)
    light = torch.tensor(_brightness(making.path)[:9])
    torch.testing.assert_close(light / 255, (torch.arange(9) / 8) ** 2, atol=0.03, rtol=0)
