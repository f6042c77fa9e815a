from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from test_sound import drum, save

from vqclip.errors import PictureError
from vqclip.sinks.film import FilmFile, write_film


def film(path, count=36, **more):
    pictures = (Image.new("RGB", (32, 32), (7 * n % 255, 90, 20)) for n in range(count))
    return write_film(path, pictures, size=(32, 32), fps=Fraction(24), **more)


def heard(path):
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        pieces = [one.to_ndarray()[0] for frame in container.decode(audio=0) for one in resampler.resample(frame)]
    return np.concatenate(pieces), rate


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mov"])
def test_a_film_is_heard_for_as_long_as_it_is_seen(tmp_path, suffix):
    sound = save(tmp_path / "a.wav", drum(120, 4, noise=0))
    samples, rate = heard(film(tmp_path / f"film{suffix}", sound=sound))
    assert len(samples) / rate == pytest.approx(1.5, abs=0.06)
    loud = np.abs(samples[: rate + rate // 4]).reshape(25, -1).max(axis=1)
    assert loud[0] > 0.3 and loud[10] > 0.3 > 3 * loud[8] and loud[20] > 0.3 > 3 * loud[18]


def test_a_sound_that_ends_early_leaves_the_rest_silent(tmp_path):
    path = film(tmp_path / "film.mp4", sound=save(tmp_path / "a.wav", drum(120, 0.5)))
    samples, rate = heard(path)
    assert len(samples) / rate == pytest.approx(0.5, abs=0.06)
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 36


def test_films_that_cannot_be_heard_say_so(tmp_path):
    notes = []
    path = film(tmp_path / "film.gif", count=2, sound=save(tmp_path / "a.wav", drum(120, 0.5)), on_note=notes.append)
    assert path.exists() and notes == [".gif films have no sound"]


def test_a_film_that_is_given_up_leaves_nothing_behind(tmp_path):
    sound = save(tmp_path / "a.wav", drum(120, 1))
    begun = FilmFile(tmp_path / "film.mp4", size=(32, 32), fps=Fraction(24), sound=sound)
    begun.add(Image.new("RGB", (32, 32)))
    begun.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_file_without_sound_is_refused_before_the_film_is_begun(tmp_path):
    silent = film(tmp_path / "silent.mp4", count=2)
    for sound, words in ((silent, "no sound in silent.mp4"), (tmp_path / "none.wav", "there is no sound")):
        with pytest.raises(PictureError, match=words):
            film(tmp_path / "film.mp4", sound=sound)
    assert [path.name for path in tmp_path.iterdir()] == ["silent.mp4"]
