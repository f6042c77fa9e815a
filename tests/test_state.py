"""A loop's state comes back exactly as it was, and a damaged file costs at most one save."""

import math
import os

import pytest
import torch
from safetensors.torch import save_file
from steps import make_step

from vqclip.errors import OutputError, UsageError
from vqclip.sinks import state as saving
from vqclip.sinks.play import play
from vqclip.sinks.state import SaveState, load_state, remove_state, save_state


def same(a, b):
    """Equal in value, type and order, all the way down."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def test_every_kind_of_value_comes_back_as_it_was(tmp_path):
    shared = torch.rand(3, 4)
    state = {
        "latent": shared,
        "view": shared[:, ::2].T,
        "half": torch.rand(3).bfloat16(),
        "rng": torch.Generator().manual_seed(1).get_state(),
        "nothing": torch.empty(0, 3),
        "scalar": torch.tensor(7),
        "flags": torch.tensor([True, False]),
        "index": 12,
        "rate": 0.1 + 0.2,
        "odd": [math.inf, -math.inf, math.nan, None, True, "a/b\ud800", ("x", [1, ()])],
        "by number": {0: {"step": 3}, 1: {}},
    }
    save_state(tmp_path / "s.safetensors", state, recipe={"seed": 1})
    back, recipe = load_state(tmp_path / "s.safetensors")
    assert same(state, back) and recipe == {"seed": 1}


def test_an_optimizer_and_its_random_numbers_go_on_exactly(tmp_path):
    def descend(weight, optimizer, rng, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            (weight * torch.randn(5, generator=rng)).square().sum().backward()
            optimizer.step()

    def start():
        weight = torch.ones(5, requires_grad=True)
        return weight, torch.optim.Adam([weight], lr=0.1), torch.Generator().manual_seed(5)

    weight, optimizer, rng = start()
    descend(weight, optimizer, rng, 4)
    state = {"weight": weight, "optimizer": optimizer.state_dict(), "rng": rng.get_state()}
    save_state(tmp_path / "s.safetensors", state)
    descend(weight, optimizer, rng, 4)

    back, _ = load_state(tmp_path / "s.safetensors")
    again, other, other_rng = start()
    again.data.copy_(back["weight"])
    other.load_state_dict(back["optimizer"])
    other_rng.set_state(back["rng"])
    descend(again, other, other_rng, 4)
    assert torch.equal(again, weight)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "gone"])
def test_a_damaged_state_gives_the_one_before_it(tmp_path, damage):
    path = tmp_path / "s.safetensors"
    for n in (1, 2, 3):
        save_state(path, {"n": n, "x": torch.rand(100)})
    assert load_state(path)[0]["n"] == 3
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": data[:-50], "empty": b"", "flipped": data[:8] + b"!" + data[9:]}[damage])
    assert load_state(path)[0]["n"] == 2
    assert sorted(os.listdir(tmp_path)) in (["s.safetensors", "s.safetensors.old"], ["s.safetensors.old"])


@pytest.mark.parametrize("links", [True, False])
def test_a_save_that_fails_halfway_leaves_a_state_to_go_on_from(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise PermissionError(1, "no links here")

    def fail(path, data, **_):
        raise OutputError("the disk is full")

    path = tmp_path / "s.safetensors"
    if not links:
        monkeypatch.setattr(saving.os, "link", refuse)
    for n in (1, 2):
        save_state(path, {"n": n})
    monkeypatch.setattr(saving, "publish", fail)
    for _ in range(2):
        with pytest.raises(OutputError):
            save_state(path, {"n": 3})
        assert load_state(path)[0]["n"] == 2
        assert path.exists() is links


def test_what_is_no_state_is_refused_in_a_sentence(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "page.html").write_text("<html>")
    with pytest.raises(UsageError, match="no saved state"):
        load_state(tmp_path / "missing")
    for name in ("model.safetensors", "page.html"):
        with pytest.raises(UsageError, match="is not a saved state"):
            load_state(tmp_path / name)


def test_a_value_that_could_not_come_back_is_not_saved(tmp_path):
    with pytest.raises(TypeError, match="set"):
        save_state(tmp_path / "s", {"x": {1, 2}})
    assert os.listdir(tmp_path) == []


def test_the_sink_saves_in_turn_and_the_state_can_be_removed(tmp_path):
    path = tmp_path / "s.safetensors"
    play((make_step(n, 10) for n in range(11)), SaveState(path, every=4, recipe={"a": 1}))
    assert load_state(path) == ({"index": 8}, {"a": 1})
    remove_state(path)
    remove_state(path)
    assert os.listdir(tmp_path) == []
