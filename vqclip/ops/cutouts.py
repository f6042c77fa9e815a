"""Cutouts: the pieces of a picture that a perceptor looks at. The random numbers are drawn apart from the work.

Three methods. "views" (this package's own) mixes views of the whole picture at its true aspect with crops of many
sizes, stratified over the sizes, each piece resampled once from the picture. "crops" is the VQGAN+CLIP notebook's
(Crowson, 2021). "pooled" shows the whole picture, squeezed into a square, again and again, as nerdyrodent's
VQGAN-CLIP does by default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vqclip.ops.bands import PLAIN, Wrap
from vqclip.ops.color import apply_color, jitter
from vqclip.ops.geometry import flip, perspective, rotate, shear, translate, window
from vqclip.ops.gradients import clamp_with_gradient
from vqclip.ops.pieces import Noise, erase, sample_pieces, squeeze
from vqclip.ops.resample import resample
from vqclip.words import counted


@dataclass(frozen=True)
class CutoutSettings:
    """How to cut. Nothing is changed or added but what is asked for; the defaults of pictures stand with the models.

    count pieces of each picture; power bends the sizes (above 1: more small ones); whole_views is the share of pieces
    that show the whole picture; smallest_view the smallest crop's share of the short side; noise the largest standard
    deviation added to a piece; jitter the strength of the color changes; rotation in degrees to both sides;
    perspective in [0, 1]; flip mirrors a piece by chance; roll, in pixels, shifts each piece by up to half of it, so
    that the latent's grid never stands still (use the stride, or 0 for none); wrap says along which axis (x, y) the
    picture goes on at its other end, where pieces then may lie too.
    start, grown: so many pieces at a painting's first step, and ever more until step `grown`, which has all (start
    None = always all); see `at`. antithetic: of whole views and of crops each second piece lies, and is turned and
    slanted, the opposite way of the one before it, so that what is off in the one is off the other way in the other.
    "crops" heeds count, power and noise only; "pooled" all but power, whole_views, smallest_view, flip, roll and
    antithetic.
    """

    count: int
    method: Literal["views", "crops", "pooled"] = "views"
    power: float = 1.0
    whole_views: float = 0.0
    smallest_view: float = 1.0
    noise: float = 0.0
    jitter: float = 0.0
    rotation: float = 0.0
    perspective: float = 0.0
    flip: bool = False
    roll: float = 0.0
    wrap: Wrap = PLAIN
    start: int | None = None
    grown: int = 0
    antithetic: bool = False

    def at(self, step: int) -> CutoutSettings:
        """How to cut at a step of the whole painting, counted from 0: the number of pieces grows evenly with it."""
        if self.start is None or step >= self.grown:
            return self
        return replace(self, count=self.start + int((self.count - self.start) * step / self.grown + 0.5))


@dataclass(frozen=True)
class CutoutPlan:
    """All the random numbers of one look at a batch of pictures, on the CPU, cut-major.

    size of the square pieces. Where from: either boxes[n][B] (x, y, side in pixels; method "crops"), or matrices
    [n, B, 3, 3] from piece to picture with levels (mip level, number of consecutive pieces); pooled says that the
    picture is squeezed into a square first. colors [n, B, 4, 4]; erased [n, B, 4] (left, top, right, bottom in pixels).
    """

    size: int
    boxes: tuple[tuple[tuple[int, int, int], ...], ...] = ()
    matrices: Tensor | None = None
    levels: tuple[tuple[int, int], ...] = ()
    pooled: bool = False
    colors: Tensor | None = None
    erased: Tensor | None = None
    noise: Noise | None = None
    wrap: Wrap = PLAIN

    @property
    def count(self) -> int:
        """How many pieces of each picture it is for."""
        return len(self.boxes) if self.matrices is None else self.matrices.shape[0]

    @property
    def pictures(self) -> int:
        """How many pictures the plan is for."""
        return len(self.boxes[0]) if self.matrices is None else self.matrices.shape[1]


def draw_cutouts(
    settings: CutoutSettings, *, size: int, height: int, width: int, rngs: Sequence[Generator]
) -> CutoutPlan:
    """Draws the random numbers of one look: pieces of size x size from pictures of height x width, one rng for each.

    The same generators give the same plan on every device, and a picture's numbers do not depend on its neighbors
    (one generator may stand for several pictures; then they draw from it in turn).
    Order of the pieces of "views": views of the whole picture first, then crops from large to small.
    """
    plan = _draw_places(settings, size, height, width, rngs)
    # noise comes last, so that having it or not does not move the pieces
    noise = _draw_noise(settings, size, rngs) if settings.noise else None
    return replace(plan, noise=noise, wrap=settings.wrap)


def apply_cutouts(image: Tensor, plan: CutoutPlan) -> Tensor:
    """Cuts the pictures as planned. Differentiable.

    Shapes: image [B, 3, H, W] in [0, 1] -> pieces [n * B, 3, size, size], cut-major (index = cut * B + picture), in
    [0, 1] but for noise and color changes, which are not clamped (a clamp would swallow gradients).
    Raises: ValueError if the plan was drawn for another number of pictures.
    """
    if plan.pictures != len(image):
        raise ValueError(f"a plan for {counted(plan.pictures, 'picture')}, but there are {len(image)}")
    image = image.float()
    if plan.matrices is None:
        pieces = _cut_boxes(image, plan)
    else:
        picture = squeeze(image, plan.size) if plan.pooled else image
        padding = "zeros" if plan.pooled else "reflection"
        pieces = sample_pieces(picture, plan.matrices, plan.levels, plan.size, padding=padding, wrap=plan.wrap)
        pieces = pieces.flatten(0, 1)
    colors = None if plan.colors is None else plan.colors.flatten(0, 1)
    if plan.erased is not None and colors is not None:  # the hole lies over the colors, the noise over the hole
        pieces, colors = erase(apply_color(pieces, colors), plan.erased.flatten(0, 1)), None
    noise = None if plan.noise is None else plan.noise.fields(pieces.shape[1:], pieces.device)
    if colors is not None:
        return apply_color(pieces, colors, noise)
    return pieces if noise is None else pieces + noise


def _draw_places(settings: CutoutSettings, size: int, height: int, width: int, rngs: Sequence[Generator]) -> CutoutPlan:
    if settings.method == "crops":
        boxes = zip(*[_draw_boxes(settings, size, height, width, rng) for rng in rngs], strict=True)
        return CutoutPlan(size, boxes=tuple(boxes))
    if settings.method == "pooled":
        drawn = zip(*[_draw_pooled(settings, size, rng) for rng in rngs], strict=True)
        matrices, colors, erased = (torch.stack(parts, dim=1) for parts in drawn)
        levels = ((0, settings.count),)
        return CutoutPlan(size, matrices=matrices, levels=levels, pooled=True, colors=colors, erased=erased)
    drawn = zip(*[_draw_views(settings, height, width, rng) for rng in rngs], strict=True)
    matrices, colors = (torch.stack(parts, dim=1) for parts in drawn)
    return CutoutPlan(size, matrices=matrices, levels=_levels(settings, size, height, width), colors=colors)


def _both(rng: Generator, *shape: int) -> Tensor:
    """Uniform numbers in [-1, 1]."""
    return torch.rand(shape, generator=rng) * 2 - 1


def _whole(settings: CutoutSettings) -> int:
    wanted = round(settings.count * settings.whole_views)
    return min(settings.count, max(wanted, 1)) if settings.whole_views and settings.count > 1 else wanted


def _share(settings: CutoutSettings, place: Tensor) -> Tensor:
    """A crop's share of the short side, for its place in (0, 1) among the sizes, large ones first."""
    return settings.smallest_view + (1 - settings.smallest_view) * (1 - place) ** settings.power


