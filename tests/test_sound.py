import sys
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from steps import start_python

from vqclip.errors import PictureError
from vqclip.ops.sound import RATE, beat_times, levels
from vqclip.runs.sound import hear, read_sound


def drum(bpm, seconds, noise=0.02):
    """A low tone at every beat, over a little hiss."""
    time = np.arange(int(RATE * seconds)) / RATE
    since = time % (60 / bpm)
    hiss = noise * np.random.default_rng(0).standard_normal(len(time))
    return (np.exp(-20 * since) * np.sin(2 * np.pi * 80 * since) + hiss).astype(np.float32)


def save(path, samples, rate=RATE):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32000).astype("<i2").tobytes())
    return path


@pytest.mark.parametrize("bpm", [80, 100, 128, 150])
def test_the_beats_of_a_drum_are_found_where_they_are(bpm):
    beats = beat_times(drum(bpm, 12))
    assert abs(len(beats) - 12 * bpm / 60) <= 1
    assert all(abs((beat * bpm / 60 + 0.5) % 1 - 0.5) * 60 / bpm < 0.05 for beat in beats)
    assert 60 / np.median([b - a for a, b in pairwise(beats)]) == pytest.approx(bpm, rel=0.02)


def test_silence_has_no_beats_and_no_levels():
    silence = np.zeros(RATE * 2, np.float32)
    assert beat_times(silence) == []
    assert all(max(track) == 0 for track in levels(silence, fps=24, frames=48).values())
    assert beat_times(np.zeros(10, np.float32)) == []


@pytest.mark.parametrize(("hertz", "band"), [(80, "bass"), (800, "mids"), (5000, "highs")])
def test_a_tone_is_heard_in_its_band_and_when_it_sounds(hertz, band):
    time = np.arange(RATE * 2) / RATE
    tone = (np.sin(2 * np.pi * hertz * time) * (time > 1) * 0.5).astype(np.float32)
    found = levels(np.concatenate([tone, np.zeros(RATE, np.float32)]), fps=10, frames=35)
    assert all(len(track) == 35 and min(track) >= 0 and max(track) <= 1 for track in found.values())
    assert max(found[band][:9]) < 0.05 and min(found[band][11:20]) > 0.9
    assert found[band][20] > found[band][22] > found[band][24] and found[band][34] < 0.01
    assert all(max(found[other][14:18]) < 0.1 for other in {"bass", "mids", "highs"} - {band})
    assert found["loud"][15] > 0.9 and np.argmax(found["onset"]) in (9, 10)


def test_a_long_sound_is_heard_in_pieces_without_a_seam():
    long = drum(120, 30)
    short = levels(long[: RATE * 20], fps=24, frames=400)["loud"]
    assert levels(long, fps=24, frames=400)["loud"][:380] == pytest.approx(short[:380], abs=0.02)


def test_a_file_is_heard_at_the_frames_of_a_film(tmp_path):
    heard = hear(save(tmp_path / "a.wav", drum(120, 4)), fps=24)
    assert heard.seconds == pytest.approx(4, abs=0.01) and 7 <= len(heard.beats) <= 9
    assert set(heard.levels) == {"bass", "mids", "highs", "loud", "onset"}
    assert {len(track) for track in heard.levels.values()} == {97}


def test_other_rates_are_resampled(tmp_path):
    assert len(read_sound(save(tmp_path / "a.wav", drum(120, 1), rate=44_100))) == pytest.approx(RATE / 2, abs=64)


def test_what_is_no_sound_is_said_in_a_sentence(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"nothing of the kind")
    with pytest.raises(PictureError, match="there is no sound"):
        hear(tmp_path / "none.wav", fps=24)
    with pytest.raises(PictureError, match=r"a\.wav cannot be read as a sound"):
        hear(tmp_path / "a.wav", fps=24)
    with pytest.raises(PictureError):
        hear(save(tmp_path / "empty.wav", np.zeros(0)), fps=24)


def test_the_sound_of_the_example_has_a_hundred_beats_a_minute(tmp_path):
    script = Path(__file__).parent.parent / "examples" / "night-flight-sound.py"
    ran = start_python(script.read_text(encoding="utf-8"), tmp_path / "a.wav")
    assert ran.wait(timeout=60) == 0
    heard = hear(tmp_path / "a.wav", fps=24)
    assert heard.seconds == pytest.approx(12, abs=0.01) and len(heard.beats) == pytest.approx(20, abs=1)
    assert all(abs((beat / 0.6 + 0.5) % 1 - 0.5) < 0.05 for beat in heard.beats)


def test_hearing_needs_no_torch():
    code = "import sys, vqclip.runs.sound, vqclip.sinks.storyboard, vqclip.cli.film; sys.exit('torch' in sys.modules)"
    ran = start_python(code)
    assert ran.wait(timeout=60) == 0, sys.executable
