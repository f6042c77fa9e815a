"""MaskGIT, IBQ, Open-MAGVIT2, Show-o and VAR with other shapes, types and containers, made by writers of them."""

from __future__ import annotations

import json
from dataclasses import replace

import later_layouts as later
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_layouts import CONTAINERS, DTYPES, rounded, same, write

from vqclip.configs import VQGANConfig
from vqclip.models.vqgan import VQGAN
from vqclip.store.vqgans import load_vqgan

several = settings(max_examples=8, deadline=None, derandomize=True)


@st.composite
def plain(draw: st.DrawFn, *, attention: bool = False, **facts) -> VQGANConfig:
    """A model of one to three levels; facts are what all models of a family have in common."""
    levels = draw(st.integers(1, 3))
    places = st.lists(st.integers(0, levels - 1), unique=True).map(lambda chosen: tuple(sorted(chosen)))
    channels = draw(st.sampled_from([3, 5]))
    config = VQGANConfig(
        channels=draw(st.sampled_from([8, 32])),
        multipliers=(1, *draw(st.lists(st.integers(1, 3), min_size=levels - 1, max_size=levels - 1))),
        blocks=draw(st.integers(1, 2)),
        attention_levels=draw(places) if attention else (),
        middle_attention=attention and draw(st.booleans()),
        latent_channels=channels,
        embedding_channels=channels,
        codes=draw(st.integers(3, 20)),
    )
    return replace(config, **facts)


@st.composite
def lookup_free(draw: st.DrawFn, **facts) -> VQGANConfig:
    """A model of signs, whose decoder has its own number of blocks at each level."""
    config = draw(plain(**facts))
    blocks = draw(st.tuples(*[st.integers(1, 2)] * len(config.multipliers)))
    own = None if set(blocks) == {config.blocks + 1} else blocks
    return replace(config, quantizer="sign", codes=2**config.embedding_channels, decoder_blocks=own)


def loaded(folder, weights, dtype, container, document=None) -> VQGAN:
    """What is read from these weights, written in a type and a container."""
    path = folder / "weights.bin"
    write(path, {n: t.to(dtype) if t.is_floating_point() else t for n, t in weights.items()}, container)
    if document is not None:
        (folder / "weights.yaml").write_text(json.dumps(document))
    return load_vqgan(path)


def model_of(config: VQGANConfig, dtype: torch.dtype, seed: int, made) -> VQGAN:
    """A random model that a family's files can hold."""
    model = rounded(config, dtype, seed)
    model.load_state_dict(made(model.state_dict()))
    return model


KEEP = dict
FAMILIES = {
    "MaskGIT": (later.as_maskgit, later.of_maskgit, plain(quant_kernel=0, picture_range="unit", middle_blocks=2)),
    "IBQ": (later.as_ibq, KEEP, plain(attention=True, quantizer="inner")),
    "Open-MAGVIT2": (
        later.as_magvit,
        later.without_biases,
        st.integers(1, 3).flatmap(lambda n: lookup_free(quant_kernel=0, variant="magvit", middle_blocks=n)),
    ),
    "Show-o": (later.as_showo, later.of_showo, lookup_free(middle_attention=True)),
}


@pytest.mark.parametrize("family", FAMILIES)
@several
@given(data=st.data())
def test_a_later_family_of_any_shape_type_and_container_gives_the_model_that_was_written(
    family, data, tmp_path_factory
):
    writer, made, configs = FAMILIES[family]
    config, dtype, container = data.draw(configs), data.draw(DTYPES), data.draw(CONTAINERS)
    model = model_of(config, dtype, data.draw(st.integers(0, 99)), made)
    found = loaded(tmp_path_factory.mktemp("later"), writer(model.state_dict()), dtype, container)
    assert found.config == config
    same(found, model)


@several
@given(data=st.data())
def test_a_var_of_any_shape_type_container_and_scales_gives_the_model_that_was_written(data, tmp_path_factory):
    scales = data.draw(st.sampled_from([(1, 2, 3, 4, 5, 6, 8, 10, 13, 16), (1, 2, 4), (3,)]))
    kernel = data.draw(st.sampled_from([1, 3]))
    config = data.draw(plain(attention=True, quantizer="residual", scales=scales, quant_kernel=kernel))
    dtype, container = data.draw(DTYPES), data.draw(CONTAINERS)
    model = model_of(config, dtype, data.draw(st.integers(0, 99)), lambda weights: later.of_var(weights, dtype))
    hits = {"quantize.ema_vocab_hit_SV": torch.zeros(len(scales), config.codes)}
    document = None if len(scales) == 10 else {"v_patch_nums": list(scales)}
    folder = tmp_path_factory.mktemp("var")
    found = loaded(folder, later.as_var(model.state_dict()) | hits, dtype, container, document)
    assert found.config == config
    same(found, model)
