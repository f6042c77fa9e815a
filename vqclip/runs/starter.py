"""Makes the starter from nothing but seeds: scenes, CLIP, VQGAN, prior, CLIP against painted pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.configs import PriorConfig, VQGANConfig
from vqclip.errors import UsageError
from vqclip.events import TrainStep
from vqclip.models.perceptual import TowerDistance, resnet_stages
from vqclip.models.prior import Prior
from vqclip.models.vqgan import VQGAN
from vqclip.runs.training import drive
from vqclip.sinks.checkpoints import Checkpoint, last_checkpoint
from vqclip.sinks.play import Interrupted, Sink, StopFlag
from vqclip.starter.captions import words
from vqclip.store.openclip import build_clip, make_tokenizer, write_clip
from vqclip.store.priors import save_prior
from vqclip.store.vqgans import build_vqgan, save_vqgan
from vqclip.train.adversarial import AdversarialParts, AdversarialTraining, train_against_painted
from vqclip.train.clip import ClipParts, ClipTraining, settle_clip, train_clip
from vqclip.train.prior import PriorParts, PriorTraining, Sketches, fit_scale, picture_codes, train_prior
from vqclip.train.scenes import TRAINING_SEED, SceneSet, load_scenes, render_scenes
from vqclip.train.starts import mixed_starts, sketched_starts
from vqclip.train.vocabulary import Vocabulary
from vqclip.train.vqgan import VQGANParts, VQGANTraining, train_vqgan

CONTEXT = 32
VOCABULARY = 49408
CLIP_CONFIG: Mapping[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 24, "head_width": 64},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 128, "heads": 4, "layers": 2},
}
VQGAN_CONFIG = VQGANConfig(
    channels=32,
    multipliers=(2, 2, 3, 3),
    blocks=1,
    attention_levels=(),
    latent_channels=16,
    embedding_channels=16,
    codes=4096,
)
PRIOR_CONFIG = PriorConfig(latent_channels=16, grid=16, fine_grid=32, text_channels=128, channels=(64, 96, 112))
SMALL_SIDE, LARGE_SIDE = 128, 256
CROPS = (64, 128)
"""The sides of the crops that the VQGAN learns from, in turn; of the large ones there are fewer, of the same area."""


@dataclass(frozen=True)
class StarterTraining:
    """How long each stage is, and what it learns from: `shards` x `shard` scenes at 128 px, then `large` at 256 px.

    The prior learns from the first `sketched` of the scenes, and from all large ones.
    """

    shards: int = 2
    shard: int = 12000
    large: int = 8400
    sketched: int = 24000
    clip: ClipTraining = field(default_factory=lambda: ClipTraining(steps=2500))
    vqgan: VQGANTraining = field(
        default_factory=lambda: VQGANTraining(steps=8100, squares=2.0, edges=0.25, perception=0.2, average=0.995)
    )
    painted: AdversarialTraining = field(default_factory=lambda: AdversarialTraining(steps=1700))
    prior: PriorTraining = field(default_factory=lambda: PriorTraining(steps=14000, learning_rate=2e-3, average=0.997))


class StarterRun:
    """The stages of a starter training in one folder; each goes on from its last checkpoint."""

    def __init__(self, folder: Path, training: StarterTraining, *, stop: StopFlag | None = None) -> None:
        self.folder = folder
        self.training = training
        self.stop = stop

    def scenes(self) -> SceneSet:
        """Renders what is missing, and reads the scenes [N, 128, 128, 3]."""
        paths = [self.folder / f"s{SMALL_SIDE}-{shard}.npy" for shard in range(self.training.shards)]
        count = self.training.shard
        for number, path in enumerate(paths):
            if not path.exists():
                self._render(path, count, SMALL_SIDE, number * count)
        return load_scenes(paths, seed=TRAINING_SEED)

    def _large_scenes(self) -> SceneSet:
        """The scenes [N, 256, 256, 3] that come after the others, rendered where they are missing."""
        path, after = self.folder / f"s{LARGE_SIDE}-0.npy", self.training.shards * self.training.shard
        if not path.exists() or len(np.load(path, mmap_mode="r")) < self.training.large:
            self._render(path, self.training.large, LARGE_SIDE, after)
        return load_scenes([path], seed=TRAINING_SEED, start=after)

    def train_clip(self, *sinks: Sink) -> None:
        """The first stage: a CLIP that tells scenes apart."""
        parts, data = self.clip_parts(), self.scenes()
        self._drive("clip", parts, lambda start: train_clip(parts, data, self.training.clip, start=start), sinks)

    def train_vqgan(self, *sinks: Sink) -> None:
        """The second stage: a VQGAN, judged by the CLIP's early layers too."""
        clip = self.clip_parts()
        clip.load(self._finished("clip"))
        self._settle(clip.averaged)
        distance = TowerDistance(resnet_stages(clip.averaged.visual))
        parts = VQGANParts(self._fresh_vqgan(), distance)
        crops = self._crops()
        self._drive("vqgan", parts, lambda start: train_vqgan(parts, crops, self.training.vqgan, start=start), sinks)

    def train_prior(self, *sinks: Sink) -> None:
        """The third stage: the prior, on the VQGAN's codes and the CLIP's text embeddings."""
        sketches = self._sketches(self.scenes(), self.training.sketched)
        fine = self._sketches(self._large_scenes(), self.training.large)
        model = Prior(PRIOR_CONFIG).to(memory_format=torch.channels_last)
        fit_scale(model, sketches.latents(torch.arange(0, len(sketches.codes), 16)))
        parts = PriorParts(model)
        training = self.training.prior
        self._drive("prior", parts, lambda start: train_prior(parts, sketches, training, fine=fine, start=start), sinks)

    def train_against_painted(self, *sinks: Sink) -> None:
        """The fourth stage: the CLIP's picture tower learns what painted pictures and sketches lack."""
        clip = self.clip_parts()
        clip.load(self._finished("clip"))
        clip.model.load_state_dict(clip.averaged.state_dict())
        self._settle(clip.model)
        vqgan, data, training = self.vqgan().cast(torch.bfloat16), self.scenes(), self.training.painted
        first = [texts[0] for texts in data.captions[: training.decoded]]
        starts = sketched_starts(mixed_starts(vqgan, data), self.prior(), embed_texts(clip, first), seed=training.seed)
        parts = AdversarialParts(clip, vqgan, starts)
        self._drive(
            "painted", parts, lambda start: train_against_painted(parts, data, training, start=start), sinks, every=20
        )

    def pack(self, folder: Path) -> list[Path]:
        """Writes the three files that the package ships, in half precision. Raises: UsageError for half a stage."""
        painted = ("painted",) if (self.folder / "painted.state").exists() else ()
        done = {name: self._finished(name) for name in ("clip", "vqgan", "prior", *painted)}
        recipe = {"training": asdict(self.training), "seed": TRAINING_SEED}
        clip = self.clip_parts()
        clip.load(done["clip"])
        if painted:
            clip.averaged.load_state_dict(done["painted"]["averaged"])
        else:
            self._settle(clip.averaged)
        known = sorted({word for group in words().values() for word in group})
        files = [
            write_clip(
                folder / "clip.safetensors",
                clip.averaged.state_dict(),
                CLIP_CONFIG,
                ids=clip.vocabulary.ids,
                words=known,
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
                recipe=recipe,
            ),
            save_vqgan(self.vqgan(), folder / "vqgan.safetensors", recipe, dtype=torch.float16),
        ]
        return [*files, save_prior(self.prior(), folder / "prior.safetensors", recipe, dtype=torch.float16)]

    def vqgan(self) -> VQGAN:
        """The trained VQGAN, ready to paint with."""
        weights = self._finished("vqgan")["averaged"]
        model = build_vqgan(VQGAN_CONFIG, weights, "the starter's VQGAN")
        return model.fuse().to(memory_format=torch.channels_last)

    def prior(self) -> Prior:
        """The trained prior, ready to sketch."""
        prior = Prior(PRIOR_CONFIG)
        prior.load_state_dict(self._finished("prior")["averaged"])
        return prior.eval().requires_grad_(False)

    def _drive(
        self, name: str, parts: Any, loop: Callable[[int], Iterable[TrainStep]], sinks: Sequence[Sink], every: int = 200
    ) -> None:
        checkpoint = Checkpoint(self.folder / f"{name}.state", parts.state, every=every)
        drive(parts, loop, checkpoint, *sinks, stop=self.stop)

    def _render(self, path: Path, count: int, side: int, start: int) -> None:
        """Renders a file of scenes. Raises: Interrupted if a signal came meanwhile, for no stage can go on then."""
        stop = self.stop
        if not render_scenes(count, side, seed=TRAINING_SEED, path=path, start=start, stop=lambda: bool(stop)):
            assert stop is not None and stop.signal is not None
            raise Interrupted(stop.signal)

    def _finished(self, name: str) -> dict[str, Any]:
        kept = last_checkpoint(self.folder / f"{name}.state")
        if kept is None:
            raise UsageError(
                f"the stage {name!r} has not been trained in {self.folder}", hint="stages build on each other"
            )
        done, wanted = kept[0], getattr(self.training, name).steps
        if done < wanted:
            raise UsageError(
                f"the stage {name!r} in {self.folder} is not finished: {done} of {wanted} steps",
                hint=f"go on with --stage {name}, or take what there is with a smaller --share",
            )
        return kept[1]

    def clip_parts(self) -> ClipParts:
        """A CLIP with fresh weights over the starter's own words, and what its training needs."""
        tokenize = make_tokenizer(CONTEXT)
        known = sorted({word for group in words().values() for word in group})
        vocabulary = Vocabulary.of_words([*known, ", "], tokenize)
        text = {**CLIP_CONFIG["text_cfg"], "vocab_size": len(vocabulary)}
        torch.manual_seed(self.training.clip.seed)
        model = build_clip({**CLIP_CONFIG, "text_cfg": text}).to(memory_format=torch.channels_last)
        return ClipParts(model, vocabulary, tokenize)

    def _fresh_vqgan(self) -> VQGAN:
        torch.manual_seed(self.training.vqgan.seed)
        return VQGAN(VQGAN_CONFIG).to(memory_format=torch.channels_last)

    def _settle(self, model: nn.Module) -> None:
        settle_clip(model, self.scenes(), CLIP_CONFIG["vision_cfg"]["image_size"])

    def _crops(self) -> Callable[[int], Tensor]:
        """Batches of crops by step, three in four from scenes at 128 px and one from a scene at 256 px."""
        large = self._large_scenes().images
        self.scenes()
        small = np.load(self.folder / f"s{SMALL_SIDE}-0.npy", mmap_mode="r")
        sources = [small, small, small, large]
        training = self.training.vqgan

        def crops(step: int) -> Tensor:
            rng, side = np.random.default_rng([training.seed, step]), CROPS[step % len(CROPS)]
            count = max(1, training.batch * CROPS[0] ** 2 // side**2)
            taken = [_crop(sources[k % len(sources)], side, rng) for k in range(count)]
            return torch.from_numpy(np.stack(taken)).permute(0, 3, 1, 2).float() / 255

        return crops

    @torch.no_grad()
    def _sketches(self, data: SceneSet, count: int) -> Sketches:
        """The codes of so many scenes and the embeddings of all their captions, made once and kept in memory."""
        vqgan, clip = self.vqgan().cast(torch.bfloat16), self.clip_parts()
        clip.load(self._finished("clip"))
        count = min(count, len(data))
        batches = np.array_split(np.arange(count), max(1, count // 4))  # larger ones wait for memory
        codes = torch.cat([picture_codes(vqgan, data.pictures(batch)) for batch in batches])
        flat = [text for texts in data.captions[:count] for text in texts]
        texts = embed_texts(clip, flat)
        return Sketches(codes, texts.view(count, -1, texts.shape[1]), vqgan.codebook.detach().clone())


@torch.no_grad()
def embed_texts(clip: ClipParts, texts: Sequence[str]) -> Tensor:
    """The averaged CLIP's embeddings [N, D] of captions, of length one."""
    rows = [clip.averaged.encode_text(clip.text_rows(texts[i : i + 512])) for i in range(0, len(texts), 512)]
    return F.normalize(torch.cat(rows).float(), dim=-1)


def shorter(training: StarterTraining, share: float) -> StarterTraining:
    """The same training with every stage cut to a share of its steps: to try it out."""
    stages = {name: getattr(training, name) for name in ("clip", "vqgan", "painted", "prior")}
    cut = {name: replace(stage, steps=max(1, round(stage.steps * share))) for name, stage in stages.items()}
    return replace(training, **cut)


def _crop(images: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    image = images[rng.integers(len(images))]
    y, x = rng.integers(0, image.shape[0] - side + 1, 2)
    cut = image[y : y + side, x : x + side]
    return cut[:, ::-1] if rng.random() < 0.5 else cut
