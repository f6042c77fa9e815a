"""The painting loop: a latent follows the guided gradient, and every step is an event."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vqclip.engine.canvas import Canvas, State
from vqclip.engine.course import Course
from vqclip.engine.graphed import Graphed
from vqclip.engine.streams import stream
from vqclip.engine.thrift import Thrift
from vqclip.events import Step
from vqclip.models.interfaces import ImageDecoder, Perceptor
from vqclip.ops.cutouts import CutoutPlan, CutoutSettings, apply_cutouts, draw_cutouts
from vqclip.ops.guide import Extras, Seen, Targets, View, guide, look
from vqclip.ops.shares import Embed, in_shares
from vqclip.prompts import share_of


@dataclass(frozen=True)
class Look:
    """One perceptor, what it should see, how much it counts, and which share of the cutouts it sees.

    copies of it on further devices divide these cutouts with it, in equal parts; targets and losses stay on its own.
    """

    name: str
    perceptor: Perceptor
    targets: Targets
    weight: float = 1.0
    share: float = 1.0
    copies: Sequence[tuple[torch.device, Perceptor]] = ()

    @property
    def embed(self) -> Embed:
        """How pieces [R, 3, S, S] are embedded [R, D], on however many devices."""
        return in_shares(self.perceptor.embed_image, [(device, one.embed_image) for device, one in self.copies])


def paint(
    decoder: ImageDecoder,
    looks: Sequence[Look],
    state: State,
    *,
    course: Course,
    cutouts: CutoutSettings,
    extras: Extras = (),
    first: int = 0,
    thrift: Thrift | None = None,
    graph: bool = False,
) -> Iterator[Step]:
    """Paints: yields course.steps + 1 events, each before its update, the last one the result.

    state comes from `begin(latent, seeds)`, or from an event's `state()` to go on exactly from there. Events count from
    `first`. A step whose loss or gradient is not finite changes nothing and is counted in `skipped`. With an average,
    an event's picture is the one its step saw, and the last one is decoded from the average. Nothing waits for the
    device, and nothing random is drawn but from streams named by seed and step. A step that runs out of memory is done
    again as `thrift` says (None = as the course says, and leaner when it must). With `graph` a step's work up to the
    gradient is one CUDA graph, on a GPU, with a fixed way to spend memory; see `Graphed`.
    Shapes: events carry image [B, 3, H, W] and latent [B, C, h, w] for the B pictures of the state.
    """
    device = decoder.latent_range()[0].device
    with _own_modes(device):
        canvas = Canvas(state, course, decoder.latent_range())
    thrift = thrift or Thrift(course.micro_batch, course.lean)
    draw = partial(_draw, decoder, looks, cutouts=cutouts)
    work = partial(_work, decoder, looks, extras=extras)
    graphed = Graphed(partial(work, guide, micro_batch=thrift.micro_batch, lean=thrift.lean)) if graph else None
    see = partial(_see, work, thrift=thrift)
    last = first + course.steps
    while canvas.step < last:
        with _own_modes(device):
            latent, plans = canvas.latent, draw(canvas)
            guided = graphed(latent, plans) if graphed else see(guide, latent, plans, step=canvas.step)
            sound = guided.each.isfinite() & guided.gradient.isfinite().flatten(1).all(dim=1)
        yield _event(canvas, latent, guided, last)
        with _own_modes(device):
            canvas.move(guided.gradient, sound, course.rate(canvas.step - first))
    with _own_modes(device):
        latent = canvas.finished
        seen = see(look, latent, draw(canvas), step=canvas.step)
    yield _event(canvas, latent, seen, last)


def _draw(decoder: ImageDecoder, looks: Sequence[Look], canvas: Canvas, *, cutouts: CutoutSettings) -> list[CutoutPlan]:
    """This step's random numbers, for each perceptor."""
    height, width = (side * decoder.stride for side in canvas.latent.shape[2:])
    plans, cutouts = [], cutouts.at(canvas.step)
    for number, one in enumerate(looks):
        rngs = [stream(seed, "cutouts", canvas.step, number) for seed in canvas.seeds]
        size = one.perceptor.image_size
        its = replace(cutouts, count=share_of(cutouts.count, one.share))
        plans.append(draw_cutouts(its, size=size, height=height, width=width, rngs=rngs))
    return plans


def _work(
    decoder: ImageDecoder,
    looks: Sequence[Look],
    how: Callable[..., Any],
    latent: Tensor,
    plans: Sequence[CutoutPlan],
    *,
    extras: Extras,
    micro_batch: int | None,
    lean: bool,
) -> Any:
    """One look at the latents' pictures: how is `guide` or `look`."""
    decode = partial(decoder.decode, lean=True) if lean else decoder.decode
    views = [
        View(one.name, partial(apply_cutouts, plan=plan), one.embed, one.targets, one.weight)
        for one, plan in zip(looks, plans, strict=True)
    ]
    return how(latent, quantize=decoder.quantize, decode=decode, views=views, extras=extras, micro_batch=micro_batch)


def _see(
    work: Callable[..., Any],
    how: Callable[..., Any],
    latent: Tensor,
    plans: Sequence[CutoutPlan],
    *,
    step: int,
    thrift: Thrift,
) -> Any:
    """The same, in as little memory as it takes."""
    pieces = max((plan.count for plan in plans), default=1) * len(latent)
    return thrift.spend(
        lambda micro_batch, lean: work(how, latent, plans, micro_batch=micro_batch, lean=lean), step=step, pieces=pieces
    )


def _event(canvas: Canvas, latent: Tensor, seen: Seen, last: int) -> Step:
    index = canvas.step

    def state() -> State:
        if canvas.step != index:
            raise RuntimeError(f"the state of step {index} is gone: call state() before asking for the next event")
        return canvas.state()

    return Step(index, last, seen.image, latent, seen.loss, seen.losses, canvas.skipped.sum(), state)


@contextmanager
def _own_modes(device: torch.device) -> Iterator[None]:
    """The loop's own modes, whatever the listener has on; closed before every event, so that they never leak to it."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        yield
