"""Networks made without random numbers are whole but for those."""

import torch
from torch import nn

from vqclip.models.unfilled import Unfilled


def test_no_random_number_is_drawn_and_all_else_is_as_ever():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    with Unfilled():
        made = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Embedding(5, 3))
        nn.init.xavier_uniform_(made[0].weight)
        made.register_buffer("mask", torch.full((2, 2), 7.0).triu_(1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert made[0].weight.shape == (3, 4) and torch.equal(made[1].weight, torch.ones(3))
    assert made.mask.tolist() == [[0, 7], [0, 0]]


def test_outside_of_it_weights_are_filled_again():
    torch.manual_seed(0)
    with Unfilled():
        pass
    assert float(nn.Linear(50, 50).weight.detach().std()) > 0.01
