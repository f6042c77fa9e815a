"""Models made tiny, saved once per test run and loaded through the store like any other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes: each keeps to one core
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps what runs remember of this machine's speed out of the user's cache."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setattr("vqclip.runs.rates.cache_folder", lambda: folder)
    return folder


@pytest.fixture(autouse=True)
def own_seen(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps the checksums of CLIPs that tests make up out of the user's folder."""
    folder = tmp_path_factory.mktemp("seen")
    monkeypatch.setattr("vqclip.store.clipseen.seen_folder", lambda: folder)
    return folder


@dataclass(frozen=True)
class TinyModels:
    """Files of a VQGAN of stride 4 and a CLIP that looks at 32 px squares."""

    vqgan: Path
    clip: Path

    def flags(self) -> list[str]:
        """What makes the command line paint with them."""
        return ["--vqgan", str(self.vqgan), "--clip", str(self.clip), "--device", "cpu", "--threads", "1"]

    def settings(self, **more: object) -> dict[str, object]:
        """The same as settings, small and fast."""
        small = {"width": 32, "height": 32, "steps": 3, "cutouts": 4, "seed": 1, "dtype": "float32"}
        return {"vqgan": str(self.vqgan), "clip": (str(self.clip),), "prompt": "a castle in fog", **small, **more}


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    import torch

    from vqclip.configs import VQGANConfig
    from vqclip.models.vqgan import VQGAN
    from vqclip.store.openclip import build_clip, make_tokenizer, write_clip
    from vqclip.store.vqgans import save_vqgan

    folder = tmp_path_factory.mktemp("models")
    shape = VQGANConfig(
        channels=32,
        multipliers=(1, 1, 1),
        blocks=1,
        attention_levels=(),
        latent_channels=8,
        embedding_channels=8,
        codes=32,
    )
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    words = ["castle", "fog", "a", "in"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vqgan = VQGAN(shape)
        torch.nn.init.normal_(vqgan.quantize.weight)
        clip = build_clip(config)
    ids = sorted({*make_tokenizer(16)(words).flatten().tolist(), -1})
    save_vqgan(vqgan, folder / "tiny-vqgan.safetensors")
    write_clip(
        folder / "tiny-clip.safetensors",
        clip.state_dict(),
        config,
        ids=ids,
        words=words,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    return TinyModels(folder / "tiny-vqgan.safetensors", folder / "tiny-clip.safetensors")
