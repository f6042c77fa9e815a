"""Footage as it comes from cameras, phones and screens: turned, uneven, odd, empty, damaged."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from vqclip.errors import PictureError, UsageError
from vqclip.runs.footage import open_footage

TOP, BELOW = (220, 40, 40), (40, 40, 220)


def clip(path, times=range(8), *, size=(32, 24), base=Fraction(1, 24), level=None):
    """A clip whose picture at each time stamp is gray as `level` says, or red above and blue below."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv444p"
        stream.codec_context.time_base = base
        for number, time in enumerate(times):
            picture = Image.new("RGB", size, (level(number),) * 3 if level else TOP)
            if level is None:
                picture.paste(BELOW, (0, size[1] // 2, *size))
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = time, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def jpegs(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuvj420p"
        for number in range(8):
            frame = av.VideoFrame.from_image(Image.new("RGB", (32, 24), (20 * number,) * 3))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def seen(footage, start=0):
    return list(footage.pictures(start, note=lambda _: None))


def levels(footage, start=0):
    return [round(float(np.asarray(one).mean()) / 20) for one in seen(footage, start)]


def twenty(number):
    return 20 * number


def turned(path, matrix):
    """Writes another display matrix into an MP4, as a phone does that is held upright."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", *(round(value * 65536) for value in matrix[:8]), 2**30)
    path.write_bytes(data)


def test_a_clip_keeps_its_frames_and_their_rate(tmp_path):
    footage = open_footage(clip(tmp_path / "a.mp4", base=Fraction(1001, 30000), level=twenty))
    assert (footage.frames, footage.size, footage.sound) == (8, (32, 24), None)
    assert Fraction(footage.fps).limit_denominator(1001) == Fraction(30000, 1001)
    assert levels(footage) == list(range(8)) and levels(footage, 5) == [5, 6, 7]


def test_a_clip_of_uneven_times_is_shown_evenly_and_keeps_its_length(tmp_path):
    times = [0, 40, 80, 120, 160, 400, 440]  # 25 in a second, with a gap as of a screen that stood still
    footage = open_footage(clip(tmp_path / "a.mkv", times, base=Fraction(1, 1000), level=twenty))
    assert footage.fps == 25
    assert levels(footage) == [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 5, 6]


def test_another_rate_changes_the_number_of_frames_not_the_length(tmp_path):
    path = clip(tmp_path / "a.mp4", level=twenty)
    assert levels(open_footage(path, fps=12.0)) == [1, 3, 5, 7]
    assert levels(open_footage(path, fps=48.0)) == [n // 2 for n in range(16)]
    assert open_footage(path, at_most=3).frames == 3


@pytest.mark.parametrize(
    ("matrix", "red"),
    [
        ((0, 1, 0, -1, 0, 0, 24, 0), "right"),
        ((0, -1, 0, 1, 0, 0, 0, 32), "left"),
        ((-1, 0, 0, 0, -1, 0, 32, 24), "below"),
    ],
)
def test_a_clip_of_a_turned_phone_is_upright(tmp_path, matrix, red):
    path = clip(tmp_path / "a.mp4", range(2))
    turned(path, matrix)
    footage = open_footage(path)
    [first, _] = seen(footage)
    assert footage.size == first.size == ((32, 24) if red == "below" else (24, 32))
    place = {"right": (first.width - 3, 9), "left": (2, 9), "below": (9, first.height - 3)}[red]
    assert first.getpixel(place)[0] > 180 > 80 > first.getpixel(place)[2]


def test_odd_sizes_and_pixels_that_are_not_square_are_read(tmp_path):
    footage = open_footage(clip(tmp_path / "a.mp4", range(2), size=(33, 25)))
    assert footage.size == (33, 25) and seen(footage)[0].size == (33, 25)
    with av.open(str(tmp_path / "wide.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", (32, 24)))))
        container.mux(stream.encode())
    assert open_footage(tmp_path / "wide.mkv").size == (64, 24)


def test_a_folder_is_read_in_natural_order_one_picture_at_a_time(tmp_path):
    for number in (1, 2, 10, 11):
        Image.new("RGB", (9, 7), (20 * number,) * 3).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    footage = open_footage(tmp_path)
    assert (footage.frames, footage.fps, footage.size) == (4, 24.0, (9, 7))
    assert levels(footage) == [1, 2, 10, 11] and levels(footage.first(3), 1) == [2, 10]
    (tmp_path / "frame10.png").write_bytes(b"")
    pictures = footage.pictures(note=lambda _: None)
    assert [next(pictures).size for _ in range(2)] == [(9, 7)] * 2
    with pytest.raises(PictureError, match=r"frame10\.png"):
        next(pictures)


def test_what_is_no_clip_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")
    whole = clip(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    for name in ("none.mp4", "empty", "zero.mp4", "text.mp4", "cut.mp4"):
        with pytest.raises(PictureError) as caught:
            open_footage(tmp_path / name)
        assert name in caught.value.message, name
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    with pytest.raises(UsageError, match="one picture"):
        open_footage(tmp_path / "one.png")


def test_a_clip_without_pictures_is_of_no_length(tmp_path):
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        container.start_encoding()
    with pytest.raises(PictureError, match="no length"):
        open_footage(tmp_path / "a.avi")


def test_damage_inside_a_clip_holds_the_picture_before(tmp_path):
    path = jpegs(tmp_path / "a.avi")
    data = bytearray(path.read_bytes())
    at, after = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xd8"][3:5]
    data[at : after - 8] = bytes(after - 8 - at)  # the whole picture, but not the header of the next one
    path.write_bytes(data)
    footage, notes = open_footage(path), []
    shown = [round(float(np.asarray(one).mean()) / 20) for one in footage.pictures(note=notes.append)]
    assert shown == [0, 1, 2, 2, 4, 5, 6, 7] and len(notes) == 1
