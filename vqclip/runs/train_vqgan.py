"""Trains a VQGAN on a folder of pictures: settings and files in, one model file out."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from vqclip.configs import VQGANConfig
from vqclip.engine.precision import choose_dtype
from vqclip.errors import ModelError, UsageError
from vqclip.events import TrainStep
from vqclip.models.discriminator import PatchDiscriminator
from vqclip.models.perceptual import TowerDistance, resnet_stages
from vqclip.models.vqgan import VQGAN
from vqclip.runs.device import usable_device
from vqclip.runs.recipe import plain_name
from vqclip.runs.training import (
    Halt,
    Note,
    Outcome,
    Place,
    drive,
    join_team,
    make_job,
    make_recipe,
    processes,
    usual_sinks,
)
from vqclip.sinks.checkpoints import Checkpoint
from vqclip.sinks.comparison import Sheet
from vqclip.sinks.play import StopFlag
from vqclip.store.lpips import load_lpips, lpips_at_hand
from vqclip.store.openclip import load_clip
from vqclip.store.vqgans import build_vqgan, load_vqgan, save_vqgan
from vqclip.train.gallery import Ahead, Gallery, batch_of, to_images
from vqclip.train.shelf import find_pictures
from vqclip.train.team import Team
from vqclip.train.vqgan import Distance, Pictures, VQGANParts, VQGANTraining, train_vqgan
from vqclip.words import counted

SHOWN = 8
PROBED = 4
FREE = frozenset({"steps", "minutes", "learning_rate", "accumulate", "save_every"})
SHAPES: Mapping[int, tuple[int, ...]] = {4: (1, 2, 2), 8: (1, 1, 2, 2), 16: (1, 1, 2, 2, 4)}
"""The channels of each level, as multiples of the first, by stride."""


@dataclass(frozen=True)
class VQGANJob:
    """What can be said of a VQGAN training.

    learning_rate None: by whether it begins anew. smallest: of a crop, as a share of the picture's shorter side.
    """

    origin: str | None = None
    origin_config: str | None = None
    steps: int | None = None
    minutes: float | None = None
    batch: int = 8
    accumulate: int = 1
    size: int = 128
    smallest: float = 0.5
    flip: bool = True
    learning_rate: float | None = None
    stride: int = 8
    channels: int = 64
    codes: int = 1024
    unit: bool = True
    perception: Literal["auto", "lpips", "clip"] = "auto"
    perception_clip: str = "starter"
    adversary: float = 0.3
    adversary_from: float = 0.5
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    save_every: int = 250
    seed: int = 0
    processes: int = 1

    def check(self) -> VQGANJob:
        """Checks what no single flag can. Raises: UsageError."""
        if self.stride not in SHAPES:
            raise UsageError(f"--stride {self.stride}: there are {', '.join(map(str, SHAPES))}")
        if self.channels % 32:
            raise UsageError(f"--channels {self.channels}: give a multiple of 32, or the taming code cannot read it")
        if self.origin is None and self.size % self.stride:
            raise UsageError(f"--size {self.size}: give a multiple of the stride {self.stride}")
        if self.batch % self.accumulate:
            raise UsageError(f"--batch {self.batch} does not part into {self.accumulate}")
        return self


def train_own_vqgan(
    source: Path, out: Path, said: Mapping[str, Any], *, device: str, stop: StopFlag, note: Note
) -> Outcome:
    """Trains a VQGAN on the pictures of `source` and writes it to `out`; goes on where an earlier call stopped.

    said holds the fields of `VQGANJob` that were said.
    Raises: UsageError, ModelError, PictureError, OutputError, DivergedError.
    """
    items, place = find_pictures(source), Place(out)
    place.prepare()
    plan = place.kept_plan("vqgan")
    job = make_job(VQGANJob, place.settle({**said, "processes": processes()}, plan, FREE)).check()
    if job.perception == "auto":
        job = replace(job, perception="lpips" if lpips_at_hand() else "clip")
    team, where = join_team(usable_device(device))
    note = note if team.leads else _nothing
    gallery = Gallery(items, size=job.size, note=note, smallest=job.smallest)
    ahead = Ahead(_batches(gallery, job, team, where))
    try:
        parts = _build(job, team, where, note)
        training = _training(job, plan, parts, ahead, note, "minutes" in said and "steps" not in said)
        place.keep_plan("vqgan", job, training, leads=team.leads)
        run = _Run(place, job, training, parts, ahead, gallery, note)
        return run.train(Halt(stop, team, said.get("minutes")), stop)
    finally:
        ahead.close()
        team.close()


@dataclass(frozen=True)
class _Run:
    """One training on its way to its file."""

    place: Place
    job: VQGANJob
    training: VQGANTraining
    parts: VQGANParts
    pictures: Pictures
    gallery: Gallery
    note: Note

    def train(self, halt: Halt, stop: StopFlag) -> Outcome:
        every, leads = self.job.save_every, self.parts.team.leads
        checkpoint = Checkpoint(self.place.checkpoint, self.parts.state, every=every)
        sinks = usual_sinks(self.place, "vqgan", every, self.note)
        shown = to_images(self.gallery.centers(range(min(SHOWN, len(self.gallery)))))
        sheet = Sheet(self.place.folder / "sheet.png", lambda: _look(self.parts, shown), every=every, on_note=self.note)
        done, last = drive(self.parts, self._loop, checkpoint, *sinks, sheet, stop=halt, leads=leads)
        path = self._publish(done, last) if done and leads else None
        return Outcome(path, done, self.training.steps, dict(last.losses) if last else {}, stop.exit_code)

    def _loop(self, start: int) -> Iterator[TrainStep]:
        return train_vqgan(self.parts, self.pictures, self.training, start=start)

    def _publish(self, done: int, last: TrainStep | None) -> Path:
        """Writes the averaged model with its recipe: what it was made by, and nothing about anyone's disk."""
        if last is None and self.place.out.exists():
            return self.place.out
        recipe = make_recipe(self.training, done, last, size=self.job.size, pictures=len(self.gallery))
        recipe["processes"] = self.job.processes
        recipe["defaults"] = {"clip": ["starter"]}  # it paints at once, offline; --clip says otherwise
        if self.job.origin:
            recipe["from"] = plain_name(self.job.origin)
        return save_vqgan(self.parts.averaged, self.place.out, recipe)


