"""What a painting step costs, from the shapes of its models alone: work in GFLOP and memory in bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vqclip.configs import Stack, VQGANConfig

BANDS = 40 * 2**20  # the maps between the layers of a band, and the workspace of a convolution
PIXEL = 76  # bytes of a picture's pixel, with its clamp, its gradient and its pyramid
PIECE = 44  # bytes of a piece's pixel: sampled, colored, its noise, its gradient, its grid
TOKEN = 13  # numbers kept for each token and channel of a transformer's layer
TABLE = 2**12  # tokens up to which attention keeps its table of all pairs
PLAIN_CODES = 2**24


@dataclass(frozen=True)
class Cost:
    """The cost of a decoder or of a CLIP for one picture or piece.

    gflop for one pass forward; held (bytes) what the gradient needs; peak (bytes) the most that exists at once while it
    is worked out; weights (bytes).
    """

    gflop: float
    held: float
    peak: float
    weights: float


def decoder_cost(config: VQGANConfig, grid: tuple[int, int], *, itemsize: int, lean: bool, encoder: bool) -> Cost:
    """Of a VQGAN for a latent of grid (rows, columns)."""
    stack, lowest = config.decoder, grid[0] * grid[1]
    flop = weights = held = kept = 0.0
    inner = tops = 0.0
    for number, before, width, blocks in _levels(stack):
        cells = lowest * 4 ** (len(stack.widths) - 1 - number)
        attended = number in stack.attention
        sides = [before] + [width] * (blocks - 1)
        if number == len(stack.widths) - 1:
            sides = [width] * config.middle_blocks + sides
        for place, side in enumerate(sides):
            flop += 18 * cells * width * (side + width) + (2 * cells * side * width if side != width else 0)
            weights += 9 * width * (side + width)
            held += cells * (side + width) * itemsize
            kept += cells * side * itemsize / (4 if place == 0 and number < len(stack.widths) - 1 else 1)
        heads = blocks * attended + (config.middle_attention and number == len(stack.widths) - 1)
        flop += heads * (8 * cells * width**2 + 4 * cells**2 * width)
        weights += heads * 4 * width**2
        held += heads * _attention(cells, width) * itemsize
        inner = max(inner, (3 * cells * width + bool(heads) * _attention(cells, width)) * itemsize)
        if number:
            flop += 8 * 4 * cells * width**2
            weights += (9 + 16) * width**2
            held += cells * width * itemsize
        tops = cells * width * itemsize
    flop += 18 * lowest * 4 ** (len(stack.widths) - 1) * stack.widths[0] * config.out_channels
    held, kept = held + tops, kept + tops
    pixels = PIXEL * lowest * config.stride**2
    held, peak = (kept, kept + inner - tops) if lean else (held, held + tops)
    size = weights * (1.8 if encoder else 1) * itemsize + config.codes * config.embedding_channels * 4
    size += _kept_exact(config) * (4 - itemsize)
    return Cost(flop / 1e9, held + pixels, peak + pixels + BANDS, size)


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


def _levels(stack: Stack) -> Iterator[tuple[int, int, int, int]]:
    """(number, channels that come in, channels, blocks), the lowest resolution first."""
    for number in reversed(range(len(stack.widths))):
        before = stack.widths[min(number + 1, len(stack.widths) - 1)]
        yield number, before, stack.widths[number], stack.blocks[number]


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
