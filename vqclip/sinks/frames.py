"""The frames of a film as files: written while the next one is painted, each with the state to go on from."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from vqclip.errors import OutputError, PictureError
from vqclip.ops.pixels import open_picture, side_by_side, to_picture
from vqclip.sinks.images import encode
from vqclip.sinks.names import SUFFIXES
from vqclip.sinks.publish import output_error, publish
from vqclip.sinks.state import save_state

if TYPE_CHECKING:
    from vqclip.events import Frame

STATE = "film.state"
# One frame is written while the next is painted; a slow disk may fall this many behind before painting waits.
_WAITING = 2


def frame_path(folder: Path, index: int) -> Path:
    """The file of a frame, counted from 0."""
    return folder / f"frame-{index:06}.png"


class SaveFrames:
    """Writes every frame as a PNG and the state after it, in that order, in a thread of its own.

    A run that is killed goes on from the last state: the frame after it is then painted again, the same.
    Raises: OutputError, at the next frame or at the end.
    """

    def __init__(self, folder: Path, *, recipe: Mapping[str, Any]) -> None:
        self._folder, self._recipe = folder, recipe
        self._error: BaseException | None = None
        self._broken = False
        self._work: queue.Queue[tuple[Path, Image.Image, dict[str, Any], dict[str, Any]] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._write_all, name="frames", daemon=True)
        self._thread.start()

    def __call__(self, event: Frame) -> None:
        """Hands a frame and its state to the thread. Raises: what went wrong with an earlier one."""
        self._check()
        picture = to_picture(side_by_side(event.image))
        self._work.put((frame_path(self._folder, event.index), picture, dict(self._recipe), event.state()))

    def close(self) -> None:
        """Waits until all is written. Raises: OutputError."""
        if self._thread.is_alive():
            self._work.put(None)
            self._thread.join()
        self._check()

    def _write_all(self) -> None:
        while (item := self._work.get()) is not None:
            if self._broken:
                continue  # a state must not be kept after a frame that is missing, and the loop must not wait here
            path, picture, recipe, state = item
            try:
                publish(path, encode(picture, ".png", recipe=recipe, private=True, fast=True), overwrite=True)
                save_state(self._folder / STATE, state)
            except BaseException as error:
                self._error, self._broken = error, True

    def _check(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def frame_files(folder: Path) -> list[Path]:
    """All pictures of a folder in natural order: 2 before 10. Raises: OutputError, PictureError if there are none."""
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    except FileNotFoundError as error:
        raise PictureError(f"there is no folder {str(folder)!r}", hint="check the path") from error
    except OSError as error:
        raise output_error(error, folder) from error
    if not found:
        raise PictureError(f"there are no pictures in {str(folder)!r}", hint=f"looked for {', '.join(SUFFIXES)}")
    return sorted(found, key=natural)


def natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts names as people do: runs of digits by their value."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part.casefold()) for part in parts]


def read_frame(path: Path) -> Image.Image:
    """One frame as RGB. Raises: PictureError."""
    try:
        with path.open("rb") as file:
            return open_picture(file, name=path.name)[0]
    except OSError as error:
        raise PictureError(f"{path.name} cannot be read: {error.strerror or error}") from error


def read_frames(paths: Sequence[Path], *, loop: int = 0) -> Iterator[Image.Image]:
    """Frames one at a time. With `loop` the last so many fade into the first ones, so that the end meets the start."""
    count = len(paths) - loop
    for index in range(count):
        picture = read_frame(paths[index])
        if index < loop:
            after = read_frame(paths[count + index])
            if after.size != picture.size:
                raise OutputError(f"{paths[count + index].name} has another size than the other frames")
            share = (index + 1) / (loop + 1)
            picture = Image.blend(after, picture, share * share * (3 - 2 * share))
        yield picture
