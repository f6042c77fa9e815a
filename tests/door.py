"""Tools of the tests of the command line: a run of `vqclip` in this process, with the painting itself left out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from vqclip.cli.main import main
from vqclip.settings import Delivery, Settings
from vqclip.sinks.metadata import png_metadata

RECIPE = {"schema": 1, "settings": {"prompt": "a castle", "seed": 41, "steps": 9, "clip": ["starter"], "flip": False}}


@dataclass
class Ran:
    """What one call of `vqclip` left behind."""

    code: int
    out: str
    err: str
    painted: list[tuple[Settings, Delivery]]

    @property
    def settings(self) -> Settings:
        """Of the only picture that was asked for."""
        [(settings, _)] = self.painted
        return settings

    @property
    def delivery(self) -> Delivery:
        """Of the only picture that was asked for."""
        [(_, delivery)] = self.painted
        return delivery


@dataclass
class Painter:
    """Stands in for the painting, and remembers what it should have painted."""

    painted: list[tuple[Settings, Delivery]] = field(default_factory=list)
    answer: Callable[[Settings], Any] | None = None

    def paint_picture(self, settings: Settings, delivery: Delivery, *, on_note: Callable[[str], None]) -> Any:
        self.painted.append((settings, delivery))
        on_note("painted by a stand-in")
        if self.answer is not None:
            return self.answer(settings)
        return done(settings)


SAVED = Path("outputs")


def done(settings: Settings, *, stopped: int | None = None, path: Path | None = SAVED) -> SimpleNamespace:
    """What `paint_picture` returns; a path of None means that there was no picture yet."""
    saved = path / f"{settings.seed}.png" if path else None
    return SimpleNamespace(path=saved, settings=settings, seconds=1.5, steps_done=3, stopped=stopped, state=None)


class Door:
    """Calls `vqclip` with arguments and reads what it said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.painter = Painter()
        self._capsys = capsys
        module = ModuleType("vqclip.runs.picture")
        module.paint_picture = self.painter.paint_picture  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)

    def __call__(self, *args: str) -> Ran:
        self.painter.painted.clear()
        code = main(args)
        out, err = self._capsys.readouterr()
        return Ran(code, out, err, list(self.painter.painted))


def save_picture(path: Path, recipe: dict[str, Any] = RECIPE) -> Path:
    """A small black picture with a recipe inside."""
    Image.new("RGB", (8, 8)).save(path, format="PNG", pnginfo=png_metadata(recipe))
    return path
