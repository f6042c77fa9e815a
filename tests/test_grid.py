from pathlib import Path

import pytest
from conftest import TinyModels
from PIL import Image

from vqclip.cli.main import main
from vqclip.sinks.collection import read_picture

SMALL = ("--steps", "1", "--size", "32x32", "--cutouts", "2")


def test_a_batch_writes_its_sheet_anew_each_time_and_spares_a_picture_of_that_name(
    tiny_models: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("fog\n", encoding="utf-8")
    common = ["batch", "p.txt", "--grid", "--output", "here", *SMALL, *tiny_models.flags()]
    assert main([*common, "--seed", "1"]) == 0
    first = Path("here/sheet.png").read_bytes()
    assert main([*common, "--seed", "1..2"]) == 0
    assert "sheet.png" in capsys.readouterr().err
    with Image.open("here/sheet.png") as sheet:
        assert sheet.width > 512
    assert read_picture(Path("here/sheet.png")) is None and Path("here/sheet.png").read_bytes() != first
    Image.new("RGB", (8, 8)).save("here/sheet.png")
    assert main([*common, "--seed", "1..2"]) == 0
    assert read_picture(Path("here/sheet.png")) is not None and Path("here/sheet-2.png").exists()
