"""The sound of a film: read from a file, encoded, and laid between its pictures as they are written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from vqclip.errors import PictureError

KINDS = "try WAV, MP3, OGG or FLAC"
_LAYOUT = "stereo"
_PIECE = 1024  # samples, for encoders that take any number


def open_sound(path: Path) -> Any:
    """An open container that has a sound in it. Raises: PictureError."""
    try:
        container = av.open(str(path))
    except FileNotFoundError:
        raise PictureError(f"there is no sound {str(path)!r}", hint="check the path") from None
    except (av.FFmpegError, OSError, ValueError) as error:
        raise PictureError(f"{path.name} cannot be read as a sound: {error}", hint=KINDS) from None
    if not container.streams.audio:
        container.close()
        raise PictureError(f"there is no sound in {path.name}", hint=KINDS)
    return container


class Soundtrack:
    """A sound on its way into an open container; `until` as the film grows, then `finish`, and `close` in any case.

    The container has to have all its streams before anything is put into it, so this is made before the first picture.
    Raises: PictureError if there is no sound in the file; av.FFmpegError, OSError.
    """

    def __init__(self, container: Any, path: Path, codec: str, rate: int) -> None:
        self._input = open_sound(path)
        self._container = container
        self._stream = container.add_stream(codec, rate=rate, layout=_LAYOUT)
        self._stream.codec_context.open(strict=False)  # only an open encoder says how much it takes at a time
        self._rate, self._done = rate, 0
        self._pieces = self._read()

    def until(self, seconds: float) -> None:
        """Encodes the sound up to a time of the film, or to its own end. Raises: av.FFmpegError, OSError."""
        while self._done < seconds * self._rate:
            piece = next(self._pieces, None)
            if piece is None:
                return
            self._done += piece.samples
            self._container.mux(self._stream.encode(piece))

    def finish(self) -> None:
        """Encodes what the encoder still holds. Raises: av.FFmpegError, OSError."""
        self._container.mux(self._stream.encode(None))

    def close(self) -> None:
        """Closes the file it is read from."""
        self._input.close()

    def _read(self) -> Iterator[Any]:
        context = self._stream.codec_context
        resampler = av.AudioResampler(
            format=context.format, layout=_LAYOUT, rate=self._rate, frame_size=context.frame_size or _PIECE
        )
        for frame in self._input.decode(audio=0):
            yield from resampler.resample(frame)
        yield from resampler.resample(None)
