import io
import os
from pathlib import Path

import pytest
from door import save_picture
from PIL import Image

from vqclip.errors import PictureError
from vqclip.sinks.collection import THUMBNAILS, find_pictures, read_picture, read_pictures
from vqclip.sinks.images import encode
from vqclip.sinks.sheets import encode_sheet
from vqclip.sinks.thumbnails import SIDE, make_thumbnails


def encoded(suffix: str, **more: object) -> bytes:
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    return encode(noise, suffix, recipe={"schema": 1, "settings": {"prompt": "fog"}}, **more)


def test_pictures_are_found_below_a_folder_with_numbers_in_their_order(tmp_path: Path):
    for name in ("fog-10.png", "fog-9.png", "below/a.JPG", ".hidden.png", ".vqclip/x.png", f"{THUMBNAILS}/y.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    found = [str(path.relative_to(tmp_path)) for path in find_pictures(tmp_path)]
    assert found == ["below/a.JPG", "fog-9.png", "fog-10.png"]


def test_a_folder_without_pictures_is_an_error(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "none", save_picture(tmp_path / "x.bmp")):
        with pytest.raises(PictureError):
            find_pictures(folder)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_gives_its_recipe_unless_its_file_is_cut_short(tmp_path: Path, suffix: str):
    path, data = tmp_path / f"a{suffix}", encoded(suffix)
    path.write_bytes(data)
    whole = read_picture(path)
    assert whole and (whole.size, whole.prompt, whole.problem) == ((64, 64), "fog", None)
    for length in (0, 20, len(data) // 2, len(data) - 20):
        path.write_bytes(data[:length])
        cut = read_picture(path)
        assert cut and cut.problem and cut.recipe is None, length


def test_a_flipped_bit_in_the_pixels_of_a_png_is_found(tmp_path: Path):
    data = bytearray(encoded(".png"))
    data[len(data) // 2] ^= 16
    (tmp_path / "a.png").write_bytes(data)
    assert read_picture(tmp_path / "a.png").problem == "the file is cut short or damaged"


def test_what_is_no_file_is_never_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    found = read_pictures([tmp_path / "pipe.png", tmp_path / "folder.png", tmp_path / "gone.png"])
    assert [bool(one.problem) for one in found] == [True] * 3


def test_a_picture_without_a_recipe_is_a_picture_and_a_contact_sheet_is_none(tmp_path: Path):
    Image.new("RGB", (9, 7)).save(tmp_path / "plain.png")
    (tmp_path / "sheet.png").write_bytes(encode_sheet(Image.new("RGB", (9, 7))))
    [plain] = read_pictures([tmp_path / "plain.png", tmp_path / "sheet.png"])
    assert (plain.size, plain.recipe, plain.problem) == ((9, 7), None, None)
    assert plain.remark == "the picture carries no recipe"


def test_thumbnails_are_made_once_of_large_pictures_and_removed_with_them(tmp_path: Path):
    for name, side in (("large.png", SIDE + 40), ("small.png", SIDE)):
        Image.new("RGB", (side, 8), "teal").save(tmp_path / name)
    pictures = read_pictures(find_pictures(tmp_path))
    [(picture, copy)] = make_thumbnails(pictures, tmp_path).items()
    assert picture == tmp_path / "large.png"
    with Image.open(io.BytesIO(copy.read_bytes())) as small:
        assert small.size == (SIDE, 7)
    os.utime(copy, (1, 1))
    make_thumbnails(pictures, tmp_path)
    assert copy.stat().st_mtime == 1
    (copy.parent / "own.webp").touch()
    make_thumbnails(pictures[1:], tmp_path)
    assert [path.name for path in copy.parent.iterdir()] == ["own.webp"]
