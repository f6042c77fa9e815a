"""What a painting step costs, from the shapes of its models alone: work in GFLOP and memory in bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from vqclip.configs import VQGANConfig

BANDS = 40 * 2**20  # the maps between the layers of a band, and the workspace of a convolution
PIXEL = 76  # bytes of a picture's pixel, with its clamp, its gradient and its pyramid
PIECE = 44  # bytes of a piece's pixel: sampled, colored, its noise, its gradient, its grid
TOKEN = 13  # numbers kept for each token and channel of a transformer's layer
TABLE = 2**12  # tokens up to which attention keeps its table of all pairs
STYLED = {"movq": (4.3, 2.2), "magvit": (1.25, 1.5)}
"""How many times as much norms that look at the latent keep for a gradient, and make at once: counted, not reasoned."""
PLAIN_CODES = 2**24


@dataclass(frozen=True)
class Cost:
    """The cost of a decoder or of a CLIP for one picture or piece.

    gflop for one pass forward, as many again for its gradient, and `again` beside them where maps are made again; held
    (bytes) what the gradient needs; peak (bytes) the most that exists at once while it is worked out; weights (bytes).
    """

    gflop: float
    held: float
    peak: float
    weights: float
    again: float = 0.0


def decoder_cost(config: VQGANConfig, grid: tuple[int, int], *, itemsize: int, lean: bool, encoder: bool) -> Cost:
    """Of a VQGAN for a latent of grid (rows, columns)."""
    levels = [*_levels(config, grid[0] * grid[1])]
    pixels, top = grid[0] * grid[1] * config.stride**2, levels[-1].cells * levels[-1].width
    last = 18 * pixels * config.decoder.widths[0] * config.out_channels
    if lean:
        starts = [*accumulate(level.starts for level in levels)]
        held = starts[-1] + top
        peak = max(held + top, *(before + level.at_once for before, level in zip(starts, levels, strict=True)))
    else:
        held = sum(level.held for level in levels) + top
        peak = held + top
    weights = sum(level.weights for level in levels)
    size = weights * (1.8 if encoder else 1) * itemsize + config.codes * config.embedding_channels * 4
    size += _kept_exact(config) * (4 - itemsize)
    return Cost(
        gflop=(sum(level.flop for level in levels) + last) / 1e9,
        held=held * itemsize + pixels * PIXEL,
        peak=peak * itemsize + pixels * PIXEL + BANDS,
        weights=size,
        again=lean * (sum(level.again for level in levels) + last) / 1e9,
    )


@dataclass(frozen=True)
class _LevelCost:
    """The blocks of one resolution, the middle's with the lowest, and what enlarges the one below to it.

    Work in flop, maps in numbers. held is what the plain gradient keeps; of a lean one (see `ops.recompute`) starts is
    what it keeps, at_once the most beside that, again what it works out again.
    """

    cells: int
    width: int
    flop: float
    again: float
    weights: float
    held: float
    starts: float
    at_once: float


def _levels(config: VQGANConfig, lowest: int) -> Iterator[_LevelCost]:
    """The levels of a decoder for a latent of so many cells, the lowest resolution first."""
    stack, (more_held, more_at_once) = config.decoder, STYLED.get(config.variant, (1.0, 1.0))
    for number in reversed(range(len(stack.widths))):
        below = number < len(stack.widths) - 1
        width, side = stack.widths[number], stack.widths[min(number + 1, len(stack.widths) - 1)]
        cells, attended = lowest * 4 ** (len(stack.widths) - 1 - number), number in stack.attention
        sides = [side] + [width] * (stack.blocks[number] - 1)
        works = [18 * cells * width * (one + width) + 2 * cells * one * width * (one != width) for one in sides]
        middle = 0 if below else config.middle_blocks
        heads = len(sides) * attended + (not below and config.middle_attention)
        head = 8 * cells * width**2 + 4 * cells**2 * width
        enlarging = 8 * cells * side**2 if below else 0
        count = len(sides)
        # one chain whose k-th block is worked out again for each one after it, or a chain for each block
        again = sum(works) * (1.5 if attended else count / 2) + heads * head + middle * 36 * cells * width**2
        held = sum(cells * (one + width) for one in sides) + middle * 2 * cells * width
        looking = heads and _attention(cells, width)
        yield _LevelCost(
            cells=cells,
            width=width,
            flop=sum(works) + middle * 36 * cells * width**2 + heads * head + enlarging,
            again=again + enlarging * (3 if attended else count + 1),
            weights=sum(9 * width * (one + width) for one in sides)
            + middle * 18 * width**2
            + heads * 4 * width**2
            + (25 * side**2 if below else 0),
            held=more_held * (held + heads * _attention(cells, width) + (cells * side / 4 if below else 0)),
            starts=cells * side / (4 if below else 1) + (cells * width * (count - 1) if attended else 0),
            at_once=more_at_once
            * max(
                cells * (max(sides) + width + 2 * max(max(sides), width)), (2 * middle + 2) * cells * width + looking
            ),
        )


def clip_cost(config: Mapping[str, Any], *, itemsize: int) -> Cost:
    """Of one piece for a CLIP of open_clip's config; weights are those of both towers."""
    vision, text = config["vision_cfg"], config.get("text_cfg", {})
    side = int(vision.get("image_size", 224))
    tower = _transformer(vision, side) if vision.get("patch_size") else _residual(vision, side)
    flop, weights, numbers = tower
    words = 12 * text.get("layers", 12) * text.get("width", 512) ** 2
    words += text.get("vocab_size", 49408) * text.get("width", 512)
    held = numbers * itemsize
    return Cost(flop / 1e9, held, held, weights * itemsize + words * 4)


