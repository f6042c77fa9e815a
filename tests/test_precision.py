import sys

import pytest
import torch

from vqclip.engine.precision import choose_dtype, has_fast_bfloat16
from vqclip.runs.free import probable_itemsize


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [
        ({}, False),
        ({"avx512_f": True}, False),
        ({"avx512_bf16": True}, True),
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, False),
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, True),
    ],
)
def test_bfloat16_is_chosen_where_the_processor_multiplies_it(monkeypatch, capabilities, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_fast_bfloat16("cpu") is fast
    assert choose_dtype("cpu") == (torch.bfloat16 if fast else torch.float32)


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_a_gpu_gets_bfloat16_where_it_multiplies_it(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype("cuda") == dtype and choose_dtype("mps") == torch.float32


def test_what_is_asked_for_is_given():
    assert choose_dtype("cpu", "float32") == torch.float32
    assert choose_dtype("cpu", "bfloat16") == torch.bfloat16


@pytest.mark.skipif(sys.platform != "linux", reason="what is known without torch is read from Linux")
def test_what_is_said_before_torch_is_there_is_what_torch_then_says():
    assert probable_itemsize() == choose_dtype("cpu").itemsize
