"""Films as files: pictures go in one by one, and what comes out has been decoded once before it gets its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageOps

from vqclip.errors import OutputError
from vqclip.sinks.codecs import Encoder, choose_encoder, even_size
from vqclip.sinks.filmdata import add_recipe, container_tags
from vqclip.sinks.publish import output_error, settle, temporary
from vqclip.sinks.soundtrack import Soundtrack
from vqclip.words import counted

Note = Callable[[str], None]


class FilmFile:
    """A film that is being written: `add` each picture, then `finish`, or `discard` it.

    The encoder is tried when the film is made, before anything else is done. The first picture says nothing about the
    size; `size` does, and every picture has to have it. Only one picture is in memory at a time. sound is a file that
    is heard in the film, as far as both go. Until `finish` there is a temporary file and no film.
    Raises: OutputError, UsageError (no such kind).
    """

    def __init__(
        self,
        path: Path,
        *,
        size: tuple[int, int],
        fps: Fraction,
        recipe: Mapping[str, Any] | None = None,
        private: bool = False,
        overwrite: bool = False,
        sound: Path | None = None,
        on_note: Note | None = None,
    ) -> None:
        note = on_note or _silent
        self._encoder, fallback = choose_encoder(path.suffix, *size, fps)
        if fallback:
            note(fallback)
        self._size = even_size(self._encoder.kind, *size)
        if self._size != size:
            note(f"{path.suffix} films need even sides: {size[0]}x{size[1]} gets one mirrored pixel more")
        self._path, self._fps, self._overwrite = path, fps, overwrite
        self._recipe, self._private = recipe or {}, private
        self._temp = temporary(path)
        self._container: Any = None
        self._sound: Soundtrack | None = None
        self.count = 0
        if sound is not None and self._encoder.kind.sound is None:
            note(f"{path.suffix} films have no sound")
        try:
            self._open(sound)
        except BaseException:
            self.discard()
            raise

    def add(self, picture: Image.Image) -> None:
        """Encodes the next picture. Raises: OutputError; the film is discarded then."""
        try:
            frame = self._encoder.frame(_mirrored(picture, self._size))
            frame.pts, frame.time_base = self.count, 1 / self._fps
            self._container.mux(self._stream.encode(frame))
            self.count += 1
            if self._sound is not None:
                self._sound.until(self.count / self._fps)
            os.utime(self._temp)  # what is not touched for an hour is swept away as the remains of a crash
        except (av.FFmpegError, OSError) as error:
            self.discard()
            raise _failed(error, self._path) from error

    def finish(self) -> Path:
        """Ends the film, decodes it to see that it is whole, and gives it its name, a numbered one if that is taken.

        Raises: OutputError if nothing was added, or it does not decode to as many pictures; the film is discarded then.
        """
        try:
            if not self.count:
                raise OutputError(f"cannot write {str(self._path)!r}: a film needs at least one frame")
            self._container.mux(self._stream.encode())
            if self._sound is not None:
                self._sound.finish()
            container = self._let_go()
            container.close()
            add_recipe(self._temp, self._encoder.kind, self._recipe, private=self._private)
            verify(self._temp, self._encoder, self.count, self._size)
        except (av.FFmpegError, OSError) as error:
            self.discard()
            raise _failed(error, self._path) from error
        except OutputError:
            self.discard()
            raise
        return settle(self._temp, self._path, overwrite=self._overwrite)

    def discard(self) -> None:
        """Removes what has been written so far. Does nothing after `finish`."""
        container = self._let_go()
        try:
            if container is not None:
                container.close()
        except (av.FFmpegError, OSError):
            pass  # it is on its way out
        finally:
            self._temp.unlink(missing_ok=True)

    def _let_go(self) -> Any:
        """The container, which is no longer ours; the sound's file is closed."""
        sound, self._sound = self._sound, None
        if sound is not None:
            sound.close()
        container, self._container = self._container, None
        return container

    def _open(self, sound: Path | None) -> None:
        kind = self._encoder.kind
        try:
            container = av.open(str(self._temp), "w", format=kind.container, options=dict(kind.options))
            self._container = container
            container.metadata.update(container_tags(self._recipe, private=self._private))
            self._stream = self._encoder.start(container, *self._size, self._fps)
            if sound is not None and kind.sound is not None:
                self._sound = Soundtrack(container, sound, *kind.sound)
        except (av.FFmpegError, OSError) as error:
            raise _failed(error, self._path) from error


def write_film(
    path: Path,
    pictures: Iterable[Image.Image],
    *,
    size: tuple[int, int],
    fps: Fraction,
    recipe: Mapping[str, Any] | None = None,
    private: bool = False,
    overwrite: bool = False,
    sound: Path | None = None,
    on_note: Note | None = None,
) -> Path:
    """Writes pictures, read one at a time, as a film; its kind is the suffix of the path. Gives the path it got.

    Raises: OutputError, UsageError; nothing is left behind then.
    """
    how = {"recipe": recipe, "private": private, "overwrite": overwrite, "sound": sound, "on_note": on_note}
    film = FilmFile(path, size=size, fps=fps, **how)
    try:
        for picture in pictures:
            film.add(picture)
    except BaseException:
        film.discard()
        raise
    return film.finish()


def verify(path: Path, encoder: Encoder, count: int, size: tuple[int, int]) -> None:
    """Decodes a whole film and compares number and size of its frames. Raises: OutputError, OSError, av's errors."""
    found, shape = _decoded_by_pillow(path) if encoder.kind.container == "webp" else _decoded(path, encoder)
    if found != count or shape != size:
        raise OutputError(
            f"the film came out wrong: {counted(found, 'frame')} of {shape} instead of {count} of {size}",
            hint="the frames are kept: try `vqclip encode-film FOLDER --format gif`",
        )


def _decoded(path: Path, encoder: Encoder) -> tuple[int, tuple[int, int]]:
    count, size = 0, (0, 0)
    with av.open(str(path), format=encoder.kind.container) as container:
        for frame in container.decode(video=0):
            count, size = count + 1, (frame.width, frame.height)
    return count, size


def _decoded_by_pillow(path: Path) -> tuple[int, tuple[int, int]]:
    """Animated WebP, which av writes but cannot read."""
    with Image.open(path, formats=("WEBP",)) as film:
        count = getattr(film, "n_frames", 1)
        for number in range(count):
            film.seek(number)
            film.load()
        return count, film.size


def _mirrored(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture, continued by one mirrored pixel where it is that much too small. Raises: OutputError otherwise."""
    missing = (size[0] - picture.width, size[1] - picture.height)
    if missing == (0, 0):
        return picture
    if not set(missing) <= {0, 1}:
        raise OutputError(
            f"a frame has {picture.width}x{picture.height} pixels where the film has {size[0]}x{size[1]}",
            hint="all frames of a film have one size",
        )
    wide = ImageOps.expand(picture.convert("RGB"), border=(0, 0, *missing))
    if missing[0]:
        wide.paste(wide.crop((size[0] - 2, 0, size[0] - 1, size[1])), (size[0] - 1, 0))
    if missing[1]:
        wide.paste(wide.crop((0, size[1] - 2, size[0], size[1] - 1)), (0, size[1] - 1))
    return wide


def _failed(error: BaseException, path: Path) -> OutputError:
    if isinstance(error, OSError):
        return output_error(error, path)
    return OutputError(f"cannot write {str(path)!r}: the encoder failed: {error}", hint="try another --format")


def _silent(text: str) -> None:
    """Takes a note and drops it."""
