"""Trains a small CLIP on captioned pictures of one's own: settings and files in, one model file out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vqclip.errors import UsageError
from vqclip.events import TrainStep
from vqclip.runs.device import usable_device
from vqclip.runs.training import (
    Halt,
    Note,
    Outcome,
    Place,
    drive,
    make_job,
    make_recipe,
    processes,
    usual_sinks,
)
from vqclip.sinks.checkpoints import Checkpoint
from vqclip.sinks.play import StopFlag
from vqclip.store.clipfile import VOCABULARY
from vqclip.store.openclip import build_clip, make_tokenizer, write_clip
from vqclip.train.captioned import CaptionedGallery
from vqclip.train.clip import ClipParts, ClipTraining, settle_clip, train_clip
from vqclip.train.shelf import find_captioned
from vqclip.train.team import Team
from vqclip.train.vocabulary import Vocabulary

FREE = frozenset({"steps", "minutes", "learning_rate", "save_every"})
CONTEXT = 32
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


@dataclass(frozen=True)
class ClipJob:
    """What can be said of a CLIP training. side: of the squares it looks at; epsilon: how far pixels are perturbed."""

    steps: int = 4000
    minutes: float | None = None
    batch: int = 64
    side: int = 64
    width: int = 24
    embedding: int = 128
    views: int = 1
    epsilon: float = 0.02
    learning_rate: float = 1.5e-3
    save_every: int = 250
    seed: int = 0

    def check(self) -> ClipJob:
        """Checks what no single flag can. Raises: UsageError."""
        if self.side % 32:
            raise UsageError(f"--side {self.side}: give a multiple of 32")
        if self.width % 8:
            raise UsageError(f"--width {self.width}: give a multiple of 8")
        return self

    def config(self) -> dict[str, Any]:
        """The shape of the model, as open_clip names it."""
        return {
            "embed_dim": self.embedding,
            "vision_cfg": {"image_size": self.side, "layers": [1, 2, 2, 1], "width": self.width, "head_width": 64},
            "text_cfg": {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 128, "heads": 4, "layers": 2},
        }

    def training(self) -> ClipTraining:
        """The numbers of the training."""
        return ClipTraining(
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            warmup=max(1, min(300, self.steps // 10)),
            epsilon=self.epsilon,
            head_weight=0.0,
            average=min(0.998, 1 - 20 / max(40, self.steps)),
            views=self.views,
            seed=self.seed,
        )


def train_own_clip(
    source: Path, out: Path, said: Mapping[str, Any], *, device: str, stop: StopFlag, note: Note
) -> Outcome:
    """Trains a CLIP on the captioned pictures of `source` and writes it to `out`; goes on where it stopped.

    said holds the fields of `ClipJob` that were said.
    Raises: UsageError, PictureError, OutputError.
    """
    alone("clip")
    items, place = find_captioned(source, note), Place(out)
    place.prepare()
    plan = place.kept_plan("clip")
    job = make_job(ClipJob, place.settle(said, plan, FREE)).check()
    training = job.training()
    if plan is not None:
        kept = make_job(ClipTraining, plan["training"])
        training = replace(kept, steps=job.steps, learning_rate=job.learning_rate)
    data = CaptionedGallery(items, size=2 * job.side, note=note)
    parts = _build(job, data, usable_device(device))
    place.keep_plan("clip", job, training)
    checkpoint = Checkpoint(place.checkpoint, parts.state, every=job.save_every)

    def loop(start: int) -> Iterator[TrainStep]:
        return train_clip(parts, data, training, start=start)

    sinks = usual_sinks(place, "clip", job.save_every, note)
    done, last = drive(parts, loop, checkpoint, *sinks, stop=Halt(stop, Team(), said.get("minutes")))
    path = place.out if done else None
    if done and (last is not None or not place.out.exists()):
        settle_clip(parts.averaged, data, job.side, batch=job.batch)
        path = _publish(place, job, parts, data, make_recipe(training, done, last, pictures=len(data)))
    return Outcome(path, done, training.steps, dict(last.losses) if last else {}, stop.exit_code)


def alone(kind: str) -> None:
    """Refuses to be one of several processes. Raises: UsageError."""
    if processes() > 1:
        raise UsageError(f"train {kind} does not share its work between processes", hint="start it without torchrun")


def _build(job: ClipJob, data: CaptionedGallery, device: torch.device) -> ClipParts:
    tokenize = make_tokenizer(CONTEXT)
    captions = sorted({caption for each in data.captions for caption in each})
    vocabulary = Vocabulary.of_words(captions, tokenize)
    config = job.config()
    torch.manual_seed(job.seed)
    model = build_clip({**config, "text_cfg": {**config["text_cfg"], "vocab_size": len(vocabulary)}})
    return ClipParts(model.to(device, memory_format=torch.channels_last), vocabulary, tokenize, attributes={})


def _publish(place: Place, job: ClipJob, parts: ClipParts, data: CaptionedGallery, recipe: dict[str, Any]) -> Path:
    words = {word for each in data.captions for caption in each for word in _WORD.findall(caption.casefold())}
    return write_clip(
        place.out,
        parts.averaged.state_dict(),
        job.config(),
        ids=parts.vocabulary.ids,
        words=sorted(words),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        recipe=recipe,
    )
