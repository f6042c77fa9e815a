"""The bytes that a decoder's gradient really holds, counted tensor by tensor, beside those that were foretold."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from vqclip.configs import VQGANConfig
from vqclip.models.vqgan import VQGAN
from vqclip.ops import bands
from vqclip.runs.workload import BANDS, PIXEL, decoder_cost

SMALL = {"channels": 64, "codes": 40}
LAYOUTS = {
    "imagenet-f16": {},
    "gumbel-f8": {"multipliers": (1, 1, 2, 4), "attention_levels": (3,)},
    "ldm-f8": {"multipliers": (1, 2, 2, 4), "attention_levels": (3,)},
    "f4": {"multipliers": (1, 2, 4), "attention_levels": ()},
    "starter": {"channels": 32, "multipliers": (2, 2, 3, 3), "blocks": 1, "attention_levels": ()},
    "movq": {"multipliers": (1, 2, 2, 4), "attention_levels": (3,), "variant": "movq"},
    "magvit": {"variant": "magvit", "blocks": 4, "attention_levels": (), "middle_attention": False},
}


class Live(TorchDispatchMode):
    """Counts the bytes of all tensors that are made within it and are still there; `peak` is the most."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for one in tree_flatten(made)[0]:
            if isinstance(one, Tensor):
                self._note(one.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_decoder_holds_what_was_foretold(monkeypatch: pytest.MonkeyPatch, name: str, lean: bool) -> None:
    monkeypatch.setattr(bands, "band_rows", lambda *_: 2)  # what is between the layers of a band is counted apart
    config = VQGANConfig(**{**SMALL, **LAYOUTS[name]})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VQGAN(config, encoder=False).eval().fuse().to(memory_format=torch.channels_last)
    grid = (96 // config.stride, 96 // config.stride)
    latent = torch.zeros(1, config.embedding_channels, *grid).requires_grad_()
    live = Live([*model.parameters(), *model.buffers()])
    with live:
        image = model.decode(latent, lean=lean)
        held = live.now
        live.peak = live.now
        torch.autograd.grad(image, latent, torch.ones_like(image))
    cost = decoder_cost(config, grid, itemsize=4, lean=lean, encoder=False)
    pixels = PIXEL * image[0, 0].numel()
    assert held == pytest.approx(cost.held - pixels, rel=0.15)
    assert live.peak == pytest.approx(cost.peak - pixels - BANDS, rel=0.15)
