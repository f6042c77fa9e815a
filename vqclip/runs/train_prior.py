"""Trains a prior on captioned pictures of one's own: from words to the first latent of a VQGAN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqclip.configs import PriorConfig
from vqclip.errors import ModelError, PictureError, UsageError
from vqclip.events import TrainStep
from vqclip.models.prior import Prior
from vqclip.models.vqgan import VQGAN
from vqclip.runs.device import usable_device
from vqclip.runs.recipe import plain_name
from vqclip.runs.train_clip import alone
from vqclip.runs.training import (
    Halt,
    Note,
    Outcome,
    Place,
    drive,
    make_job,
    make_recipe,
    usual_sinks,
)
from vqclip.sinks.checkpoints import Checkpoint
from vqclip.sinks.comparison import Sheet
from vqclip.sinks.play import StopFlag
from vqclip.store.folder import digest, locate
from vqclip.store.openclip import load_clip
from vqclip.store.perceptor import ClipPerceptor
from vqclip.store.priors import save_prior
from vqclip.store.vqgans import load_vqgan
from vqclip.train.captioned import CaptionedGallery
from vqclip.train.prior import PriorParts, PriorTraining, Sketches, fit_scale, picture_codes, train_prior
from vqclip.train.shelf import find_captioned
from vqclip.train.team import Team

FREE = frozenset({"steps", "minutes", "learning_rate", "save_every"})
SHOWN = 6
MOST_CAPTIONS = 8
CHUNK = 16


@dataclass(frozen=True)
class PriorJob:
    """What can be said of a prior's training.

    size: of the pictures, in pixels; fine: it also learns to refine pictures of twice that size; channels: of each
    level.
    """

    vqgan: str = "starter"
    clip: str = "starter"
    steps: int = 4000
    minutes: float | None = None
    batch: int = 64
    size: int = 128
    fine: bool = False
    channels: tuple[int, ...] = (64, 96, 112)
    learning_rate: float = 2e-3
    save_every: int = 250
    seed: int = 0

    def training(self) -> PriorTraining:
        """The numbers of the training."""
        return PriorTraining(
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            warmup=max(1, min(200, self.steps // 10)),
            average=min(0.999, 1 - 20 / max(40, self.steps)),
            seed=self.seed,
        )


def train_own_prior(
    source: Path, out: Path, said: Mapping[str, Any], *, device: str, stop: StopFlag, note: Note
) -> Outcome:
    """Trains a prior on the captioned pictures of `source`, for one VQGAN and one CLIP, and writes it to `out`.

    said holds the fields of `PriorJob` that were said.
    Raises: UsageError, ModelError, PictureError, OutputError.
    """
    alone("prior")
    items, place = find_captioned(source, note), Place(out)
    place.prepare()
    plan = place.kept_plan("prior")
    job = make_job(PriorJob, place.settle(said, plan, FREE))
    training = job.training()
    if plan is not None:
        kept = make_job(PriorTraining, plan["training"])
        training = replace(kept, steps=job.steps, learning_rate=job.learning_rate)
    where = usable_device(device)
    vqgan, clip = load_vqgan(job.vqgan, device=where), load_clip(job.clip, device=where)
    _check(job, vqgan)
    data = CaptionedGallery(items, size=job.size, note=note)
    sketches = sketch(data, vqgan, clip)
    larger = CaptionedGallery(items, size=2 * job.size, note=lambda _: None) if job.fine else None
    fine = replace(sketches, codes=_codes(larger, vqgan, CHUNK // 4)) if larger is not None else None
    if fine is not None and len(fine.codes) != len(sketches.codes):
        raise PictureError("the pictures changed while they were read", hint="start again")
    parts = _build(job, sketches, where)
    place.keep_plan("prior", job, training)
    checkpoint = Checkpoint(place.checkpoint, parts.state, every=job.save_every)

    def loop(start: int) -> Iterator[TrainStep]:
        return train_prior(parts, sketches, training, fine=fine, start=start)

    sinks = usual_sinks(place, "prior", job.save_every, note)
    sheet = Sheet(
        place.folder / "sheet.png", lambda: _look(parts.averaged, sketches, vqgan), every=job.save_every, on_note=note
    )
    done, last = drive(parts, loop, checkpoint, *sinks, sheet, stop=Halt(stop, Team(), said.get("minutes")))
    path = place.out if done else None
    if done and (last is not None or not place.out.exists()):
        models = {plain_name(name): digest(locate(name, kind)) for name, kind in ((job.vqgan, "vqgan"),)}
        models[f"clip:{plain_name(job.clip)}"] = clip.digest
        recipe = make_recipe(training, done, last, pictures=len(data), size=job.size, models=models)
        path = save_prior(parts.averaged, place.out, recipe)
    return Outcome(path, done, training.steps, dict(last.losses) if last else {}, stop.exit_code)


@torch.no_grad()
def sketch(data: CaptionedGallery, vqgan: VQGAN, clip: ClipPerceptor) -> Sketches:
    """What a prior learns from: the codes of all pictures and the embeddings of their captions.

    A picture with fewer captions than the one with the most has them repeated.
    """
    codes = _codes(data, vqgan)
    most = min(MOST_CAPTIONS, max(len(said) for said in data.captions))
    texts = [said[n % len(said)] for said in data.captions for n in range(most)]
    rows = [clip.embed_text(texts[n : n + 256]).cpu() for n in range(0, len(texts), 256)]
    return Sketches(codes, torch.cat(rows).view(len(data), most, -1), vqgan.codebook.detach().cpu().clone())


@torch.no_grad()
def _codes(data: CaptionedGallery, vqgan: VQGAN, chunk: int = CHUNK) -> Tensor:
    device = vqgan.codebook.device
    parts = torch.arange(len(data)).split(chunk)
    return torch.cat([picture_codes(vqgan, data.pictures(part.numpy()).to(device)).cpu() for part in parts])


def _check(job: PriorJob, vqgan: VQGAN) -> None:
    if not vqgan.can_encode:
        raise ModelError(f"{plain_name(job.vqgan)} has no encoder, so it cannot read the pictures")
    halvings = 2 ** (len(job.channels) - 1)
    if job.size % (vqgan.stride * halvings):
        raise UsageError(f"--size {job.size}: this model needs a multiple of {vqgan.stride * halvings}")


def _build(job: PriorJob, sketches: Sketches, device: torch.device) -> PriorParts:
    config = PriorConfig(
        latent_channels=sketches.codebook.shape[1],
        grid=sketches.codes.shape[1],
        fine_grid=2 * sketches.codes.shape[1] if job.fine else 0,
        text_channels=sketches.texts.shape[2],
        channels=job.channels,
    )
    torch.manual_seed(job.seed)
    model = Prior(config)
    fit_scale(model, sketches.latents(torch.arange(min(1024, len(sketches.codes)))))
    return PriorParts(model.to(device, memory_format=torch.channels_last))


@torch.no_grad()
def _look(prior: Prior, sketches: Sketches, vqgan: VQGAN) -> list[tuple[str, Tensor]]:
    """Some pictures as the VQGAN knows them, and what the prior sketches from the words of the same pictures."""
    device = vqgan.codebook.device
    some = torch.arange(min(SHOWN, len(sketches.codes)))
    latents = sketches.latents(some).to(device)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(device)
    drawn = prior.sample(sketches.texts[some, 0].to(device), noise)
    return [
        ("pictures", vqgan.decode(latents).clamp(0, 1).cpu()),
        ("sketched from their words", vqgan.decode(vqgan.quantize(drawn)[0]).clamp(0, 1).cpu()),
    ]