def piece_bytes(config: Mapping[str, Any]) -> float:
    """The memory of one piece of a picture, whatever looks at it."""
    return PIECE * int(config["vision_cfg"].get("image_size", 224)) ** 2


def _kept_exact(config: VQGANConfig) -> float:
    """The weights of a decoder's middle where those stay float32."""
    blocks = 18 * config.middle_blocks + 4 * config.middle_attention
    return config.is_deep * blocks * config.decoder.widths[-1] ** 2


def _attention(cells: int, width: int) -> float:
    return 7 * cells * width + (cells**2 if cells <= TABLE else 0)


def _transformer(vision: Mapping[str, Any], side: int) -> tuple[float, float, float]:
    width, layers, patch = int(vision["width"]), int(vision["layers"]), int(vision["patch_size"])
    tokens = (side // patch) ** 2 + 1
    heads = width // int(vision.get("head_width", 64))
    flop = layers * (24 * tokens * width**2 + 4 * tokens**2 * width) + 6 * tokens * (patch * width) * patch
    numbers = layers * (TOKEN * tokens * width + 2 * heads * tokens**2) + 2 * 3 * side**2
    return flop, layers * 12 * width**2 + 3 * patch**2 * width, numbers


def _residual(vision: Mapping[str, Any], side: int) -> tuple[float, float, float]:
    """A ModifiedResNet: a stem, then four stages of bottlenecks, each of half the side of the one before."""
    width, half = int(vision["width"]), (side // 2) ** 2
    flop = 2 * half * 9 * (3 * width / 2 + width**2 / 4 + width**2 / 2)
    weights, numbers, come = 7 * width**2, 5 * half * width, width
    for stage, blocks in enumerate(vision["layers"]):
        planes, cells = width * 2**stage, (side // 4 // 2**stage) ** 2
        for _ in range(blocks):
            block = come * planes + 9 * planes**2 + 4 * planes**2
            flop, weights = flop + 2 * cells * block, weights + block
            numbers, come = numbers + cells * (come + 12 * planes), 4 * planes
    return flop, weights, numbers
