"""Captioned scenes in memory: rendered once, read as batches whose order depends on a seed and a step alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqclip.starter.captions import caption
from vqclip.starter.scenes import render
from vqclip.starter.world import Scene, random_scene
from vqclip.train.truth import false_caption, labels_of, truth_table

TRAINING_SEED = 2026
CAPTIONS_EACH = 4


@dataclass(frozen=True)
class SceneSet:
    """Rendered scenes: images uint8 [N, S, S, 3], the scene behind each, and several captions for each."""

    images: np.ndarray
    scenes: Sequence[Scene]
    captions: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.images)

    def pictures(self, indices: np.ndarray, rng: np.random.Generator | None = None) -> Tensor:
        """Indices [B] -> images [B, 3, S, S] in [0, 1]; scenes are square, so there is nothing for rng to choose."""
        return torch.from_numpy(self.images[indices]).permute(0, 3, 1, 2).float().div_(255)

    def truth(self, indices: np.ndarray, captions: Sequence[str]) -> Tensor:
        """Scenes [B] and one caption of each -> bool [B, B]: is caption (column) true of scene (row)?"""
        return truth_table([self.scenes[i] for i in indices], captions)

    def false_captions(self, indices: np.ndarray, rng: np.random.Generator) -> list[str]:
        """One caption of each scene [B] in which one thing is not as the picture shows it."""
        return [false_caption(self.scenes[i], rng) for i in indices]

    def labels(self, indices: np.ndarray) -> dict[str, Tensor]:
        """The class [B] of each attribute of these scenes."""
        return labels_of([self.scenes[i] for i in indices])


def scene_of(seed: int, index: int) -> tuple[Scene, list[str], np.random.Generator]:
    """The scene number `index` of a seed, its captions, and the generator that renders it."""
    rng = np.random.default_rng([seed, index])
    scene = random_scene(rng)
    return scene, [caption(scene, rng) for _ in range(CAPTIONS_EACH)], rng


def render_scenes(
    count: int, size: int, *, seed: int, path: Path, start: int = 0, stop: Callable[[], bool] | None = None
) -> bool:
    """Renders scenes number start .. start + count of a seed to a .npy file, uint8 [count, size, size, 3].

    stop is asked before each scene; once it says yes nothing is left behind. Gives whether the file was finished.
    """
    partial = path.with_suffix(".part")
    images = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(count, size, size, 3))
    for i in range(count):
        if stop is not None and stop():
            partial.unlink()
            return False
        scene, _, rng = scene_of(seed, start + i)
        images[i] = render(scene, size, rng)
    images.flush()
    partial.replace(path)
    return True


def load_scenes(paths: Sequence[Path], *, seed: int, start: int = 0) -> SceneSet:
    """Reads what `render_scenes` wrote: files that follow one another without a gap from `start`.

    One file alone stays on disk until its pictures are asked for.
    """
    kept = [np.load(path, mmap_mode="r") for path in paths]
    images = kept[0] if len(kept) == 1 else np.concatenate(kept)
    known = [scene_of(seed, start + i)[:2] for i in range(len(images))]
    return SceneSet(images, [scene for scene, _ in known], [captions for _, captions in known])


def batch_indices(count: int, size: int, *, seed: int, step: int) -> tuple[np.ndarray, np.random.Generator]:
    """The indices [size] below `count` of a step's batch, and that step's own generator for all else."""
    rng = np.random.default_rng([seed, step])
    return rng.integers(0, count, size), rng
