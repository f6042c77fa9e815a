"""What a sound does over time, as numbers: its levels in three bands, its onsets, and its beats. numpy alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RATE = 22_050
WINDOW, HOP = 1024, 256
# Hertz: what people call the bass ends where the voice begins.
BANDS = {"bass": (20.0, 200.0), "mids": (200.0, 2000.0), "highs": (2000.0, 11_000.0)}
# How fast a level may fall: to a third within this time, so that a picture driven by it does not flutter.
_RELEASE = 0.12
_BLOCK = 2048
_HEARD, _PITCHES = (30.0, 10_000.0), 24
# A band that is never louder than this share of the whole has nothing in it but clicks and hiss.
_FAINT = 0.03
# Beats are where the low tones begin, more often than not.
_BASS_FIRST = (2.0, 0.5)
_USUAL_BPM, _OCTAVES = 120.0, 0.9
_TIGHTNESS = 100.0


def levels(samples: NDArray[np.float32], *, fps: float, frames: int) -> dict[str, list[float]]:
    """How loud a sound is at each frame of a film, in all and in each band, and how much begins there.

    Each runs from 0 to 1, its own nearly loudest moment. Shapes: samples [n], mono at RATE -> lists of `frames`.
    """
    found, flux = _spectrum(samples)
    least = _FAINT * _top(found["loud"])
    tracks = {name: _framed(_normal(track, least), fps, frames) for name, track in found.items()}
    fall = float(np.exp(-1 / (fps * _RELEASE)))
    smooth = {name: _released(track, fall) for name, track in tracks.items()}
    return {**smooth, "onset": _framed(_normal(flux), fps, frames).tolist()}


def beat_times(samples: NDArray[np.float32]) -> list[float]:
    """The times of a sound's beats in seconds; none where nothing ever begins.

    Shapes: samples [n], mono at RATE. Source: Ellis, Beat Tracking by Dynamic Programming (2007): one tempo for
    all, then the chain of beats that hits the most onsets at about that distance. Differs: beats before the first
    clear onset are left out.
    """
    flux = _spectrum(samples)[1]
    if len(flux) < 8 or flux.max() <= 0:
        return []
    strength = np.convolve(flux / (flux.std() + 1e-12), np.hanning(7) / np.hanning(7).sum(), mode="same")
    chain = _chain(strength, _period(strength))
    begun = np.argmax(strength > 0.3 * strength.max())
    return [float(at * HOP / RATE) for at in chain if at >= begun - 3]


def _spectrum(samples: NDArray[np.float32]) -> tuple[dict[str, Array], Array]:
    """The level of each band and of all, and the spectral flux, at each hop."""
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE)
    masks = {name: (bins >= low) & (bins < high) for name, (low, high) in BANDS.items()}
    masks["loud"] = bins >= BANDS["bass"][0]
    tracks: dict[str, list[Array]] = {name: [] for name in masks}
    edges = np.unique(np.searchsorted(bins, np.geomspace(*_HEARD, _PITCHES + 1)))
    flux, last = [], np.zeros(len(edges) - 1)
    for block in _blocks(samples):
        for name, mask in masks.items():
            tracks[name].append(np.sqrt((block[:, mask] ** 2).sum(axis=1)))
        # by pitch rather than by Hertz, else a hiss outweighs any drum
        heard = np.log1p(100 * np.add.reduceat(block, edges, axis=1)[:, :-1])
        flux.append(np.diff(heard, axis=0, prepend=last[None]).clip(min=0) @ np.linspace(*_BASS_FIRST, len(last)))
        last = heard[-1]
    return {name: np.concatenate(parts) for name, parts in tracks.items()}, np.concatenate(flux)


def _blocks(samples: NDArray[np.float32]) -> Iterator[Array]:
    """Magnitudes [hops, bins], some hops at a time, so that an hour of sound fits into memory."""
    padded = np.pad(samples, (WINDOW // 2, WINDOW))
    hops = len(samples) // HOP + 1
    shape = np.hanning(WINDOW) * 2 / WINDOW
    for first in range(0, hops, _BLOCK):
        starts = np.arange(first, min(first + _BLOCK, hops)) * HOP
        pieces = padded[starts[:, None] + np.arange(WINDOW)]
        yield np.abs(np.fft.rfft(pieces * shape, axis=1))


def _top(track: Array) -> float:
    return float(np.percentile(track, 99))


def _normal(track: Array, least: float = 0.0) -> Array:
    """The track with its nearly highest value made 1; one that never reaches `least` stays as low as it is to that."""
    top = max(_top(track), least)
    return (track / top).clip(0, 1) if top > 1e-6 else np.zeros_like(track)


def _framed(track: Array, fps: float, frames: int) -> Array:
    """The highest value within each frame; 0 after the end. Shapes: [hops] -> [frames]."""
    edges = np.round(np.arange(frames + 1) / fps * RATE / HOP).astype(int)
    return np.array([track[a : max(b, a + 1)].max(initial=0.0) for a, b in pairwise(edges)])


def _released(track: Array, fall: float) -> list[float]:
    """Rises at once, falls slowly."""
    held, kept = 0.0, []
    for value in track.tolist():
        held = max(value, held * fall)
        kept.append(held)
    return kept


def _period(strength: Array) -> float:
    """Hops from beat to beat: where the onsets resemble themselves most, near a usual tempo rather than not."""
    size = 1 << (2 * len(strength) - 1).bit_length()
    spectrum = np.fft.rfft(strength - strength.mean(), size)
    alike = np.fft.irfft(np.abs(spectrum) ** 2, size)[: len(strength)]
    lags = np.arange(1, min(len(alike), int(2 * RATE / HOP)))
    bpm = 60 * RATE / HOP / lags
    score = alike[lags] * np.exp(-0.5 * (np.log2(bpm / _USUAL_BPM) / _OCTAVES) ** 2)
    return float(lags[np.argmax(score)])


def _chain(strength: Array, period: float) -> list[int]:
    """The best chain of hops about a period apart, by dynamic programming from the first to the last."""
    lags = np.arange(max(1, round(period / 2)), round(period * 2) + 1)
    cost = -_TIGHTNESS * np.log(lags / period) ** 2
    score, before = strength.copy(), np.full(len(strength), -1)
    for at in range(int(lags[0]), len(strength)):
        reach = lags[lags <= at]
        ways = score[at - reach] + cost[: len(reach)]
        best = int(np.argmax(ways))
        if ways[best] > 0:
            score[at] += ways[best]
            before[at] = at - int(reach[best])
    tail = max(0, len(score) - round(period))
    at, chain = tail + int(np.argmax(score[tail:])), []
    while at >= 0:
        chain.append(at)
        at = int(before[at])
    return chain[::-1]