def _build(job: VQGANJob, team: Team, device: torch.device, note: Note) -> VQGANParts:
    torch.manual_seed(job.seed)
    model = _model(job).to(device, memory_format=torch.channels_last).train()
    adversary = PatchDiscriminator(64, 3) if job.size >= 128 else PatchDiscriminator()
    rows = model.codebook.detach()
    unit = model.config.quantizer in ("unit", "l2") and bool((rows.norm(dim=1) - 1).abs().max() < 1e-3)
    return VQGANParts(model, _distance(job, device, note), adversary.to(device), unit=unit, team=team)


def _model(job: VQGANJob) -> VQGAN:
    """A new model, or a copy of the one to begin with whose weights can learn."""
    if job.origin is None:
        embedding, kind = (16, "unit") if job.unit else (64, "l2")
        shape = {"multipliers": SHAPES[job.stride], "blocks": 1, "attention_levels": (), "latent_channels": 64}
        return VQGAN(
            VQGANConfig(channels=job.channels, embedding_channels=embedding, codes=job.codes, quantizer=kind, **shape)
        )
    given = load_vqgan(job.origin, job.origin_config)
    if not given.can_encode:
        raise ModelError(f"{plain_name(job.origin)} has no encoder, so it cannot be trained further")
    if job.size % given.stride:
        raise UsageError(f"--size {job.size}: this model needs a multiple of {given.stride}")
    return build_vqgan(given.config, given.state_dict(), plain_name(job.origin)).requires_grad_(True)


