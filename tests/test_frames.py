import pytest
from PIL import Image
from steps import make_step

from vqclip.errors import OutputError, PictureError
from vqclip.sinks import frames as saving
from vqclip.sinks.frames import SaveFrames, frame_files, frame_path, natural, read_frames
from vqclip.sinks.play import play
from vqclip.sinks.state import load_state


def test_frames_and_the_state_after_the_last_are_kept(tmp_path):
    play((make_step(n, 4, value=n / 4, state={"frame": n}) for n in range(5)), SaveFrames(tmp_path, recipe={}))
    assert [path.name for path in frame_files(tmp_path)] == [f"frame-{n:06}.png" for n in range(5)]
    assert load_state(tmp_path / saving.STATE)[0] == {"frame": 4}
    with Image.open(frame_path(tmp_path, 2)) as frame:
        assert frame.getpixel((0, 0)) == (128, 128, 128) and "vqclip" not in frame.info


def test_a_full_disk_is_told_and_ends_the_film(tmp_path, monkeypatch):
    def full(path, *rest, **more):
        if path.name == "frame-000002.png":
            raise OutputError("the disk is full")

    monkeypatch.setattr(saving, "publish", full)
    with pytest.raises(OutputError, match="full"):
        play((make_step(n, 100) for n in range(101)), SaveFrames(tmp_path, recipe={}))
    assert load_state(tmp_path / saving.STATE)[0] == {"index": 1}


def test_a_full_disk_at_the_very_end_is_told_too(tmp_path, monkeypatch):
    def full(path, *rest, **more):
        raise OutputError("the disk is full")

    monkeypatch.setattr(saving, "publish", full)
    with pytest.raises(OutputError, match="full"):
        play(iter([make_step(0, 0)]), SaveFrames(tmp_path, recipe={}))


def test_frames_come_in_natural_order(tmp_path):
    names = ["1.png", "2.png", "10.png", "a1b2.png", "a1b10.png", "a10b1.png"]
    for name in names[::-1]:
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".hidden.png").write_text("")
    assert [path.name for path in frame_files(tmp_path)] == names
    assert natural(tmp_path / "x٣.png")


def test_a_folder_without_pictures_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(PictureError):
            frame_files(folder)


def test_the_end_of_a_loop_flows_into_its_start(tmp_path):
    for n in range(8):
        Image.new("RGB", (4, 4), (30 * n,) * 3).save(frame_path(tmp_path, n))
    light = [frame.getpixel((0, 0))[0] for frame in read_frames(frame_files(tmp_path), loop=3)]
    assert len(light) == 5 and light[3:] == [90, 120]
    assert 120 < light[0] < 150 and light[0] > light[1] > light[2] > 60
