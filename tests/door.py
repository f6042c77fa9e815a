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
from vqclip.films import FilmSettings
from vqclip.settings import Delivery, Settings
from vqclip.shotlist import Script
from vqclip.sinks.metadata import png_metadata

RECIPE = {"schema": 1, "settings": {"prompt": "a castle", "seed": 41, "steps": 9, "clip": ["starter"], "flip": False}}


@dataclass
class Ran:
    """What one call of `vqclip` left behind."""

    code: int
    out: str
    err: str
    painted: list[tuple[Settings, Delivery]]
    filmed: list[tuple[Settings, FilmSettings]]

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
    filmed: list[tuple[Settings, FilmSettings]] = field(default_factory=list)
    scripts: list[Script | None] = field(default_factory=list)
    footage: list[Any] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    answer: Callable[[Settings], Any] | None = None

    def paint_picture(
        self, settings: Settings, delivery: Delivery, *, on_note: Callable[[str], None], stop: Any
    ) -> Any:
        self.painted.append((settings, delivery))
        on_note("painted by a stand-in")
        if self.answer is not None:
            return self.answer(settings)
        return done(settings)

    def shoot(
        self,
        settings: Settings,
        film: FilmSettings,
        delivery: Delivery,
        *,
        on_note: Callable[[str], None],
        script: Script | None = None,
        footage: Any = None,
        stop: Any = None,
    ) -> Any:
        self.footage.append(footage)
        self.filmed.append((settings, film))
        self.scripts.append(script)
        self.deliveries.append(delivery)
        return _filmed(settings, film)

    def resume(self, folder: Path, *, on_note: Callable[[str], None], delivery: dict[str, Any], stop: Any) -> Any:
        return _filmed(Settings(seed=1), FilmSettings())

    def encode(self, folder: Path, path: Path, **how: Any) -> Path:
        return path


def _filmed(settings: Settings, film: FilmSettings) -> SimpleNamespace:
    facts = {"path": SAVED / f"{settings.seed}.mp4", "folder": SAVED, "frames_done": film.frames, "seconds": 1.5}
    return SimpleNamespace(**facts, settings=settings, film=film, stopped=None)


SAVED = Path("outputs")


def done(settings: Settings, *, stopped: int | None = None, path: Path | None = SAVED) -> SimpleNamespace:
    """What `paint_picture` returns; a path of None means that there was no picture yet."""
    saved = path / f"{settings.seed}.png" if path else None
    facts = {"seconds": 1.5, "steps_done": 3, "state": None, "film": None}
    return SimpleNamespace(path=saved, settings=settings, stopped=stopped, **facts)


class Door:
    """Calls `vqclip` with arguments and reads what it said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.painter = Painter()
        self._capsys = capsys
        stands_in = {"picture": ("paint_picture",), "film": ("shoot", "resume"), "encode": ("encode",)}
        for name, functions in stands_in.items():
            module = ModuleType(f"vqclip.runs.{name}")
            for function in functions:
                setattr(module, function, getattr(self.painter, function))
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def __call__(self, *args: str) -> Ran:
        self.painter.painted.clear()
        self.painter.filmed.clear()
        code = main(args)
        out, err = self._capsys.readouterr()
        return Ran(code, out, err, list(self.painter.painted), list(self.painter.filmed))


def save_picture(path: Path, recipe: dict[str, Any] = RECIPE) -> Path:
    """A small black picture with a recipe inside."""
    Image.new("RGB", (8, 8)).save(path, format="PNG", pnginfo=png_metadata(recipe))
    return path
