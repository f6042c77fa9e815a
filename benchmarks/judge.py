"""A judge network for the starter's pictures: it counts faster than people, and is trained to be hard to fool.

    python benchmarks/judge.py train work/judge.pt
    python benchmarks/judge.py score work/judge.pt benchmarks/prompts100.csv pictures/

It shares nothing with the CLIP that paints but the renderer: other scenes (another seed), another architecture, plain
classification. It learns from views that are blurred, shrunk, noisy, perturbed along its own loss and passed through
the VQGAN, and from pictures whose tiles were shuffled, which hold all the texture and must be called no subject at all.
A picture of the folder is judged if its name is its prompt's number, as `sheet.py --each` writes them.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from score import MOODS
from torch import Tensor, nn

from vqclip.models.vqgan import VQGAN
from vqclip.starter.scenes import render
from vqclip.starter.world import SUBJECTS, Scene
from vqclip.store.vqgans import load_vqgan
from vqclip.train.scenes import scene_of
from vqclip.train.truth import ATTRIBUTES
from vqclip.train.views import random_views

SEED, SIDE, SCENE_SIDE, TILES = 4242, 96, 128, 4
HEADS: Mapping[str, tuple[str, ...]] = {
    "subject": (*SUBJECTS, ""),
    **{name: ATTRIBUTES[name] for name in MOODS},
}


class Block(nn.Module):
    """A residual block that halves the side, blurring before it does."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, 1, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norm1, self.norm2 = nn.GroupNorm(8, outputs), nn.GroupNorm(8, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, h, w] -> [B, C', h / 2, w / 2]."""
        hidden = F.silu(self.norm1(self.conv1(x)))
        return F.avg_pool2d(F.silu(self.norm2(self.conv2(hidden))) + self.skip(x), 3, 2, 1)


class Judge(nn.Module):
    """Pictures [B, 3, 96, 96] in about [0, 1] -> logits [B, classes] of each of HEADS."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 192)) -> None:
        super().__init__()
        self.body = nn.Sequential(*(Block(i, o) for i, o in zip((12, *widths), widths, strict=False)))
        self.heads = nn.ModuleDict({name: nn.Linear(widths[-1], len(values)) for name, values in HEADS.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The logits by head."""
        features = self.body(F.pixel_unshuffle(images * 2 - 1, 2)).amax((2, 3))
        return {name: head(features) for name, head in self.heads.items()}


def label(scene: Scene, name: str, rng: np.random.Generator) -> int:
    """The class of a head; of two subjects, either."""
    value = getattr(scene, name)
    if name == "subject" and scene.other and rng.random() < 0.5:
        value = scene.other
    return HEADS[name].index(value)


def shuffled(images: Tensor, rng: torch.Generator) -> Tensor:
    """The same pictures with their tiles in another order: all of the texture, none of the shape."""
    count, side = len(images), images.shape[-1] // TILES
    tiles = images.unfold(2, side, side).unfold(3, side, side).reshape(count, 3, TILES * TILES, side, side)
    mixed = torch.stack([one[:, torch.randperm(TILES * TILES, generator=rng)] for one in tiles])
    grid = mixed.view(count, 3, TILES, TILES, side, side).permute(0, 1, 2, 4, 3, 5)
    return grid.reshape(images.shape)


def shrunk_some(images: Tensor, rng: torch.Generator) -> Tensor:
    """A third of the pictures made 2 to 4 times smaller and large again."""
    small = F.interpolate(images, scale_factor=1 / float(2 + 2 * torch.rand((), generator=rng)), mode="area")
    back = F.interpolate(small, images.shape[2:], mode="bicubic")
    return torch.where(torch.rand(len(images), 1, 1, 1, generator=rng) < 1 / 3, back, images)


