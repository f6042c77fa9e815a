import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vqclip.errors import PictureError
from vqclip.train.captioned import CaptionedGallery
from vqclip.train.gallery import Ahead, Gallery, batch_of, shuffled
from vqclip.train.shelf import find_pictures

COLORS = ("red", "lime", "blue", "white", "black")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, color in enumerate(COLORS):
        Image.new("RGB", (40 + number, 30), color).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"a {color} field")
    return tmp_path


def gallery(folder: Path, **more: object) -> Gallery:
    return Gallery(find_pictures(folder), **{"size": 16, "note": print, **more})


def spoil(folder: Path, name: str) -> None:
    data = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, format="JPEG")
    (folder / name).write_bytes(data.getvalue()[:900])


def test_every_picture_comes_once_before_any_comes_again(folder):
    books = gallery(folder)
    order = [n for round_ in range(3) for n in shuffled(len(books), 1, round_)]
    assert [sorted(order[n : n + 5]) for n in (0, 5, 10)] == [[0, 1, 2, 3, 4]] * 3
    assert order[:5] != order[5:10]


def test_a_batch_depends_on_its_step_alone_and_its_shares_make_the_whole(folder):
    whole = batch_of(gallery(folder), 3, batch=4, seed=1)
    shares = [batch_of(gallery(folder), 3, batch=2, seed=1, rank=rank, size=2) for rank in (0, 1)]
    assert whole.shape == (4, 3, 16, 16)
    assert torch.equal(whole, torch.cat(shares))
    assert not torch.equal(whole, batch_of(gallery(folder), 3, batch=4, seed=2))


def test_what_memory_has_no_room_for_is_read_again_and_the_same(folder):
    kept, unkept = (batch_of(gallery(folder, memory=room), 1, batch=5, seed=0) for room in (2**20, 0))
    assert torch.equal(kept, unkept)


def test_large_pictures_are_kept_no_larger_than_their_smallest_crop_needs(folder):
    Image.new("RGB", (400, 300), "red").save(folder / "0.png")
    books = gallery(folder)
    books.crops([0], [np.random.default_rng(0)], flip=False)
    assert books._kept[0].shape == (32, 43, 3)


def test_a_truncated_picture_is_left_out_with_a_note_and_the_next_one_taken(folder):
    spoil(folder, "2a.jpg")
    notes: list[str] = []
    books = gallery(folder, note=notes.append)
    assert books.centers([3])[0, 0, 0].tolist() == [255, 255, 255]
    books.centers([3])
    assert len(notes) == 1 and "2a.jpg" in notes[0] and notes[0].endswith("it is left out")


def test_no_readable_picture_at_all_is_an_error_that_names_the_first(tmp_path):
    spoil(tmp_path, "a.jpg")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(PictureError, match=r"of 2 pictures none can be read; the first: a\.jpg"):
        batch_of(gallery(tmp_path, note=lambda text: None), 0, batch=1, seed=0)


def test_a_broken_picture_takes_its_captions_along(folder):
    (folder / "1.png").write_bytes(b"nothing")
    items = [item for item in find_pictures(folder)]
    data = CaptionedGallery(items, size=16, note=lambda text: None)
    assert [said for said, *_ in data.captions] == ["a red field", "a blue field", "a white field", "a black field"]
    assert data.pictures(np.array([1]))[0, :, 0, 0].tolist() == [0, 0, 1]


def test_a_caption_is_true_of_all_pictures_that_carry_it(folder):
    (folder / "1.txt").write_text("a red field")
    data = CaptionedGallery(find_pictures(folder), size=16, note=print)
    table = data.truth(np.array([0, 1, 2]), ["a red field", "a red field", "a blue field"])
    assert table.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_a_batch_made_ahead_is_the_one_that_was_asked_for():
    made: list[int] = []

    def make(step: int) -> torch.Tensor:
        made.append(step)
        return torch.tensor(step)

    ahead = Ahead(make)
    assert [int(ahead(step)) for step in (0, 1, 5, 6, 0)] == [0, 1, 5, 6, 0]
    ahead.close()
    assert made[:4] == [0, 1, 2, 5]