def _distance(job: VQGANJob, device: torch.device, note: Note) -> Distance:
    if job.perception == "lpips":
        note("pictures are compared by LPIPS")
        return load_lpips().to(device)
    perceptor = load_clip(job.perception_clip)
    tower = perceptor.model.visual
    if not hasattr(tower, "layer1"):
        raise UsageError(
            f"{perceptor.name} has no layers that pictures can be compared by", hint="use starter, or RN50/openai"
        )
    note(f"pictures are compared by the CLIP {perceptor.name}")
    return TowerDistance(resnet_stages(tower), mean=perceptor.mean, std=perceptor.std).to(device)


def _batches(gallery: Gallery, job: VQGANJob, team: Team, device: torch.device) -> Pictures:
    def batch(step: int) -> Tensor:
        images = batch_of(gallery, step, batch=job.batch, seed=job.seed, flip=job.flip, rank=team.rank, size=team.size)
        return images.to(device, non_blocking=True)

    return batch


def _training(
    job: VQGANJob, plan: Mapping[str, Any] | None, parts: VQGANParts, pictures: Pictures, note: Note, timed: bool
) -> VQGANTraining:
    """The numbers of the training: those it was begun with, or new ones that fit its length."""
    if plan is not None:
        kept = make_job(VQGANTraining, plan["training"])
        return replace(
            kept,
            steps=job.steps or kept.steps,
            learning_rate=job.learning_rate or kept.learning_rate,
            accumulate=job.accumulate,
        )
    device = parts.codebook.counts.device
    training = _numbers(job, job.steps or 10_000, device)
    if not timed:
        return training
    steps = max(20, int(60 * (job.minutes or 0) / _pace(parts, pictures, training)))
    note(f"{counted(job.minutes, 'minute is', 'minutes are', form='g')} about {steps} steps here")
    return _numbers(job, steps, device)


def _numbers(job: VQGANJob, steps: int, device: torch.device) -> VQGANTraining:
    fresh = job.origin is None
    return VQGANTraining(
        steps=steps,
        batch=job.batch,
        learning_rate=job.learning_rate or (1e-3 if fresh else 2e-4),
        warmup=max(1, min(50, steps // 20)),
        quantize_from=min(250, steps // 8) if fresh else -1,
        kmeans=10,
        edges=0.0,
        perception=1.0 if job.perception == "lpips" else 0.3,
        adversary_from=job.adversary_from if job.adversary else 1.1,
        adversary_weight=job.adversary,
        adversary_ramp=max(1, min(300, steps // 10)),
        adaptive=True,
        average=min(0.999, 1 - 20 / max(40, steps)),
        accumulate=job.accumulate,
        dtype="bfloat16" if choose_dtype(device, job.dtype) is torch.bfloat16 else "float32",
        seed=job.seed,
    )


def _pace(parts: VQGANParts, pictures: Pictures, training: VQGANTraining) -> float:
    """Seconds per step, on copies: the mean of steps without the adversary and with it."""
    probe = copy.deepcopy(parts)
    seconds = []
    for adversary_from in (1.1, 0.0):
        short = replace(training, steps=PROBED, quantize_from=-1, adversary_from=adversary_from)
        started = 0.0
        for event in train_vqgan(probe, pictures, short):
            started = started or time.monotonic()
            if event.is_last:
                seconds.append((time.monotonic() - started) / (PROBED - 1))
    return float(parts.team.mean(torch.tensor(sum(seconds) / 2, device=parts.codebook.counts.device)))


@torch.no_grad()
def _look(parts: VQGANParts, images: Tensor) -> list[tuple[str, Tensor]]:
    """Pictures, and what the averaged model makes of them, with the numbers that say how well."""
    device = parts.codebook.counts.device
    vectors, codes = parts.averaged.tokenize(images.to(device, memory_format=torch.channels_last))
    decoded = parts.averaged.decode(vectors).float().clamp(0, 1).cpu()
    psnr = -10 * float((decoded - images).square().mean().clamp_min(1e-9).log10())
    used = f"{counted(len(codes.unique()), 'code')} of {parts.averaged.config.codes}"
    said = f"as the model gives them back: {psnr:.1f} dB, {used}"
    return [("pictures", images), (said, decoded)]


def _nothing(text: str) -> None:
    pass
