"""Reads what is to be restyled: a clip or a folder of frames, one picture at a time, upright and evenly in time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av
from PIL import Image

from vqclip.errors import PictureError, UsageError
from vqclip.films import MOST_FRAMES
from vqclip.ops.pixels import MAX_PIXELS
from vqclip.runs.pictures import read_picture
from vqclip.sinks.frames import frame_files
from vqclip.sinks.names import SUFFIXES

Note = Callable[[str], None]

FPS = 24.0
# Containers of films alone: a playlist could make ffmpeg read other files, or the network.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,asf,flv,ogg,nut,ivf,apng"
_SAFE = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
_KINDS = "try MP4, MOV, MKV, WebM, AVI or GIF, or a folder of pictures"
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@dataclass(frozen=True)
class Footage:
    """A clip or a folder, looked through but not held: size is that of a picture as it is shown, (width, height).

    fps and frames are those it is restyled with. shown says what each frame shows: the file, or the time stamp in the
    clip, whose pictures may come at any times. digest is the sha256 of a clip, of a folder that of names and sizes.
    """

    path: Path
    size: tuple[int, int]
    fps: float
    shown: Sequence[Path] | Sequence[int]
    digest: str
    sound: Path | None = None

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return len(self.shown)

    def first(self, count: int) -> Footage:
        """Only the first so many frames of it."""
        return replace(self, shown=self.shown[:count])

    def pictures(self, start: int = 0, *, background: str = "white", note: Note) -> Iterator[Image.Image]:
        """The frames from number `start` on, RGB; only one or two are in memory. What cannot be read holds the last.

        Raises: PictureError if a file cannot be read.
        """
        if self.path.is_dir():
            for file in self.shown[start:]:
                yield read_picture(Path(str(file)), background=background, note=note)
        else:
            yield from _decoded(self.path, [int(stamp) for stamp in self.shown], start, note)


def open_footage(path: Path, *, fps: float | None = None, at_most: int | None = None) -> Footage:
    """Looks through a clip or a folder; its pictures are not decoded yet, but for the first.

    A clip keeps its fps, or shows at `fps` what is to be seen at that time, so that its length stays; a folder has FPS
    unless said. at_most is the largest number of frames.
    Raises: PictureError if there is nothing that can be read; UsageError for a single picture.
    """
    path = path.expanduser().absolute()
    most = min(at_most or MOST_FRAMES, MOST_FRAMES)
    if path.is_dir():
        return _folder(path, fps or FPS, most)
    if path.suffix.casefold() in SUFFIXES:
        raise UsageError(
            f"{path.name} is one picture, not a clip", hint='paint over it: vqclip "PROMPT" --init-image PICTURE'
        )
    if not path.is_file():
        raise PictureError(f"there is no clip or folder {str(path)!r}", hint="check the path")
    return _clip(path, fps, most)


def _folder(path: Path, fps: float, most: int) -> Footage:
    files = frame_files(path)[:most]
    try:
        names = "".join(f"{file.name}\0{file.stat().st_size}\n" for file in files)
    except OSError as error:
        raise PictureError(f"a file of {str(path)!r} cannot be read: {error.strerror or error}") from error
    first = read_picture(files[0], background="white", note=lambda _: None)
    return Footage(path, first.size, fps, files, hashlib.sha256(names.encode("utf-8", "surrogatepass")).hexdigest())


def _clip(path: Path, fps: float | None, most: int) -> Footage:
    with _opened(path) as (container, stream):
        stamps, last = _stamps(container, stream)
        if not stamps:
            raise PictureError(f"{path.name} is a clip of no length: there is no picture in it", hint=_KINDS)
        own = _rate(stamps, stream)
        speed = min(max(fps or float(own), 1.0), 240.0)
        shown = _schedule(stamps, last or 1 / (own * stream.time_base), Fraction(speed) * stream.time_base, most)
        sound = path if container.streams.audio else None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    first = next(_decoded(path, shown, 0, lambda _: None))
    return Footage(path, first.size, speed, shown, digest, sound)


def _stamps(container: Any, stream: Any) -> tuple[list[int], int]:
    """The time stamps of all pictures of a stream in order, and how long the last is shown (0 = not said)."""
    found: dict[int, int] = {}
    for packet in container.demux(stream):
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None and packet.size and not getattr(packet, "is_discard", False):
            found[stamp] = packet.duration or 0
    return sorted(found), found[max(found)] if found else 0


def _rate(stamps: Sequence[int], stream: Any) -> Fraction:
    """Pictures in a second: as the container says, unless most of them come at another pace."""
    said = Fraction(stream.average_rate or 0)
    steps = [after - before for before, after in pairwise(stamps)]
    if not steps:
        return said if 1 <= said <= 240 else Fraction(FPS)
    usual = Fraction(median(steps))
    # Containers that count in milliseconds round each step, so the step that most pictures have can be one tick off.
    if 1 <= said <= 240 and abs(1 / (said * stream.time_base) - usual) <= 1:
        return said
    return (1 / (usual * stream.time_base)).limit_denominator(1001)


def _schedule(stamps: Sequence[int], last: float, frames_per_tick: Fraction, most: int) -> list[int]:
    """What each frame shows: the picture of the middle of its time, so that no rounding makes it jump."""
    begin = stamps[0]
    count = max(1, round((stamps[-1] + last - begin) * frames_per_tick))
    shown, at = [], 0
    for number in range(min(count, most)):
        middle = begin + (number + Fraction(1, 2)) / frames_per_tick
        while at + 1 < len(stamps) and stamps[at + 1] <= middle:
            at += 1
        shown.append(stamps[at])
    return shown


def _decoded(path: Path, shown: Sequence[int], start: int, note: Note) -> Iterator[Image.Image]:
    """The pictures of a schedule from number `start` on; one that is damaged leaves the one before it standing."""
    number, held, picture = 0, None, None
    with _opened(path) as (container, stream):
        for frame in _frames(container, stream, lambda: note(f"{path.name} is damaged here and there")):
            stamp = frame.dts if frame.pts is None else frame.pts
            while held is not None and stamp is not None and number < len(shown) and shown[number] < stamp:
                picture = picture or _upright(held, stream)
                if number >= start:
                    yield picture
                number += 1
            if number >= len(shown):
                return
            held, picture = frame, None
        if held is None:
            raise PictureError(f"{path.name}: there is no picture that can be read in it", hint=_KINDS)
        picture = _upright(held, stream)
        for _ in range(max(number, start), len(shown)):
            yield picture


def _frames(container: Any, stream: Any, on_damage: Callable[[], None]) -> Iterator[Any]:
    """All frames that can be decoded; damage is told once."""
    told = False
    packets = iter(container.demux(stream))
    while True:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else []
        except (av.FFmpegError, ValueError):
            if not told:
                on_damage()
            told = True
            continue
        if packet is None:
            return
        yield from frames


def _upright(frame: Any, stream: Any) -> Image.Image:
    """A frame as it is shown: RGB, turned as its camera was held, its pixels square."""
    picture = frame.to_image().convert("RGB")
    shape = stream.sample_aspect_ratio
    if shape and shape != 1:
        picture = picture.resize((max(1, round(picture.width * shape)), picture.height), Image.Resampling.LANCZOS)
    turn = round(frame.rotation / 90) * 90 % 360
    return picture.transpose(_TURNS[turn]) if turn else picture


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A clip and its picture stream. Raises: PictureError."""
    try:
        container = av.open(str(path), options=_SAFE)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise PictureError(f"{path.name} cannot be read as a clip: {error}", hint=_KINDS) from None
    with container:
        streams = [one for one in container.streams.video if one.codec_context is not None]
        if not streams:
            raise PictureError(f"there are no pictures in {path.name}", hint=_KINDS)
        if streams[0].width * streams[0].height > MAX_PIXELS:
            raise PictureError(f"{path.name} has more than {MAX_PIXELS // 2**20} megapixels a frame")
        streams[0].thread_type = "AUTO"
        try:
            yield container, streams[0]
        except av.FFmpegError as error:
            raise PictureError(f"{path.name} cannot be read as a clip: {error}", hint=_KINDS) from None
