"""Which encoder writes a film: the kinds of file, the encoders of each in order of liking, and a trial of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from PIL import Image

from vqclip.errors import OutputError, UsageError
from vqclip.words import did_you_mean

BT709 = 1


@dataclass(frozen=True)
class Codec:
    """One encoder of the av package: its name, the pixels it takes, and how it is set."""

    name: str
    pixels: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class Kind:
    """One kind of film file. even: whether both sides have to be even; sound: its encoder and samples in a second."""

    suffix: str
    container: str
    codecs: tuple[Codec, ...]
    even: bool = True
    options: Mapping[str, str] = field(default_factory=dict)
    sound: tuple[str, int] | None = None


_X264 = {"crf": "16", "preset": "medium"}
_VP9 = {"crf": "20", "b": "0", "row-mt": "1", "deadline": "good", "cpu-used": "3"}
_WEBP = {"quality": "90", "compression_level": "4"}
KINDS: dict[str, Kind] = {
    "mp4": Kind(
        ".mp4",
        "mp4",
        (Codec("libx264", "yuv420p", _X264), Codec("mpeg4", "yuv420p", {"b": "20M"})),
        options={"movflags": "+faststart"},
        sound=("aac", 44_100),
    ),
    "webm": Kind(
        ".webm",
        "webm",
        (
            Codec("libvpx-vp9", "yuv420p", _VP9),
            Codec("libsvtav1", "yuv420p", {"crf": "24", "preset": "7"}),
            Codec("libvpx", "yuv420p", {"crf": "8", "b": "20M"}),
        ),
        sound=("libopus", 48_000),
    ),
    "mov": Kind(
        ".mov",
        "mov",
        (Codec("prores_ks", "yuv422p10le", {"profile": "3"}), Codec("prores", "yuv422p10le", {})),
        sound=("pcm_s16le", 44_100),
    ),
    "gif": Kind(".gif", "gif", (Codec("gif", "pal8", {}),), even=False, options={"loop": "0"}),
    "webp": Kind(".webp", "webp", (Codec("libwebp_anim", "bgra", _WEBP),), even=False, options={"loop": "0"}),
}


@dataclass(frozen=True)
class Encoder:
    """A kind of film and the encoder that is used for it."""

    kind: Kind
    codec: Codec

    def start(self, container: Any, width: int, height: int, fps: Fraction) -> Any:
        """Adds the picture stream to an open container, and gives it. Raises: whatever av does."""
        stream = container.add_stream(self.codec.name, rate=fps, options=dict(self.codec.options))
        stream.width, stream.height, stream.pix_fmt = width, height, self.codec.pixels
        stream.thread_type = "AUTO"
        if self.codec.pixels.startswith("yuv"):
            context = stream.codec_context
            # said in the file, because players guess by the size, and guess small films wrong
            context.colorspace = context.color_primaries = context.color_trc = context.color_range = BT709
        return stream

    def frame(self, picture: Image.Image) -> av.VideoFrame:
        """A picture as the pixels this encoder takes."""
        if self.codec.pixels == "pal8":
            return av.VideoFrame.from_ndarray(_with_palette(picture), format="pal8")
        frame = av.VideoFrame.from_ndarray(np.asarray(picture.convert("RGB")), format="rgb24")
        if self.codec.pixels.startswith("yuv"):
            return frame.reformat(format=self.codec.pixels, dst_colorspace="itu709")
        return frame.reformat(format=self.codec.pixels)


def find_kind(name: str) -> Kind:
    """A kind of film by its name or suffix. Raises: UsageError."""
    kind = KINDS.get(name.lstrip(".").casefold())
    if kind is None:
        raise UsageError(f"films cannot be written as {name!r}", hint=did_you_mean(name.lstrip("."), KINDS))
    return kind


def choose_encoder(name: str, width: int, height: int, fps: Fraction) -> tuple[Encoder, str | None]:
    """The first encoder of a kind that really encodes a picture of that size here, and a note if it is not the best.

    Raises: UsageError for no such kind; OutputError if none works.
    """
    kind = find_kind(name)
    for codec in kind.codecs:
        encoder = Encoder(kind, codec)
        if _works(encoder, width, height, fps):
            note = f"the encoder {kind.codecs[0].name} is not there: the film is written with {codec.name}"
            return encoder, None if codec is kind.codecs[0] else note
    names = ", ".join(codec.name for codec in kind.codecs)
    raise OutputError(
        f"no encoder here can write {kind.suffix} films of {width}x{height} pixels (tried: {names})",
        hint="try --format gif, or keep the frames alone with --format frames",
    )


def even_size(kind: Kind, width: int, height: int) -> tuple[int, int]:
    """The size a film of this kind gets: odd sides one pixel longer where the kind wants them even."""
    return (width + width % 2, height + height % 2) if kind.even else (width, height)


def _works(encoder: Encoder, width: int, height: int, fps: Fraction) -> bool:
    size = even_size(encoder.kind, width, height)
    try:
        with av.open(io.BytesIO(), "w", format=encoder.kind.container) as container:
            stream = encoder.start(container, *size, fps)
            frame = encoder.frame(Image.new("RGB", size))
            frame.pts, frame.time_base = 0, 1 / fps
            container.mux([*stream.encode(frame), *stream.encode()])
    except (av.FFmpegError, ValueError, OSError):
        return False
    return True


def _with_palette(picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """The pixels [H, W] and the palette [256, 4] (alpha first) of a picture: its own best 256 colors."""
    small = picture.convert("RGB").quantize(256)
    colors = np.array(small.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    palette = np.zeros((256, 4), dtype=np.uint8)
    palette[:, 0] = 255
    palette[: len(colors), 1:] = colors
    return np.ascontiguousarray(np.asarray(small)), palette
