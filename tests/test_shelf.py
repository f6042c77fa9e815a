import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from vqclip.errors import PictureError, UsageError
from vqclip.train.shelf import find_captioned, find_pictures


def picture(path: Path, color: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), color).save(path)
    return path


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def png(color: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(data, format="PNG")
    return data.getvalue()


def test_a_folder_gives_its_pictures_and_those_below_in_a_fixed_order_and_no_others(tmp_path):
    for name in ("b.PNG", "a.jpg", "deep/er/c.png", ".hidden.png", "mine.training/sheet.png", ".git/x.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    assert [item.name for item in find_pictures(tmp_path)] == ["a.jpg", "b.PNG", "deep/er/c.png"]


def test_a_caption_stands_beside_its_picture_one_a_line(tmp_path):
    picture(tmp_path / "cat.png")
    (tmp_path / "cat.txt").write_bytes("\ufeffa cat\r\n\r\n  a  red   cat \n".encode())
    picture(tmp_path / "dog.png")
    notes: list[str] = []
    [cat] = find_captioned(tmp_path, notes.append)
    assert cat.captions == ("a cat", "a red cat")
    assert notes == ["1 of 2 pictures left out for want of a caption: dog.png"]


@pytest.mark.parametrize(("between", "columns"), [("\t", ("filepath", "title")), (",", ("image", "caption"))])
def test_a_list_names_pictures_and_captions(tmp_path, between, columns):
    picture(tmp_path / "in" / "cat.png")
    path = tmp_path / "list.csv"
    path.write_text(f"{columns[0]}{between}{columns[1]}\nin/cat.png{between}a cat\n", encoding="utf-8")
    [item] = find_captioned(path, print)
    assert item.captions == ("a cat",)
    assert item.read() == (tmp_path / "in" / "cat.png").read_bytes()


def test_a_shard_gives_pictures_and_captions_by_their_common_name(tmp_path):
    members = {
        "0/000.png": png("red"),
        "0/000.txt": b"a red square",
        "0/001.png": png("blue"),
        "0/001.json": json.dumps({"caption": "a blue square", "url": "x"}).encode(),
        "0/002.cls": b"7",
    }
    path = shard(tmp_path / "00000.tar", members)
    for source in (path, tmp_path):
        one, two = find_captioned(source, print)
        assert (one.captions, two.captions) == (("a red square",), ("a blue square",))
        assert (one.read(), two.read()) == (members["0/000.png"], members["0/001.png"])


def test_what_holds_no_pictures_or_no_captions_is_told_in_a_sentence(tmp_path):
    with pytest.raises(PictureError, match="no folder"):
        find_pictures(tmp_path / "nowhere")
    with pytest.raises(PictureError, match="there are no pictures in"):
        find_pictures(tmp_path)
    picture(tmp_path / "a.png")
    with pytest.raises(PictureError, match="no folder of pictures"):
        find_pictures(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"of 1 picture in .* none has a caption"):
        find_captioned(tmp_path, print)


def test_a_list_or_shard_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "list.csv").write_text("who,what\nx,y\n")
    with pytest.raises(UsageError, match="its columns are who, what"):
        find_pictures(tmp_path / "list.csv")
    (tmp_path / "latin.csv").write_bytes(b"filepath\ttitle\na.png\tcaf\xe9\n")
    with pytest.raises(UsageError, match="not a text in UTF-8"):
        find_pictures(tmp_path / "latin.csv")
    whole = shard(tmp_path / "whole.tar", {"a.png": png(), "b.png": bytes(4096)}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:700])
    with pytest.raises(UsageError, match="is no tar shard, or is cut short"):
        find_pictures(tmp_path / "cut.tar")
