"""Running out of memory within a step: the step again in less, the same numbers, and in the end the error."""

import pytest
import torch
from tiny import TinyDecoder, TinyPerceptor, shaken, tiny_look

from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.paint import Look, paint
from vqclip.engine.starts import from_codes
from vqclip.engine.streams import stream
from vqclip.engine.thrift import Thrift, is_out_of_memory
from vqclip.ops import bands
from vqclip.runs.painting import painting
from vqclip.runs.parts import build_parts
from vqclip.runs.plan import resolve
from vqclip.settings import Settings

COURSE = Course(steps=6, learning_rate=0.1)
FULL = RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried ...")


class Tight(TinyPerceptor):
    """A perceptor whose machine has room for so many views only, from some call on."""

    def __init__(self, room: int, after: int = 0) -> None:
        super().__init__()
        self.room, self.after, self.sizes = room, after, []

    def embed_image(self, image):
        self.sizes.append(len(image))
        if len(image) > self.room and len(self.sizes) > self.after:
            raise FULL
        return super().embed_image(image)


class Lean(TinyDecoder):
    """A decoder that only fits its machine when it works lean."""

    def __init__(self) -> None:
        super().__init__()
        self.ways: list[bool] = []

    def decode(self, quantized, *, lean=False):
        self.ways.append(lean)
        if not lean:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().decode(quantized)


def run(perceptor=None, decoder=None, **more):
    decoder, look = decoder or TinyDecoder(), tiny_look()
    look = Look(look.name, perceptor or look.perceptor, look.targets)
    state = begin(from_codes(decoder.codebook, (4, 5), [stream(3, "init")]), [3])
    return list(paint(decoder, [look], state, course=COURSE, cutouts=shaken(count=8, roll=4), **more))


def test_a_step_that_does_not_fit_is_done_again_with_half_the_views():
    thrift, tight = Thrift(), Tight(4, after=2)
    events, plain = run(tight, thrift=thrift), run()
    assert tight.sizes[:6] == [8, 8, 8, 4, 4, 4] and len(events) == len(plain)
    assert thrift.said == ["out of memory at step 2: CLIP now looks at 4 views at a time"]
    for ours, theirs in zip(events, plain, strict=True):
        assert torch.allclose(ours.image, theirs.image, atol=1e-4)


def test_then_the_decoder_works_lean_and_the_picture_stays_the_same():
    thrift, decoder = Thrift(), Lean()
    events = run(decoder=decoder, thrift=thrift)
    assert decoder.ways == [False, False, *[True] * 7]
    assert (thrift.micro_batch, thrift.lean) == (4, True) and len(thrift.said) == 2
    assert torch.allclose(events[-1].image, run()[-1].image, atol=1e-4)


def test_a_real_model_in_bands_lean_and_view_by_view_has_the_plain_gradient(tiny_models, monkeypatch):
    job = resolve(Settings.make(tiny_models.settings(steps=1, init="codes")))[0]
    parts = build_parts(job, device=torch.device("cpu"), offline=True, note=print)

    def moments(rows: int, thrift: Thrift) -> torch.Tensor:
        monkeypatch.setattr(bands, "band_rows", lambda *_: rows)
        *_, last = painting(parts, thrift=thrift)
        return last.state()["optimizer"]["state"][0]["exp_avg"]  # after one step, the gradient times a factor

    plain = moments(10**6, Thrift())
    assert plain.abs().max() > 0
    for thrift in (Thrift(micro_batch=1), Thrift(lean=True), Thrift(3, lean=True)):
        spared = moments(3, thrift)
        assert float((spared - plain).abs().max() / plain.abs().max()) < 1e-3


def test_when_nothing_is_left_to_save_the_error_goes_up():
    thrift, tight = Thrift(), Tight(0)
    with pytest.raises(RuntimeError, match="allocate"):
        run(tight, thrift=thrift)
    assert tight.sizes == [8, 4, 4] and len(thrift.said) == 2


def test_another_error_is_not_taken_for_a_lack_of_memory():
    def broken(*_):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Thrift().spend(broken, step=0, pieces=8)


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),  # what a convolution says under a limit of the process
        RuntimeError("could not execute a primitive\nException raised from ..."),
    ],
)
def test_all_that_libraries_say_of_a_full_memory_is_known(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [ValueError("out of memory"), RuntimeError("could not create a primitive descriptor for a convolution")]
)
def test_what_only_sounds_like_it_is_not_a_full_memory(error):
    assert not is_out_of_memory(error)
