"""The live picture: seldom written, never half, and no reason to lose a painting."""

import os

from PIL import Image
from steps import make_step

from vqclip.sinks import preview as previewing
from vqclip.sinks.play import play
from vqclip.sinks.preview import Preview


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def shown(path):
    """The step whose gray the preview shows."""
    with Image.open(path) as picture:
        return round(picture.convert("RGB").getpixel((0, 0))[0] / 255 * 10)


def test_the_picture_is_replaced_every_few_seconds_and_at_the_end(tmp_path):
    clock, path, seen = Clock(), tmp_path / "live.png", []
    sink = Preview(path, every=2.0, clock=clock)
    for n in range(11):
        sink(make_step(n, 10, value=n / 10))
        seen.append(shown(path))
        clock.now += 0.7
    assert seen == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 10]
    assert os.listdir(tmp_path) == ["live.png"]


def test_a_slow_disk_is_asked_more_rarely(tmp_path, monkeypatch):
    clock, written = Clock(), []

    def slow(path, data, **_):
        clock.now += 1.0
        written.append(path)

    monkeypatch.setattr(previewing, "publish", slow)
    sink = Preview(tmp_path / "live.png", every=0.5, clock=clock)
    for n in range(100):
        sink(make_step(n, 1000))
        clock.now += 1.0
    assert 5 <= len(written) <= 6


def test_a_preview_that_cannot_be_written_is_given_up_with_one_note(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    notes, clock = [], Clock()
    sink = Preview(tmp_path / "file" / "live.png", every=0.1, clock=clock, on_note=notes.append)

    def events():
        for n in range(5):
            clock.now += 60
            yield make_step(n, 4)

    assert play(events(), sink).is_last
    assert len(notes) == 1 and "no more previews" in notes[0]


def test_any_picture_format_can_be_a_preview(tmp_path):
    for name in ("live.jpg", "live.webp"):
        Preview(tmp_path / name)(make_step(5, 10))
        assert shown(tmp_path / name) == 5
