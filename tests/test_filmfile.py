"""Films as files: every kind decodes to what went in, carries its recipe, and appears whole or not at all."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vqclip.errors import OutputError, PictureError, UsageError
from vqclip.sinks import codecs
from vqclip.sinks.codecs import KINDS, choose_encoder
from vqclip.sinks.film import FilmFile, write_film
from vqclip.sinks.filmdata import read_film_recipe
from vqclip.sinks.interpolate import interpolated

FPS = Fraction(24)
RECIPE = {"schema": 1, "settings": {"prompt": "a châlet ☃", "seed": 3, "long": "x" * 3000}}


def pictures(count=6, size=(32, 24)):
    """A bright square that goes to the right."""
    for n in range(count):
        pixels = np.full((size[1], size[0], 3), 40, dtype=np.uint8)
        pixels[6:16, 2 + 2 * n : 12 + 2 * n] = (220, 150, 60)
        yield Image.fromarray(pixels)


def decoded(path: Path) -> list[np.ndarray]:
    if path.suffix == ".webp":
        with Image.open(path) as film:
            frames = []
            for n in range(film.n_frames):
                film.seek(n)
                frames.append(np.asarray(film.convert("RGB")))
            return frames
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_film_decodes_to_what_went_in(tmp_path, kind):
    path = write_film(tmp_path / f"film.{kind}", pictures(), size=(32, 24), fps=FPS, recipe=RECIPE)
    frames = decoded(path)
    assert len(frames) == 6
    errors = [np.abs(a.astype(int) - np.asarray(b)).mean() for a, b in zip(frames, pictures(), strict=True)]
    assert max(errors) < 6
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_film_carries_its_recipe_unless_it_is_private(tmp_path, kind):
    path = write_film(tmp_path / f"film.{kind}", pictures(), size=(32, 24), fps=FPS, recipe=RECIPE)
    assert read_film_recipe(path)["settings"] == RECIPE["settings"]
    path = write_film(tmp_path / f"secret.{kind}", pictures(), size=(32, 24), fps=FPS, recipe=RECIPE, private=True)
    assert "châlet".encode() not in path.read_bytes() and b"u00e2let" not in path.read_bytes()
    with pytest.raises(PictureError, match="no recipe"):
        read_film_recipe(path)


@pytest.mark.parametrize(("size", "expected"), [((31, 23), (32, 24)), ((32, 23), (32, 24))])
def test_odd_sides_get_one_mirrored_pixel_and_it_is_said(tmp_path, size, expected):
    notes = []
    path = write_film(tmp_path / "a.mp4", pictures(3, size), size=size, fps=FPS, on_note=notes.append)
    [first, *_] = decoded(path)
    assert first.shape[1::-1] == expected
    assert np.abs(first[-1].astype(int) - first[-2]).mean() < 4 and first.mean() > 30
    assert len(notes) == 1 and "mirrored" in notes[0]


def test_a_gif_keeps_odd_sides(tmp_path):
    notes = []
    path = write_film(tmp_path / "a.gif", pictures(3, (31, 23)), size=(31, 23), fps=FPS, on_note=notes.append)
    assert decoded(path)[0].shape == (23, 31, 3) and notes == []


def test_a_film_of_nothing_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="at least one frame"):
        write_film(tmp_path / "a.mp4", [], size=(32, 24), fps=FPS)
    assert os.listdir(tmp_path) == []


def test_a_frame_of_another_size_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="16x16"):
        write_film(tmp_path / "a.mp4", [*pictures(2), Image.new("RGB", (16, 16))], size=(32, 24), fps=FPS)
    assert os.listdir(tmp_path) == []


def test_a_film_never_replaces_another_unless_told_to(tmp_path):
    names = [write_film(tmp_path / "a.mp4", pictures(2), size=(32, 24), fps=FPS).name for _ in range(2)]
    assert names == ["a.mp4", "a-2.mp4"]
    assert write_film(tmp_path / "a.mp4", pictures(3), size=(32, 24), fps=FPS, overwrite=True).name == "a.mp4"
    assert len(decoded(tmp_path / "a.mp4")) == 3


def test_a_missing_encoder_is_replaced_with_a_note(tmp_path, monkeypatch):
    works = codecs._works
    monkeypatch.setattr(
        codecs, "_works", lambda encoder, *rest: encoder.codec.name != "libx264" and works(encoder, *rest)
    )
    notes = []
    path = write_film(tmp_path / "a.mp4", pictures(), size=(32, 24), fps=FPS, on_note=notes.append)
    with av.open(str(path)) as film:
        assert film.streams.video[0].codec_context.name == "mpeg4"
    assert notes == ["the encoder libx264 is not there: the film is written with mpeg4"]


def test_an_encoder_that_av_does_not_have_is_found_out_by_trying(monkeypatch):
    kind = codecs.Kind(".mp4", "mp4", (codecs.Codec("no-such-encoder", "yuv420p", {}),))
    monkeypatch.setitem(KINDS, "mp4", kind)
    with pytest.raises(OutputError, match="no encoder here") as caught:
        choose_encoder("mp4", 32, 24, FPS)
    assert caught.value.exit_code == 6 and "--format" in caught.value.hint


def test_no_such_kind_is_a_usage_error():
    with pytest.raises(UsageError, match="mp5"):
        choose_encoder(".mp5", 32, 24, FPS)


def test_a_film_that_does_not_decode_to_all_its_frames_gets_no_name(tmp_path):
    film = FilmFile(tmp_path / "a.mp4", size=(32, 24), fps=FPS)
    for picture in pictures():
        film.add(picture)
    film.count += 1
    with pytest.raises(OutputError, match="came out wrong"):
        film.finish()
    assert os.listdir(tmp_path) == []


def test_until_it_is_finished_there_is_no_film(tmp_path):
    film = FilmFile(tmp_path / "a.mp4", size=(32, 24), fps=FPS)
    film.add(next(pictures()))
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".vqclip-")] == []
    film.discard()
    film.discard()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"nonsense" * 100, b"GIF89a" + bytes(50)])
def test_what_is_no_film_is_refused_in_a_sentence(tmp_path, content):
    for suffix in (".mp4", ".gif", ".webp", ".webm"):
        path = tmp_path / f"bad{suffix}"
        path.write_bytes(content)
        with pytest.raises(PictureError, match=r"bad\."):
            read_film_recipe(path)


def test_frames_in_between_are_added_and_move_with_the_picture():
    frames = list(interpolated(pictures(12, (64, 48)), size=(64, 48), fps=Fraction(12), to=Fraction(24)))
    assert 20 <= len(frames) <= 24 and {frame.size for frame in frames} == {(64, 48)}
    assert len(list(interpolated(pictures(3), size=(32, 24), fps=FPS, to=Fraction(12)))) == 3
    with pytest.raises(OutputError, match="16x16"):
        list(interpolated(pictures(3, (16, 16)), size=(16, 16), fps=FPS, to=Fraction(48)))