def _levels(settings: CutoutSettings, size: int, height: int, width: int) -> tuple[tuple[int, int], ...]:
    """The mip level of each piece, by the middle of its stratum: so it does not depend on what is drawn."""
    whole = _whole(settings)
    crops = settings.count - whole
    shares = _share(settings, (torch.arange(crops) + 0.5) / max(crops, 1)) * min(height, width)
    sides = [float(max(height, width))] * whole + shares.tolist()
    deepest = int(math.log2(min(height, width)))
    levels = [min(max(round(math.log2(side / size)), 0), deepest) for side in sides]
    return tuple((level, levels.count(level)) for level in sorted(set(levels), reverse=True))


def _draw_views(settings: CutoutSettings, height: int, width: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """Matrices [n, 3, 3] and colors [n, 4, 4]: whole views, a little larger than the picture, then crops."""
    count, whole = settings.count, _whole(settings)
    places, x, y = torch.rand(3, count, generator=rng)
    slants, roll, corners = _both(rng, 3, count), _both(rng, 2, count), _both(rng, count, 4, 2)
    mirrored = torch.rand(count, generator=rng) < 0.5
    is_whole = torch.arange(count) < whole
    moves = torch.cat([torch.stack([x, y]) - 0.5, slants, roll])
    moves = _paired(moves, whole) if settings.antithetic else moves
    x, y, slants, roll = moves[0], moves[1], moves[2:5], moves[5:]
    strata = (torch.arange(count) - whole + places) / max(count - whole, 1)
    long, short = max(height, width), min(height, width)
    side = torch.where(is_whole, long * (1 + 0.08 * places), short * _share(settings, strata.clamp(0, 1)))
    # the slack of a whole view is how far the picture may lie off its middle without leaving it
    slack_x, slack_y = (
        torch.full_like(side, end) if wraps else torch.where(is_whole, side - long, end - side)
        for end, wraps in zip((width, height), settings.wrap, strict=True)
    )
    middle_x = width / 2 + x * slack_x + roll[0] * settings.roll / 2
    middle_y = height / 2 + y * slack_y + roll[1] * settings.roll / 2
    calm = torch.where(is_whole, 0.5, 1.0)
    angle, slant_x, slant_y = slants * calm * math.radians(settings.rotation)
    matrices = window(middle_x, middle_y, side, side, of=(height, width))
    matrices = matrices @ rotate(angle) @ shear(slant_x / 3, slant_y / 3)
    matrices = matrices @ perspective(_SQUARE * (1 + 0.5 * settings.perspective * calm[:, None, None] * corners))
    colors = jitter(settings.jitter, _both(rng, count, 4))
    return matrices @ flip(mirrored & settings.flip), colors


def _paired(values: Tensor, whole: int) -> Tensor:
    """Numbers about zero [..., n], each second one of the whole views and of the crops minus the one before it."""
    place = torch.arange(values.shape[-1])
    second = torch.where(place < whole, place, place - whole) % 2 == 1
    return torch.where(second, -values.roll(1, dims=-1), values)


def _draw_pooled(settings: CutoutSettings, size: int, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices [n, 3, 3], colors [n, 4, 4], erased boxes [n, 4]; each change comes to seven pieces in ten.

    Source: cutout method "latest" of nerdyrodent's VQGAN-CLIP. Differs: moves on both axes, not only down; affine and
    perspective are one resampling; linear color changes.
    """
    count = settings.count
    gates = torch.rand(4, count, generator=rng) < 0.7
    affine, spread, colored, erased = gates.float()
    slants, shift = _both(rng, 3, count) * affine, _both(rng, 2, count) * affine * 0.2
    angle, slant_x, slant_y = slants * math.radians(settings.rotation)
    corners = torch.rand(count, 4, 2, generator=rng) * spread[:, None, None]
    # there the picture's corners move inwards, here we look the other way: from the piece to the picture
    matrices = torch.linalg.inv(perspective(_SQUARE * (1 - settings.perspective * corners)))
    matrices = matrices @ translate(*shift) @ rotate(angle) @ shear(slant_x / 3, slant_y / 3)
    colors = jitter(settings.jitter, _both(rng, count, 4) * colored[:, None])
    # one rectangle for all pieces of the picture, as there
    area, tilt, x, y = torch.rand(4, generator=rng).tolist()
    root, stretch = (0.1 + 0.3 * area) ** 0.5, (0.3 * 11**tilt) ** 0.5
    wide, high = min(root * stretch, 1.0), min(root / stretch, 1.0)
    left, top = x * (1 - wide), y * (1 - high)
    box = (torch.tensor([left, top, left + wide, top + high]) * size).round().long()
    return matrices, colors, box * erased.long()[:, None]


def _draw_boxes(
    settings: CutoutSettings, size: int, height: int, width: int, rng: Generator
) -> list[tuple[int, int, int]]:
    """(x, y, side) of each piece, drawn one after the other exactly as the notebook does."""
    boxes, longest = [], min(height, width)
    shortest = min(longest, size)
    for _ in range(settings.count):
        side = int(torch.rand((), generator=rng) ** settings.power * (longest - shortest) + shortest)
        x = int(torch.randint(0, width if settings.wrap[0] else width - side + 1, (), generator=rng))
        y = int(torch.randint(0, height if settings.wrap[1] else height - side + 1, (), generator=rng))
        boxes.append((x, y, side))
    return boxes


def _draw_noise(settings: CutoutSettings, size: int, rngs: Sequence[Generator]) -> Noise:
    length = 3 * size * size
    strips = torch.stack([torch.randn(2 * length, generator=rng) for rng in rngs])
    offsets = [torch.randint(0, length, (settings.count,), generator=rng).tolist() for rng in rngs]
    strengths = torch.stack([torch.rand(settings.count, generator=rng) * settings.noise for rng in rngs], dim=1)
    return Noise(strips, tuple(zip(*offsets, strict=True)), strengths)


def _cut_boxes(image: Tensor, plan: CutoutPlan) -> Tensor:
    height, width = image.shape[2:]
    # once more to the right and below, where a piece may run over the end
    image = F.pad(image, (0, width * plan.wrap[0], 0, height * plan.wrap[1]), mode="circular")
    pieces = [
        resample(image[b : b + 1, :, y : y + side, x : x + side], plan.size, plan.size)
        for piece in plan.boxes
        for b, (x, y, side) in enumerate(piece)
    ]
    return clamp_with_gradient(torch.cat(pieces))


_SQUARE = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
