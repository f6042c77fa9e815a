"""Which device a picture is painted on: chosen, said, and overruled; and what is free on it."""

from __future__ import annotations

import sys

import pytest
import torch

from vqclip.runs import picture as room
from vqclip.runs.free import device_of, free_on
from vqclip.runs.parts import choose_device
from vqclip.runs.plan import resolve
from vqclip.settings import Delivery, Settings


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_cuda_goes_before_mps_before_the_cpu(monkeypatch, cuda, mps, chosen) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto").type == chosen
    assert choose_device("cpu").type == "cpu" and choose_device("cuda:1").index == 1


class Reached(Exception):
    """Ends a run where the models would be loaded."""


@pytest.mark.parametrize(("asked", "said"), [("auto", True), ("cuda", False)])
def test_a_gpu_that_was_chosen_is_said_and_its_memory_is_what_a_picture_is_fitted_into(
    tiny_models, tmp_path, monkeypatch, asked, said
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Reached

    fitted, notes = [], []
    monkeypatch.setattr(room, "usable_devices", lambda names: [torch.device("cuda")])
    monkeypatch.setattr(room, "build_parts", stop)
    monkeypatch.setattr(room, "fit", lambda settings, delivery, note: fitted.append(delivery.device) or settings)
    job = resolve(Settings.make(tiny_models.settings()))[0]
    with pytest.raises(Reached):
        room.paint_picture(job, Delivery(output=f"{tmp_path}/", device=asked, fit=True), on_note=notes.append)
    assert fitted == ["cuda"]
    assert ("painting on cuda; --device overrules that" in notes) == said


def test_what_was_measured_on_auto_is_kept_under_the_device_that_was_chosen(monkeypatch) -> None:
    from vqclip.runs.estimate import key_of

    job = resolve(Settings.make({"prompt": "a castle", "seed": 1}))[0]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for has, name in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has=has: has)
        assert key_of(job, Delivery(device="auto", threads=1)) == key_of(job, Delivery(device=name, threads=1))
        assert key_of(job, Delivery(device="auto", threads=1)).startswith(f"{name}|")


@pytest.mark.parametrize(
    ("system", "driver", "version", "supposed"),
    [
        ("Linux", "dev/nvidiactl", "2.8.0", "cuda"),
        ("Linux", "dev/nvidiactl", "2.8.0+cpu", "cpu"),
        ("Linux", "dev/null", "2.8.0", "cpu"),
        ("Darwin", "dev/null", "2.8.0", "mps"),
    ],
)
def test_before_torch_is_loaded_the_device_is_supposed(
    monkeypatch, tmp_path, system, driver, version, supposed
) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / driver).touch()
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("vqclip.runs.free.metadata.version", lambda name: version)
    assert device_of("auto", tmp_path) == supposed
    assert device_of("cuda:1", tmp_path) == "cuda:1" and "torch" not in sys.modules


def test_what_is_free_is_asked_of_the_first_of_several_gpus_and_of_the_computer_where_there_is_none(
    monkeypatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda name: ({"cuda": 5, "cuda:1": 7}[name], 9))
    assert (free_on("auto"), free_on("cuda:1,cuda:0")) == (5, 7)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert free_on("cuda") > 1000
