"""`vqclip restyle` from end to end, with real models made tiny."""

import importlib.util
import json
import random
import shlex
import shutil
import signal
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from steps import start_python
from test_filming import wait_for
from test_footage import clip
from test_sound import drum, save
from test_zoom import PROGRAM, SIGNALED, hashes, length

from vqclip.cli.main import main
from vqclip.sinks.film import write_film

SMALL = ["--steps", "1", "--cutouts", "2", "--steps-per-frame", "1", "--seed", "5"]


@pytest.fixture
def vqclip(tiny_models, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*args, paint=True):
        capsys.readouterr()
        small = (*tiny_models.flags(), *SMALL, *size(args)) if paint else ()
        code = main([args[0], *small, *args[1:]])
        return (code, *capsys.readouterr())

    def size(args):
        return () if "--width" in args or "--size" in args else ("--size", "32x32")

    return run


def moving(count=6, size=(40, 30)):
    """A light square that goes to the right over a dark ground."""
    for number in range(count):
        picture = Image.new("RGB", size, (40, 60, 90))
        picture.paste((230, 200, 90), (3 * number, 8, 3 * number + 12, 20))
        yield picture


def frames_folder(folder, count=6):
    folder.mkdir()
    for number, picture in enumerate(moving(count), start=6):
        picture.save(folder / f"frame{number}.png")  # frame10 comes after frame9
    return folder


def test_a_folder_becomes_a_film_of_its_frames_in_natural_order(vqclip, tiny_models, tmp_path):
    frames_folder(tmp_path / "frames")
    unpainted = ["--steps-per-frame", "0", "--steps", "0", "--hold", "0"]
    code, out, err = vqclip("restyle", "frames", "a castle", "--no-flow", *unpainted)
    assert (code, out) == (0, "outputs/a-castle-5.mp4\n"), err
    assert length(out.strip()) == 6 and len(hashes("outputs/a-castle-5.frames")) == 6
    shown = json.loads(vqclip("show", out.strip(), "--json", paint=False)[1])
    assert shown["film"]["frames"] == 6 and shown["film"]["flow"] is False and shown["settings"]["init"] == "image"
    assert list(shown["footage"]) == ["frames"]
    alone, plain = [], [*tiny_models.flags(), "--size", "32x32", "--cutouts", "2", "--steps", "0", "-q"]
    for number in (6, 11):  # each frame is the encoded one of the footage, for nothing was painted
        start = ["--init-image", f"frames/frame{number}.png", "-o", f"{number}.png"]
        assert vqclip("a castle", *plain, *start, paint=False)[0] == 0
        alone.append(np.asarray(Image.open(f"{number}.png").convert("RGB")))
    made = [np.asarray(Image.open(f"outputs/a-castle-5.frames/frame-{n:06}.png")) for n in (0, 5)]
    assert all((one == other).all() for one, other in zip(made, alone, strict=True))


def test_a_clip_keeps_its_rate_its_shape_and_its_sound(vqclip, tmp_path):
    sound = save(tmp_path / "a.wav", drum(120, 2))
    write_film(tmp_path / "clip.mp4", moving(12, (64, 32)), size=(64, 32), fps=Fraction(12), sound=sound)
    code, out, err = vqclip("restyle", "clip.mp4", "fog", "--width", "64", "--frames", "9", "--quiet")
    assert (code, out, err) == (0, "outputs/fog-5.mp4\n", "")
    with av.open("outputs/fog-5.mp4") as made:
        video, audio = made.streams.video[0], made.streams.audio[0]
        assert (video.width, video.height, video.average_rate) == (64, 32, 12)
        assert float(audio.duration * audio.time_base) == pytest.approx(0.75, abs=0.1)
    assert length("outputs/fog-5.mp4") == 9
    code, out, _ = vqclip("restyle", "clip.mp4", "fog", "--seconds", "0.25", "--format", "gif", "--quiet")
    assert code == 0 and length(out.strip()) == 3


def test_a_silent_or_damaged_sound_is_no_reason_to_lose_a_film(vqclip, tmp_path, monkeypatch):
    sound = save(tmp_path / "a.wav", drum(120, 1))
    write_film(tmp_path / "clip.mp4", moving(3), size=(40, 30), fps=Fraction(12), sound=sound)
    monkeypatch.setattr("vqclip.runs.film.is_readable", lambda *_, **__: False)
    code, out, err = vqclip("restyle", "clip.mp4", "fog")
    assert code == 0 and "the film is silent" in err
    with av.open(out.strip()) as made:
        assert not made.streams.audio


