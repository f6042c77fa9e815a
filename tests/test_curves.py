import csv
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vqclip.events import TrainStep
from vqclip.sinks.comparison import Sheet, draw_sheet
from vqclip.sinks.curves import LossCurves, read_losses
from vqclip.sinks.plot import draw_curves, smooth


def feed(sink, first: int, last: int, steps: int = 100) -> None:
    for index in range(first, last + 1):
        sink(TrainStep(index, steps, {"l1": 1 / index, "psnr": float(index)}, index))


def test_losses_are_kept_as_a_table_and_drawn_as_curves(tmp_path):
    curves = LossCurves(tmp_path / "losses", every=10)
    feed(curves, 1, 14)
    assert len(read_losses(tmp_path / "losses.csv")) == 10
    curves.close()
    with (tmp_path / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[-1] == {"step": "14", "l1": repr(1 / 14), "psnr": "14.0"}
    assert Image.open(tmp_path / "losses.png").size[0] > 600


def test_a_training_that_goes_on_writes_over_what_came_after_its_checkpoint(tmp_path):
    first = LossCurves(tmp_path / "losses", every=10)
    feed(first, 1, 20)
    second = LossCurves(tmp_path / "losses", every=10)
    feed(second, 13, 16)
    second.close()
    assert [step for step, _ in read_losses(tmp_path / "losses.csv")] == list(range(1, 17))


def test_curves_and_sheets_that_cannot_be_written_are_given_up_with_one_note(tmp_path):
    (tmp_path / "file").write_text("in the way")
    notes: list[str] = []
    look = lambda: [("pictures", torch.zeros(1, 3, 8, 8))]  # noqa: E731
    sinks = [
        LossCurves(tmp_path / "file" / "losses", every=1, on_note=notes.append),
        Sheet(tmp_path / "file" / "sheet.png", look, every=1, on_note=notes.append),
    ]
    for sink in sinks:
        feed(sink, 1, 3)
        sink.close()
    assert [note.split(":")[0] for note in notes] == ["no more curves", "no more sheets"]


def test_a_plot_shows_falling_numbers_as_a_falling_line_and_leaves_out_what_is_no_number():
    points = [(step, 100.0 - step) for step in range(100)] + [(100, math.nan)]
    pixels = np.asarray(draw_curves({"l1": points, "none yet": []})).astype(int)
    blue = (pixels[:, :, 2] - pixels[:, :, 0] > 100).nonzero()
    left, right = blue[0][blue[1] < 130], blue[0][(blue[1] > 340) & (blue[1] < 400)]
    assert left.mean() < right.mean() - 50


def test_the_smoothed_line_begins_at_the_first_value_and_follows_slowly():
    assert smooth([4.0, 4.0, 4.0]) == [4.0, 4.0, 4.0]
    line = smooth([0.0] * 500 + [1.0] * 500)
    assert line[499] == 0 and 0.01 < line[500] < 0.03 and line[-1] > 0.99


def test_a_sheet_shows_pictures_above_what_a_model_makes_of_them(tmp_path):
    rows = [("pictures", torch.ones(2, 3, 8, 8)), ("given back", torch.zeros(2, 3, 8, 8))]
    sheet = Sheet(tmp_path / "sheet.png", lambda: rows, every=2)
    feed(sheet, 1, 1)
    assert not list(tmp_path.iterdir())
    sheet.close()
    drawn = Image.open(tmp_path / "sheet.png")
    assert drawn.size == (192, 2 * (96 + 22)) == draw_sheet(rows, "").size
    assert drawn.getpixel((50, 60)) == (255, 255, 255) and drawn.getpixel((50, 200)) == (0, 0, 0)


def test_a_missing_or_foreign_table_is_no_table(tmp_path: Path):
    assert read_losses(tmp_path / "none.csv") == []
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert read_losses(tmp_path / "other.csv") == []