def through(vqgan: VQGAN, images: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] as the VQGAN gives them back, uint8."""
    given = []
    for some in images.split(4):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            given.append(vqgan.decode(vqgan.quantize(vqgan.encode(some.float() / 255))[0]).float().clamp(0, 1))
    return (torch.cat(given) * 255).round().byte()


def train(out: Path, *, scenes: int, steps: int, batch: int) -> None:
    """Renders its own scenes, learns to name what they show, and saves its weights."""
    made = [scene_of(SEED, i) for i in range(scenes)]
    images = np.stack([render(scene, SCENE_SIDE, rng) for scene, _, rng in made])
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    pictures[: scenes // 5] = through(load_vqgan("starter"), pictures[: scenes // 5])
    torch.manual_seed(SEED)
    judge = Judge().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.05)
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=2 * steps)
    for step in range(steps):
        chooser, rng = np.random.default_rng([SEED, step]), torch.Generator().manual_seed(step)
        chosen = chooser.integers(0, scenes, batch)
        seen = pictures[chosen].float() / 255
        wanted = {name: torch.tensor([label(made[i][0], name, chooser) for i in chosen]) for name in HEADS}
        mixed = batch // 8
        seen[:mixed] = shuffled(seen[:mixed], rng)
        wanted["subject"][:mixed] = len(SUBJECTS)
        views = shrunk_some(random_views(seen, SIDE, rng=rng), rng).contiguous(memory_format=torch.channels_last)
        for _ in range(2):  # the second time perturbed along its own loss
            views.requires_grad_(True)
            with torch.autocast("cpu", torch.bfloat16):
                logits = judge(views)
            loss = sum(F.cross_entropy(logits[name].float(), wanted[name]) for name in HEADS)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            course.step()
            views = views.detach() + 0.02 * views.grad.sign()
        if step % 50 == 0 or step + 1 == steps:
            print(step, round(float(loss), 3), flush=True)
            torch.save(judge.state_dict(), out)


def load_judge(weights: Path) -> Judge:
    """A judge that was trained."""
    judge = Judge().eval()
    judge.load_state_dict(torch.load(weights, weights_only=True))
    return judge


def likely(judge: Judge, picture: Image.Image) -> dict[str, dict[str, float]]:
    """What share the judge gives to each value of each head, meant over 16 views of a picture."""
    image = torch.from_numpy(np.asarray(picture.convert("RGB"))).permute(2, 0, 1)[None].float() / 255
    rng = torch.Generator().manual_seed(0)
    views = torch.cat([random_views(image, SIDE, rng=rng, smallest=0.75, noise=0.05) for _ in range(16)])
    with torch.no_grad():
        logits = judge(views)
    shares = {name: part.softmax(1).mean(0).tolist() for name, part in logits.items()}
    return {name: dict(zip(HEADS[name], values, strict=True)) for name, values in shares.items()}


def score(weights: Path, prompts: Path, folder: Path) -> dict[str, object]:
    """Counts, for the pictures of a folder, the right subjects and moods, and those with all of them right."""
    judge = load_judge(weights)
    rows = list(csv.DictReader(prompts.read_text(encoding="utf-8").splitlines()))
    pictures = sorted(path for path in folder.glob("*.png") if path.stem.isdigit())
    right, moods, named, lines = 0, 0, 0, []
    for path in pictures:
        row, said = rows[int(path.stem) - 1], likely(judge, Image.open(path))
        said = {name: max(shares, key=shares.__getitem__) for name, shares in said.items()}
        subject = said["subject"] in (row["subject"], row["other"]) and said["subject"] != ""
        hits = [said[mood] == row[mood] for mood in MOODS if row[mood]]
        right, moods, named = right + subject, moods + sum(hits), named + len(hits)
        lines.append(f"{path.stem} {row['prompt']}: {said}")
    return {"pictures": len(pictures), "subjects": right, "moods": moods, "moods_named": named, "said": lines}


def main() -> None:
    """Trains a judge, or asks it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    training = kinds.add_parser("train")
    training.add_argument("out", type=Path)
    training.add_argument("--scenes", type=int, default=10000)
    training.add_argument("--steps", type=int, default=1500)
    training.add_argument("--batch", type=int, default=64)
    asking = kinds.add_parser("score")
    for name in ("weights", "prompts", "folder"):
        asking.add_argument(name, type=Path)
    asked = parser.parse_args()
    if asked.kind == "train":
        train(asked.out, scenes=asked.scenes, steps=asked.steps, batch=asked.batch)
    else:
        print(json.dumps(score(asked.weights, asked.prompts, asked.folder), indent=1))


if __name__ == "__main__":
    main()