def test_odd_and_turned_clips_get_their_aspect_at_the_models_own_area(vqclip, tmp_path):
    clip(tmp_path / "odd.mp4", range(2), size=(33, 65))
    code, out, _ = vqclip("restyle", "odd.mp4", "fog", "--dry-run", "--json", "--width", "48")
    plan = json.loads(out)["plan"]
    assert code == 0 and (plan["width"], plan["height"], plan["frames"], plan["fps"]) == (48, 95, 2, 24.0)
    assert vqclip("restyle", "odd.mp4", "fog", "--width", "32", "--quiet")[0] == 0
    with av.open("outputs/fog-5.mp4") as made:
        assert (made.streams.video[0].width, made.streams.video[0].height) == (32, 64)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("none.mp4", "fog"), 5, "no clip or folder"),
        (("empty", "fog"), 5, "no pictures"),
        (("zero.mp4", "fog"), 5, "cannot be read"),
        (("one.png", "fog"), 2, "--init-image"),
        (("", "fog"), 2, "no clip is named"),
        (("frames",), 2, "the prompt is empty"),
        (("frames", "fog", "--frames", "0"), 2, "at least one frame"),
        (("frames", "fog", "--frames", "2", "--seconds", "1"), 2, "leave one of them out"),
        (("frames", "fog", "--keep", "2"), 2, "keep"),
        (("frames", "fog", "--fps", "0"), 2, "fps"),
        (("frames", "two", "words"), 2, "several words"),
        (("frames", "fog", "-o", "a.avi"), 2, ".avi"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(vqclip, tmp_path, args, code, words):
    frames_folder(tmp_path / "frames", 2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero.mp4").write_bytes(b"")
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    ran = vqclip("restyle", *args)
    assert (ran[0], ran[1]) == (code, "") and words in ran[2], ran[2]
    assert not (tmp_path / "outputs").exists()


def test_a_missing_opencv_is_named_with_its_extra_before_anything_is_loaded(vqclip, tmp_path, monkeypatch):
    frames_folder(tmp_path / "frames", 2)
    monkeypatch.setattr("vqclip.runs.flow.has_flow", lambda: False)
    code, out, err = vqclip("restyle", "frames", "fog", "--flow")
    assert (code, out) == (2, "") and "OpenCV" in err and "vqclip[flow]" in err
    code, _, err = vqclip("restyle", "frames", "fog", "--frames", "1")
    assert code == 0 and "vqclip[flow]" in err


def test_a_clip_is_never_replaced_by_its_own_restyling(vqclip, tmp_path):
    path = clip(tmp_path / "a.mp4", range(2))
    before = path.read_bytes()
    code, _, err = vqclip("restyle", "a.mp4", "fog", "-o", "a.mp4", "--overwrite")
    assert code == 2 and "own restyling" in err and path.read_bytes() == before
    assert vqclip("restyle", "a.mp4", "fog", "-o", "a.mp4", "-q")[1] == "a-2.mp4\n" and path.read_bytes() == before


def test_a_restyled_clip_goes_on_after_any_frame_the_same(vqclip, tmp_path, monkeypatch):
    """As if the power had gone after that frame."""
    clip(tmp_path / "a.mp4", level=lambda number: 12 * number)
    vqclip("restyle", "a.mp4", "fog", "--frames", "6", "-o", "whole.mp4", "-q")
    from vqclip.sinks import frames

    saved = frames.save_state

    def save_and_copy(path, state):
        saved(path, state)
        shutil.copytree(path.parent, tmp_path / f"after-{state['frame']}.frames")

    monkeypatch.setattr(frames, "save_state", save_and_copy)
    vqclip("restyle", "a.mp4", "fog", "--frames", "6", "-o", "again.mp4", "-q")
    monkeypatch.setattr(frames, "save_state", saved)
    for number in (0, 3):
        folder = tmp_path / f"after-{number}.frames"
        assert len(hashes(folder)) == number + 1
        assert vqclip("resume", str(folder), "-q", paint=False)[0] == 0
        assert hashes(folder) == hashes("whole.frames")


def test_a_run_goes_on_only_with_the_clip_it_was_begun_with(vqclip, tmp_path):
    frames_folder(tmp_path / "frames", 3)
    assert vqclip("restyle", "frames", "fog", "-o", "a.mp4", "-q")[0] == 0
    (tmp_path / "frames" / "frame9.png").unlink(missing_ok=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "frames" / "frame8.png")
    code, _, err = vqclip("resume", "a.frames", paint=False)
    assert code == 2 and "begun with" in err
    shutil.rmtree(tmp_path / "frames")
    code, _, err = vqclip("resume", "a.frames", paint=False)
    assert code == 5 and "no clip or folder" in err


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_restyled_clip_stopped_by_a_signal_loses_nothing_and_goes_on_the_same(
    vqclip, tiny_models, tmp_path, name, code
):
    frames_folder(tmp_path / "frames", 8)
    assert vqclip("restyle", "frames", "fog", "-o", "whole.mp4", "-q")[0] == 0
    film, folder = tmp_path / "part.mp4", tmp_path / "part.frames"
    args = ["restyle", "frames", "fog", *tiny_models.flags(), *SMALL, "--size", "32x32", "-o", str(film)]
    frame = random.randrange(0, 6)
    ran = start_python(SIGNALED.format(frame=frame, number=int(getattr(signal, name))), *args)
    out, err = ran.communicate(timeout=120)
    assert (ran.returncode, out) == (code, f"{folder}\n") and not film.exists(), (frame, err)
    assert f"stopped after frame {frame + 1} of 8" in err and "Traceback" not in err
    kept = hashes(folder)
    assert kept == {name: digest for name, digest in hashes("whole.frames").items() if name in kept}
    assert len(kept) == frame + 1
    line = shlex.split(err.split("go on with: ")[1].splitlines()[0])
    code, out, err = vqclip(*line[1:], paint=False)
    assert (code, out) == (0, f"{film}\n") and length(film) == 8, err
    assert hashes(folder) == hashes("whole.frames")


@pytest.mark.long
def test_a_restyled_clip_killed_anywhere_goes_on_the_same(vqclip, tiny_models, tmp_path):
    frames_folder(tmp_path / "frames", 12)
    vqclip("restyle", "frames", "fog", "-o", "whole.mp4")
    args = ["restyle", "frames", "fog", *tiny_models.flags(), *SMALL, "--size", "32x32", "-o", tmp_path / "part.mp4"]
    for number in (signal.SIGINT, signal.SIGKILL):
        folder = tmp_path / "part.frames"
        ran = start_python(PROGRAM, *args)
        wait_for(folder / f"frame-{random.randrange(1, 9):06}.png", ran)
        ran.send_signal(number)
        ran.communicate(timeout=300)
        if ran.returncode:
            assert vqclip("resume", str(folder), paint=False)[0] == 0
        assert hashes(folder) == hashes("whole.frames")
        for path in (*folder.iterdir(), tmp_path / "part.mp4"):
            path.unlink()
        folder.rmdir()


@pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="there is no OpenCV here")
def test_with_opencv_motion_is_followed_and_kept_in_the_recipe(vqclip, tmp_path):
    frames_folder(tmp_path / "frames", 3)
    code, _, err = vqclip("restyle", "frames", "fog", "-o", "a.mp4")
    assert code == 0 and json.loads(Path("a.frames/film.json").read_text())["film"]["flow"] is True, err
    assert vqclip("restyle", "frames", "fog", "--no-flow", "-o", "b.mp4", "-q")[0] == 0
    assert hashes("a.frames")["frame-000000.png"] == hashes("b.frames")["frame-000000.png"]


def test_frames_are_read_while_they_are_painted_and_a_preview_shows_them(vqclip, tmp_path, monkeypatch):
    frames_folder(tmp_path / "frames", 4)
    read = []
    from vqclip.runs import footage

    plain = footage.read_picture

    def watched(path, **how):
        read.append((Path(path).name, len(hashes("a.frames")) if Path("a.frames").exists() else 0))
        return plain(path, **how)

    monkeypatch.setattr(footage, "read_picture", watched)
    code, *_ = vqclip("restyle", "frames", "fog", "-o", "a.mp4", "--preview", "now.png", "-q")
    assert code == 0 and Image.open("now.png").size == (32, 32)
    painted = {name: done for name, done in read if name != "frame6.png"}
    assert painted["frame9.png"] >= 1 > painted["frame7.png"] - 1
