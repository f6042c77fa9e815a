"""A film on one page before it is painted: its scenes and fades, where its frames lie, and a plot of every curve."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageColor, ImageDraw, ImageFont

from vqclip.prompts import parse_prompts, render
from vqclip.shotlist import ShotList
from vqclip.words import counted

WIDTH, MARGIN, LABEL = 1600, 24, 150
_HEAD, _SCENE, _PLOT, _GAP, _TEXT = 44, 84, 74, 12, 15
_THUMBS, _THUMB_GAP = 12, 6
_PAPER, _INK, _FAINT, _BEAT, _LINE = "#fbfaf7", "#22262b", "#8a8f96", "#dcd8cf", "#1f5fa8"
_SCENES = ("#cfe0f3", "#f6dcc4", "#d5ead1", "#ecd3e4", "#f3ecc0", "#d6d9ee", "#f3cfcf", "#cdeae8")


def draw_storyboard(
    shots: ShotList, *, frames: int, size: tuple[int, int], title: str, beats: Sequence[float] = ()
) -> Image.Image:
    """Draws the page; nothing is painted for it.

    frames is how many of the shots are shown (a loop paints some more); size that of a frame, for the shape of the
    thumbnails' places; beats are times in seconds.
    """
    moving = {name: values[:frames] for name, values in shots.curves.items() if len(set(values[:frames])) > 1}
    still = {name: values[0] for name, values in shots.curves.items() if name not in moving}
    page = _Page(shots, frames, size, len(moving))
    page.text(
        (MARGIN, MARGIN),
        f"{title}    {counted(frames, 'frame')}, {frames / shots.fps:g} s at {shots.fps:g} fps",
        _HEAD // 2,
    )
    page.scenes()
    page.thumbnails()
    for name, values in moving.items():
        page.plot(name, values, beats)
    words = "    ".join(f"{name} {value:g}" for name, value in still.items())
    for line in textwrap.wrap(f"the same all the time:    {words}", 190):
        page.text((MARGIN, page.top), line, _TEXT, _FAINT)
        page.top += _TEXT + 6
    return page.image.crop((0, 0, WIDTH, page.top + MARGIN))


class _Page:
    """The paper, how far down it is filled, and how frames lie across it."""

    def __init__(self, shots: ShotList, frames: int, size: tuple[int, int], plots: int) -> None:
        self.shots, self.frames = shots, frames
        self.across = WIDTH - 2 * MARGIN - LABEL
        self.cell = (self.across - (_THUMBS - 1) * _THUMB_GAP) // _THUMBS
        self.thumb = min(round(self.cell * size[1] / size[0]), 2 * self.cell)
        height = _HEAD + _SCENE + self.thumb + plots * (_PLOT + _GAP) + 12 * _TEXT + 200
        self.image = Image.new("RGB", (WIDTH, height), _PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.top = MARGIN + _HEAD

    def text(self, place: tuple[float, float], words: str, size: int, color: str = _INK, anchor: str = "la") -> None:
        self.draw.text(place, words, fill=color, font=ImageFont.load_default(size), anchor=anchor)

    def x(self, frame: float) -> float:
        return MARGIN + LABEL + self.across * frame / max(self.frames, 1)

    def scenes(self) -> None:
        """A box for each scene, its prompt inside, a slope where it fades in, and seconds below."""
        firsts = [scene.first for scene in self.shots.scenes if scene.first < self.frames]
        bottom = self.top + _SCENE
        for number, (first, end) in enumerate(zip(firsts, [*firsts[1:], self.frames], strict=True)):
            left, right = self.x(first), self.x(end)
            self.draw.rectangle((left, self.top, right, bottom), fill=_color(number))
            for frame in range(first, end):
                if (share := self.shots.shares[frame]) < 1:
                    middle = self.top + _SCENE * share
                    self.draw.rectangle((self.x(frame), middle, self.x(frame + 1), bottom), fill=_color(number - 1))
            self.draw.line((left, self.top, left, bottom), fill=_INK)
            self._words(number, left + 6, right - left - 10)
        self.text((MARGIN, self.top), "scenes", _TEXT)
        step = _even(self.frames / self.shots.fps, 16)
        for tick in range(int(self.frames / self.shots.fps / step) + 1):
            frame = tick * step * self.shots.fps
            anchor = "ra" if frame > 0.97 * self.frames else "la"
            self.text((self.x(frame), bottom + 3), f"{tick * step:g} s", 12, _FAINT, anchor)
        self.top = bottom + 26

    def _words(self, number: int, left: float, room: float) -> None:
        scene = self.shots.scenes[number]
        words = render(parse_prompts(scene.prompt)) or "picture"
        lines = textwrap.wrap(words, max(int(room / 8), 1))[:3] if room > 30 else []
        seed = "" if scene.seed is None else f", seed {scene.seed}"
        if room > 14:
            self.text((left, self.top + 4), f"{number + 1}{seed}" if room > 90 else str(number + 1), 12, _FAINT)
        for at, line in enumerate(lines):
            self.text((left, self.top + 21 + at * (_TEXT + 4)), line, _TEXT)

    def thumbnails(self) -> None:
        """Places for frames at equal distances, each with its number and in the color of its scene."""
        self.text((MARGIN, self.top), "frames", _TEXT)
        for place in range(min(_THUMBS, self.frames)):
            frame = place * self.frames // min(_THUMBS, self.frames)
            left = MARGIN + LABEL + place * (self.cell + _THUMB_GAP)
            box = (left, self.top, left + self.cell, self.top + self.thumb)
            scene, share = self.shots.scene_at(frame), self.shots.shares[frame]
            self.draw.rectangle(box, fill=_mixed(scene - 1, scene, share), outline=_FAINT)
            self.text((left + self.cell / 2, self.top + self.thumb / 2), str(frame), _TEXT, anchor="mm")
        self.top += self.thumb + 2 * _GAP

    def plot(self, name: str, values: Sequence[float], beats: Sequence[float]) -> None:
        """One curve over the film's time, between its least and its greatest value."""
        low, high = min(values), max(values)
        top, bottom = self.top, self.top + _PLOT
        for beat in beats:
            if beat * self.shots.fps < self.frames:
                self.draw.line((self.x(beat * self.shots.fps), top, self.x(beat * self.shots.fps), bottom), fill=_BEAT)
        self.draw.line((self.x(0), bottom, self.x(self.frames), bottom), fill=_FAINT)
        points = [
            (self.x(n + 0.5), bottom - 2 - (_PLOT - 4) * (value - low) / (high - low)) for n, value in enumerate(values)
        ]
        self.draw.line(points, fill=_LINE, width=2, joint="curve")
        self.text((MARGIN, top + _PLOT / 2), name, _TEXT, anchor="lm")
        for y, value, anchor in ((top, high, "ra"), (bottom, low, "rs")):
            self.text((self.x(0) - 6, y), f"{value:.4g}", 11, _FAINT, anchor)
        self.top = bottom + _GAP


def _color(scene: int) -> str:
    return _SCENES[scene % len(_SCENES)]


def _mixed(before: int, after: int, share: float) -> tuple[int, ...]:
    """A color on the way from one scene's to another's."""
    pair = zip(ImageColor.getrgb(_color(before)), ImageColor.getrgb(_color(after)), strict=True)
    return tuple(round(a + (b - a) * share) for a, b in pair)


def _even(length: float, most: int) -> float:
    """A round step that divides a length into at most so many parts."""
    step = 0.1
    while True:
        for factor in (1, 2, 5):
            if length / (step * factor) <= most:
                return step * factor
        step *= 10
