"""Published CLIPs are held to the file that was first used, and that is said once."""

import pytest
import torch
from safetensors.torch import save_file

from vqclip.cli.main import main
from vqclip.errors import ModelError
from vqclip.store import openclip
from vqclip.store.clipseen import hold
from vqclip.store.folder import digest
from vqclip.store.openclip import load_clip

NAME = "ViT-B-32/laion2b_s34b_b79k"
CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """A tiny CLIP in the shared cache, under the name of a published one."""
    path = tmp_path / "open_clip_model.safetensors"
    save_file(openclip.build_clip(CONFIG).state_dict(), path)
    monkeypatch.setattr(openclip._open_clip(), "get_model_config", lambda name: {**CONFIG})
    monkeypatch.setattr(openclip, "_cached", lambda training: path)
    return path


def test_the_first_use_records_the_checksum_and_says_so_once(cached, own_seen):
    perceptor = load_clip(NAME, offline=True)
    said = perceptor.take_notice()
    assert f"recorded {digest(cached)}, and it is held to that from now on" in said
    assert perceptor.take_notice() is None
    assert (own_seen / "ViT-B-32--laion2b_s34b_b79k.safetensors.sha256").read_text().startswith(digest(cached))
    assert load_clip(NAME, offline=True).take_notice() is None


def test_another_file_under_the_name_costs_exit_code_4_with_both_ways_out(cached, own_seen):
    load_clip(NAME, offline=True)
    save_file(openclip.build_clip({**CONFIG, "embed_dim": 9}).state_dict(), cached)
    with pytest.raises(ModelError, match="is not the file that was first used here") as caught:
        load_clip(NAME, offline=True)
    assert caught.value.exit_code == 4
    assert str(cached) in caught.value.hint and str(own_seen) in caught.value.hint


def test_getting_a_clip_records_it_too(cached, monkeypatch, capsys):
    monkeypatch.setattr("vqclip.store.clips.in_cache", lambda clip: cached)
    monkeypatch.setattr("vqclip.store.clips.fetch_clip", lambda clip, offline: cached)
    for times in (1, 0):
        assert main(["models", "get", NAME]) == 0
        assert capsys.readouterr().err.count("held to that from now on") == times


def test_where_nothing_can_be_recorded_the_clip_still_loads_and_that_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr("vqclip.store.clipseen.seen_folder", lambda: tmp_path / "file" / "clips")
    torch.save({}, tmp_path / "x.bin")
    assert hold("a/b", tmp_path / "x.bin").endswith("could not be recorded")
