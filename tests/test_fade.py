from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from vqclip.engine.streams import stream
from vqclip.ops.fade import fade, slerp, weighted
from vqclip.ops.guide import Targets
from vqclip.ops.losses import prompt_loss


def units(count, name):
    return F.normalize(torch.randn(1, count, 12, generator=stream(1, name)), dim=-1)


def targets(weights, name, stops=None):
    stops = torch.full((len(weights),), -torch.inf) if stops is None else torch.tensor(stops)
    return Targets(units(len(weights), name), torch.tensor(weights), stops)


def test_slerp_begins_and_ends_at_its_ends_and_goes_at_equal_speed():
    a, b = units(3, "a"), units(3, "b")
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    way = [slerp(a, b, n / 8) for n in range(9)]
    turns = torch.stack([(p * q).sum(-1) for p, q in pairwise(way)])
    torch.testing.assert_close(turns, turns[:1].expand_as(turns), atol=1e-4, rtol=0)
    assert all(torch.allclose(one.norm(dim=-1), torch.ones(1, 3)) for one in way)


def test_slerp_between_equal_and_opposite_vectors_is_still_of_length_one():
    a = units(1, "a")
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    assert slerp(a, -a, 0.3).isfinite().all()


def loss(seen, one):
    return prompt_loss(seen, one.embeddings, one.weights, one.stops)


@pytest.mark.parametrize("pairs", [0, 1, 2])
def test_a_fade_begins_as_one_scene_and_ends_as_the_other(pairs):
    before, after = targets([1.0, -0.5], "a"), targets([2.0, 0.3, 1.0], "b")
    seen = units(5, "seen")[0]
    torch.testing.assert_close(loss(seen, fade(before, after, 0.0, pairs=pairs)), loss(seen, before))
    torch.testing.assert_close(loss(seen, fade(before, after, 1.0, pairs=pairs)), loss(seen, after))


def test_prompts_that_pull_turn_into_each_other_and_all_others_come_and_go():
    before, after = targets([1.0, -0.5], "a"), targets([2.0, 0.3, 1.0], "b")
    middle = fade(before, after, 0.5, pairs=2)
    assert middle.weights.tolist() == pytest.approx([1.5, -0.25, 0.15, 0.5])
    torch.testing.assert_close(middle.embeddings[:, 0], slerp(before.embeddings, after.embeddings[:, :2], 0.5)[:, 0])
    torch.testing.assert_close(
        middle.embeddings[:, 1:], torch.cat([before.embeddings[:, 1:], after.embeddings[:, 1:]], 1)
    )


def test_without_pairs_the_losses_are_blended():
    before, after = targets([1.0], "a", [0.2]), targets([2.0], "b", [0.4])
    middle, seen = fade(before, after, 0.25, pairs=0), units(5, "seen")[0]
    torch.testing.assert_close(loss(seen, middle), 0.75 * loss(seen, before) + 0.25 * loss(seen, after))
    assert middle.stops.tolist() == pytest.approx([0.2, 0.4])


def test_weights_of_a_scene_multiply_those_of_its_prompt():
    one = targets([1.0, -0.5, 2.0], "a")
    assert weighted(one, [3.0, 2.0]).weights.tolist() == [3.0, -1.0, 2.0]
    assert weighted(one, None) is one
