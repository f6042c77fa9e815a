import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vqclip.errors import ModelError
from vqclip.store import lpips as room


class Network(torch.nn.Module):
    """Stands in for the package's network, whose weights are not at hand in the tests."""

    def __init__(self, net: str, verbose: bool) -> None:
        super().__init__()
        self.asked = net
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, image: torch.Tensor, target: torch.Tensor, normalize: bool) -> torch.Tensor:
        assert normalize
        return self.weight * (image - target).square().mean((1, 2, 3), keepdim=True)


@pytest.fixture
def package(monkeypatch, tmp_path) -> Path:
    module = ModuleType("lpips")
    module.LPIPS = Network
    module.__spec__ = object()
    monkeypatch.setitem(sys.modules, "lpips", module)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path / "checkpoints" / room.VGG_FILE


def test_lpips_is_used_only_where_its_weights_are_at_hand(package):
    assert not room.lpips_at_hand()
    with pytest.raises(ModelError, match="the VGG that LPIPS looks with is not here") as error:
        room.load_lpips()
    assert room.VGG_FILE in error.value.hint
    package.parent.mkdir()
    package.write_bytes(b"weights")
    assert room.lpips_at_hand()


def test_lpips_gives_one_frozen_distance_for_two_batches(package):
    package.parent.mkdir()
    package.write_bytes(b"weights")
    distance = room.load_lpips()
    image = torch.zeros(2, 3, 8, 8, requires_grad=True)
    value = distance(image, torch.ones(2, 3, 8, 8))
    assert value.shape == () and value == 1
    assert distance.network.asked == "vgg" and not any(p.requires_grad for p in distance.parameters())
    value.backward()
    assert image.grad.abs().sum() > 0


def test_without_the_package_the_hint_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError) as error:
        room.load_lpips()
    assert "vqclip[train]" in error.value.hint
