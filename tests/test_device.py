"""Which device a picture is painted on: chosen, said, and overruled; and what is free on it."""

from __future__ import annotations

import pytest
import torch

from vqclip.runs import picture as room
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
    monkeypatch.setattr(room, "usable_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(room, "build_parts", stop)
    monkeypatch.setattr(room, "fit", lambda settings, delivery, note: fitted.append(delivery.device) or settings)
    job = resolve(Settings.make(tiny_models.settings()))[0]
    with pytest.raises(Reached):
        room.paint_picture(job, Delivery(output=f"{tmp_path}/", device=asked, fit=True), on_note=notes.append)
    assert fitted == ["cuda"]
    assert ("painting on cuda; --device overrules that" in notes) == said
