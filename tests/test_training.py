"""The trainings: they learn, they go on exactly where they stopped, and together they make a starter that paints."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import vqclip
from vqclip.configs import PriorConfig, VQGANConfig
from vqclip.errors import UsageError
from vqclip.models.prior import Prior
from vqclip.models.vqgan import VQGAN
from vqclip.runs import starter as room
from vqclip.runs.adopt import adopt_shipped
from vqclip.runs.starter import StarterRun, StarterTraining
from vqclip.sinks.checkpoints import Checkpoint, last_checkpoint
from vqclip.sinks.play import Interrupted, StopFlag, play
from vqclip.starter.captions import words
from vqclip.starter.world import SUBJECTS, Scene
from vqclip.store import starter as home
from vqclip.train.adversarial import AdversarialTraining
from vqclip.train.clip import ClipTraining, contrastive
from vqclip.train.codebook import LiveCodebook
from vqclip.train.prior import PriorParts, PriorTraining, Sketches, train_prior
from vqclip.train.scenes import render_scenes, scene_of
from vqclip.train.truth import (
    ATTRIBUTES,
    UNDECIDED,
    attribute,
    false_caption,
    labels_of,
    named,
    telling_words,
    truth_table,
)
from vqclip.train.views import random_views
from vqclip.train.vocabulary import Vocabulary
from vqclip.train.vqgan import VQGANParts, VQGANTraining, train_vqgan

TINY_VQGAN = VQGANConfig(
    channels=64, multipliers=(1, 1), blocks=1, attention_levels=(), latent_channels=8, embedding_channels=8, codes=32
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_codebook_that_nobody_uses_comes_alive_again() -> None:
    codebook = LiveCodebook(F.normalize(torch.full((8, 4), -1.0), dim=1))
    for step in range(400):
        unit = F.normalize(torch.rand(64, 4, generator=generator(step)), dim=1)
        codebook.update(unit, codebook.nearest(unit), generator(step))
    assert codebook.perplexity > 6
    assert torch.allclose(codebook.rows.norm(dim=1), torch.ones(8), atol=1e-5)


def test_a_caption_is_true_of_its_own_picture_and_of_those_that_show_what_it_names() -> None:
    drawn = [scene_of(5, index)[:2] for index in range(60)]
    scenes, captions = [scene for scene, _ in drawn], [texts[0] for _, texts in drawn]
    table = truth_table(scenes, captions)
    assert table.diagonal().all()
    for column, (scene, caption) in enumerate(zip(scenes, captions, strict=True)):
        claims = named(scene, caption)
        assert claims["subject"] == scene.subject
        for row in table[:, column].nonzero().flatten().tolist():
            assert scene.subject in (scenes[row].subject, scenes[row].other)
            shared = claims.keys() - {"subject", "color"}
            assert all(getattr(scenes[row], name) == claims[name] for name in shared)


def test_a_caption_of_two_subjects_is_true_however_it_is_turned() -> None:
    before = Scene("cat", "red", "day", "clear", "plain", "meadow", "house", None, "in front of")
    turned = replace(before, subject="house", color=None, other="cat", other_color="red", relation="behind")
    beside = replace(before, relation="beside")
    alone = replace(before, other=None, relation=None)
    said = ["a red cat in front of a house", "a house behind a red cat", "a red cat beside a house", "a red cat"]
    table = truth_table([before, turned, beside, alone], said)
    assert table.tolist() == [
        [True, True, False, True],
        [True, True, False, True],
        [False, False, True, True],
        [False, False, False, True],
    ]


def test_a_color_is_claimed_of_its_own_subject_only() -> None:
    both = Scene("house", "blue", "day", "clear", "plain", "meadow", "tree", "red", "beside")
    houses = [replace(both, other=None, other_color=None, relation=None, color=color) for color in ("blue", "red")]
    table = truth_table([both, *houses], ["a blue house beside a red tree", "a blue house", "a red house"])
    assert table[0].tolist() == [True, True, False]


def test_a_false_caption_changes_one_thing_and_says_it() -> None:
    rng = np.random.default_rng(3)
    every = {name for group in words().values() for name in group}
    for index in range(300):
        scene = scene_of(5, index)[0]
        said = false_caption(scene, rng)
        assert set(said.replace(",", "").split()) <= every
        spoken = {
            (name, value)
            for name, values in ATTRIBUTES.items()
            for value in values
            if set(said.replace(",", " ").split()) & telling_words().get(value, frozenset())
        }
        true = {(name, attribute(scene, name)) for name in ATTRIBUTES}
        assert spoken - true - {("subject", scene.other), ("color", scene.other_color)}, (scene, said)


def test_a_nearly_true_caption_costs_the_picture_that_it_fits() -> None:
    unit = F.normalize(torch.randn(4, 8, generator=generator(0)), dim=1)
    truth, scale = torch.eye(4, dtype=torch.bool), torch.tensor(10.0)
    plain = contrastive(unit, unit, scale, truth)
    assert contrastive(unit, unit, scale, truth, false=unit) > plain
    assert torch.allclose(contrastive(unit, unit, scale, truth, false=-unit), plain, atol=1e-3)


def test_labels_are_undecided_where_there_are_two_subjects() -> None:
    pair = Scene("cat", "red", "day", "clear", "plain", "meadow", "house", None, "beside")
    labels = labels_of([pair, replace(pair, other=None, relation=None)])
    assert labels["subject"].tolist() == [UNDECIDED, SUBJECTS.index("cat")]
    assert labels["weather"].tolist() == [0, 0]


def test_extra_pictures_that_fit_a_caption_cost() -> None:
    unit = F.normalize(torch.randn(4, 8, generator=generator(0)), dim=1)
    truth, scale = torch.eye(4, dtype=torch.bool), torch.tensor(10.0)
    plain = contrastive(unit, unit, scale, truth)
    assert contrastive(unit, unit, scale, truth, extra=unit) > plain
    assert torch.allclose(contrastive(unit, unit, scale, truth, extra=-unit), plain, atol=1e-3)


def test_the_small_vocabulary_keeps_known_words_apart_and_joins_all_others() -> None:
    vocabulary = Vocabulary([49406, 7, 9, 49407, 0])
    rows = vocabulary.rows(torch.tensor([[49406, 7, 9, 1234, 777, 49407, 0]]))
    assert rows[0, 3] == rows[0, 4] == 1
    assert len({*rows[0].tolist()}) == 6
    assert rows.argmax(1).item() == 5  # the end of the text stays the largest number
    assert len(vocabulary) == len(vocabulary.ids)


def test_views_are_of_the_wanted_size_and_depend_on_their_generator_alone() -> None:
    images = torch.rand(3, 3, 40, 40, generator=generator(1))
    one, again, other = (random_views(images, 16, rng=generator(seed)) for seed in (1, 1, 2))
    assert one.shape == (3, 3, 16, 16)
    assert torch.equal(one, again) and not torch.equal(one, other)


def vqgan_parts() -> VQGANParts:
    torch.manual_seed(0)
    return VQGANParts(VQGAN(TINY_VQGAN), lambda a, b: F.mse_loss(a, b))


def batches(step: int) -> torch.Tensor:
    blocks = torch.rand(4, 1, 2, 2, generator=generator(step)).round()
    return F.interpolate(blocks.expand(4, 3, 2, 2), (16, 16))


def test_a_vqgan_learns_and_goes_on_exactly_where_it_stopped(tmp_path: Path) -> None:
    training = VQGANTraining(steps=40, batch=4, warmup=2, quantize_from=5, adversary_from=0.7)
    whole, first = vqgan_parts(), vqgan_parts()
    losses = [event.losses["l1"] for event in train_vqgan(whole, batches, training)]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])
    stop = StopFlag()

    def stopping(event: object) -> None:
        if event.index == 31:
            stop.set(15)

    path = tmp_path / "vqgan.state"
    play(train_vqgan(first, batches, training), Checkpoint(path, first.state, every=31), stopping, stop=stop)
    done, state = last_checkpoint(path)
    assert done == 31
    second = vqgan_parts()
    second.load(state)
    play(train_vqgan(second, batches, training, start=done))
    for ours, theirs in zip(second.averaged.parameters(), whole.averaged.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_prior_learns_which_latent_goes_with_which_words() -> None:
    codebook = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    codes = torch.tensor([0, 1], dtype=torch.int16).view(2, 1, 1).expand(2, 8, 8)
    texts = torch.eye(4)[:2].view(2, 1, 4)
    torch.manual_seed(0)
    config = PriorConfig(latent_channels=2, grid=8, text_channels=4, channels=(16, 16), attention_levels=(1,))
    parts = PriorParts(Prior(config))
    training = PriorTraining(steps=150, batch=16, warmup=5, learning_rate=3e-3, average=0.9)
    play(train_prior(parts, Sketches(codes, texts, codebook), training))
    noise = torch.randn(2, 2, 8, 8, generator=generator(3))
    sketched = parts.averaged.sample(texts[:, 0], noise, steps=8, guidance=1.0).mean((2, 3))
    assert sketched.argmax(1).tolist() == [0, 1]


def prior_of_two_sizes() -> tuple[PriorParts, Sketches, Sketches]:
    """A small prior, and what it learns from: the same two pictures at both sizes."""
    codebook, texts = torch.eye(2), torch.eye(4)[:2].view(2, 1, 4)
    torch.manual_seed(0)
    config = PriorConfig(latent_channels=2, grid=4, fine_grid=8, text_channels=4, channels=(16,), attention_levels=(0,))
    codes = torch.arange(2, dtype=torch.int16).view(2, 1, 1)
    sizes = (Sketches(codes.expand(2, side, side), texts, codebook) for side in (4, 8))
    return PriorParts(Prior(config)), *sizes


def test_a_prior_learns_two_sizes_in_turn_and_resumes_exactly() -> None:
    parts, coarse, fine = prior_of_two_sizes()
    training, seen, states = PriorTraining(steps=5, batch=8, warmup=2), [], []
    for event in train_prior(parts, coarse, training, fine=fine):
        seen.append((*event.losses, event.samples))
        states.append(copy.deepcopy(parts.state()))
    assert seen == [("flow", 8), ("fine flow", 10), ("flow", 18), ("fine flow", 20), ("flow", 28)]
    for done in (2, 3):
        again, _, _ = prior_of_two_sizes()
        again.load(states[done - 1])
        rest = list(train_prior(again, coarse, training, fine=fine, start=done))
        assert [(*event.losses, event.samples) for event in rest] == seen[done:]
        for name, weight in again.averaged.state_dict().items():
            assert torch.equal(weight, states[-1]["averaged"][name]), name


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> StarterRun:
    training = StarterTraining(
        shards=1,
        shard=24,
        large=4,
        clip=ClipTraining(steps=2, batch=6, warmup=1),
        vqgan=VQGANTraining(steps=3, batch=2, quantize_from=1, adversary_from=0.5),
        painted=AdversarialTraining(
            steps=2, batch=6, painted=2, slots=3, push=1, cuts=1, decoded=4, oldest=1, kept=3, recalled=1
        ),
        prior=PriorTraining(steps=2, batch=4),
    )
    folder = tmp_path_factory.mktemp("starter")
    run = StarterRun(folder, training)
    for stage in (run.train_clip, run.train_vqgan, run.train_prior, run.train_against_painted):
        stage()
    return run


def test_the_stages_make_a_starter_that_paints(small_run, tmp_path, monkeypatch) -> None:
    files = small_run.pack(tmp_path)
    assert sum(path.stat().st_size for path in files) < 16_000_000
    monkeypatch.setattr(home, "starter_path", lambda part: tmp_path / f"{part}.safetensors")
    monkeypatch.setattr("vqclip.store.folder.starter_path", lambda part: tmp_path / f"{part}.safetensors")
    settings = {"width": 64, "height": 64, "steps": 2, "cutouts": 2, "seed": 1, "device": "cpu"}
    assert vqclip.generate("a castle in fog", **settings).size == (64, 64)


def test_a_finished_stage_is_not_trained_again(small_run) -> None:
    events = []
    small_run.train_clip(events.append)
    assert events == []


@pytest.mark.parametrize("stage", ["clip", "vqgan", "painted", "prior"])
def test_half_a_stage_is_not_packed_unless_a_smaller_share_is_asked_for(small_run, tmp_path, stage) -> None:
    training = small_run.training
    more = replace(training, **{stage: replace(getattr(training, stage), steps=40)})
    with pytest.raises(UsageError, match=f"{stage}.*not finished: . of 40 steps") as caught:
        StarterRun(small_run.folder, more).pack(tmp_path)
    assert "--share" in str(caught.value.hint) and not list(tmp_path.iterdir())


def test_a_signal_ends_the_rendering_of_scenes_and_leaves_no_half_file(tmp_path) -> None:
    stop, seen = StopFlag(), []

    def after_three() -> bool:
        seen.append(len(list(tmp_path.iterdir())))
        if len(seen) == 4:
            stop.set(2)
        return bool(stop)

    path = tmp_path / "s.npy"
    assert not render_scenes(9, 16, seed=1, path=path, stop=after_three)
    assert len(seen) == 4 and not list(tmp_path.iterdir())
    assert render_scenes(2, 16, seed=1, path=path) and path.exists()


def test_a_stage_that_waits_for_scenes_stops_with_the_signals_exit_code(tmp_path) -> None:
    stop = StopFlag()
    stop.set(15)
    run = StarterRun(tmp_path, StarterTraining(shards=1, shard=5), stop=stop)
    with pytest.raises(Interrupted) as caught:
        run.train_clip()
    assert caught.value.exit_code == 143 and not list(tmp_path.iterdir())


def test_a_shorter_training_is_shorter_everywhere() -> None:
    short = room.shorter(StarterTraining(), 0.01)
    assert short.clip.steps == round(StarterTraining().clip.steps * 0.01)
    assert replace(short, clip=StarterTraining().clip).prior.steps < StarterTraining().prior.steps


def test_a_training_can_begin_where_the_shipped_weights_end(tmp_path) -> None:
    run = StarterRun(tmp_path, StarterTraining())
    assert [path.name for path in adopt_shipped(run)] == ["clip.state", "vqgan.state", "prior.state"]
    assert adopt_shipped(run) == []
    ours, shipped = run.vqgan(), vqclip.load_vqgan("starter")
    assert torch.equal(ours.codebook, shipped.codebook)
    tower = run.clip_parts()
    tower.load(last_checkpoint(tmp_path / "clip.state")[1])
    tower.averaged.eval()
    with torch.no_grad():
        said = torch.nn.functional.normalize(tower.averaged.encode_text(tower.text_rows(["a castle in fog"])), dim=-1)
    assert torch.allclose(said, vqclip.load_clip("starter").embed_text(["a castle in fog"]), atol=1e-4)
