"""Memory and time of a film before any model is loaded, and settings that fit it into what is free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from vqclip.films import FilmSettings, Reel
from vqclip.runs.estimate import Estimate, estimate, fit, rates_of, work_of
from vqclip.runs.rates import predict
from vqclip.settings import Delivery, Settings
from vqclip.shotlist import Script

MOVES = {"cells": 1, "state": 2, "picture": 3}
"""How often a frame is decoded or encoded to follow the camera; by cells three times, but hardly every third frame."""


def fit_film(
    settings: Settings, delivery: Delivery, note: Callable[[str], None], *, script: Script | None = None
) -> Settings:
    """The settings of a film's pictures, fitted into what is free as those of one picture are, once for all frames.

    Raises: MemoryFullError if nothing fits.
    """
    fitted = fit(_largest(settings, script), delivery, note, encoder=True)
    return fitted.changed(cutouts=settings.cutouts, cutouts_start=settings.cutouts_start)


def estimate_film(
    settings: Settings, film: Reel, delivery: Delivery, *, script: Script | None = None
) -> Estimate | None:
    """What a film will take here: its first picture, then the steps of each frame; None if a shape is not known yet.

    settings come from `resolve`. Not counted: making a frame anew for another prompt, following what moves in a clip,
    and encoding the film.
    """
    largest = _largest(settings, script)
    work, opening = work_of(largest, encoder=True), estimate(settings, delivery, encoder=True)
    most = estimate(largest, delivery, encoder=True)
    if work is None or opening is None or most is None:
        return None
    rates, measured = rates_of(settings, delivery)
    decode, look = predict(work.decode, 0.0, rates), predict(0.0, work.look, rates) / (largest.cutouts or 1)
    # beside the steps: what is shown is decoded and seen once without a gradient, and what moves is decoded or encoded
    moves = MOVES[film.carry] if isinstance(film, FilmSettings) else 1
    still = (1 + moves) * predict(work.still, 0.0, rates)
    total = opening.total
    for (steps, cutouts), count in Counter(_frames(settings, film, script)).items():
        total += count * (still + steps * decode + (steps + 0.5) * cutouts * look)
    return Estimate(most.memory, opening.step, total, measured)


def _frames(settings: Settings, film: Reel, script: Script | None) -> Iterator[tuple[int, int]]:
    """(steps, cutouts) of each frame after the first picture."""
    for index in range(1, film.painted):
        if script is None:
            yield film.steps_per_frame, settings.cutouts or 1
        else:
            yield int(script.shots.curves["steps"][index]), int(script.shots.curves["cutouts"][index])


def _largest(settings: Settings, script: Script | None) -> Settings:
    """The settings with the most cutouts of any frame, all of which are there from the start."""
    most = max(map(int, script.shots.curves["cutouts"]), default=1) if script else 1
    return settings.changed(cutouts=max(most, settings.cutouts or 1), cutouts_start=None)
