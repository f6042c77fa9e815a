"""Frames in between, by following what moves: a film of more frames in a second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
from PIL import Image

from vqclip.errors import OutputError

_HOW = "mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1"


def interpolated(
    pictures: Iterable[Image.Image], *, size: tuple[int, int], fps: Fraction, to: Fraction
) -> Iterator[Image.Image]:
    """Pictures of one size at `fps`, with frames in between to make it `to`; as they are where that is not more.

    Uses the motion-compensated `minterpolate` filter of the av package; a few pictures are in memory at a time.
    Raises: OutputError if that filter is missing, or the pictures are too small for it (below 32 pixels).
    """
    if to <= fps:
        yield from pictures
        return
    try:
        graph = _graph(size, fps, to)
    except (av.FFmpegError, ValueError) as error:
        raise OutputError(
            f"frames in between cannot be made for pictures of {size[0]}x{size[1]}", hint="leave --interpolate out"
        ) from error
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(np.asarray(picture.convert("RGB")), format="rgb24")
        frame.pts, frame.time_base = number, 1 / fps
        graph.push(frame)
        yield from _pulled(graph)
    graph.push(None)
    yield from _pulled(graph)


def _graph(size: tuple[int, int], fps: Fraction, to: Fraction) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(width=size[0], height=size[1], format="rgb24", time_base=1 / fps)
    between = graph.add("minterpolate", f"fps={to}:{_HOW}")
    end = graph.add("buffersink")
    source.link_to(between)
    between.link_to(end)
    graph.configure()
    return graph


def _pulled(graph: av.filter.Graph) -> Iterator[Image.Image]:
    while True:
        try:
            yield graph.pull().to_image()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
