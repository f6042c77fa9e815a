"""Several devices for one picture: each looks at its share of the cutouts, and the picture is that of one device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from batches import stop_at
from PIL import Image, ImageChops
from tiny import TinyDecoder, TinyPerceptor, shaken, tiny_look

from vqclip.cli.main import main
from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.paint import Look, _work, paint
from vqclip.engine.starts import from_codes
from vqclip.engine.streams import stream
from vqclip.engine.thrift import Thrift
from vqclip.errors import UsageError
from vqclip.events import Step
from vqclip.ops.cutouts import draw_cutouts
from vqclip.ops.guide import Targets, guide, look
from vqclip.ops.shares import in_shares
from vqclip.runs.inputs import read_devices
from vqclip.sinks.metadata import read_recipe
from vqclip.store.openclip import load_clip
from vqclip.store.perceptor import ClipPerceptor

CPU = torch.device("cpu")
DECODER = TinyDecoder()


class Watched(TinyPerceptor):
    """Remembers how many pieces it was shown each time."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def embed_image(self, image):
        self.seen.append(len(image))
        return super().embed_image(image)


def looks(devices: int) -> list[Look]:
    """Two CLIPs of other weights and shares, with prompts of other weights and stops, each on so many devices."""
    found = []
    for number, (weight, share) in enumerate([(1.0, 1.0), (0.5, 0.6)]):
        one = tiny_look("a castle", "fog", "text", name=f"clip {number}")
        wanted = one.targets.embeddings
        targets = Targets(wanted, torch.tensor([1.0, 0.5, -0.3]), torch.tensor([-torch.inf, 0.2, -torch.inf]))
        copies = [(CPU, Watched()) for _ in range(devices - 1)]
        found.append(Look(one.name, Watched(), targets, weight, share, copies))
    return found


def latents() -> torch.Tensor:
    return torch.cat([from_codes(DECODER.codebook, (4, 5), [stream(seed, "init")]) for seed in (3, 4)])


def seen_by(devices: int, how=guide, micro_batch: int | None = None):
    """What two CLIPs think of two pictures, the one by five cutouts of each and the other by three."""
    chosen = looks(devices)
    plans = [
        draw_cutouts(shaken(count), size=8, height=16, width=20, rngs=[stream(seed, "cutouts") for seed in (3, 4)])
        for count in (5, 3)
    ]
    return _work(DECODER, chosen, how, latents(), plans, extras=(), micro_batch=micro_batch, lean=False), chosen


@pytest.mark.parametrize("devices", [2, 3, 7])
@pytest.mark.parametrize("micro_batch", [None, 1, 3, 4, 100])
def test_the_gradient_is_that_of_one_device(devices: int, micro_batch: int | None) -> None:
    one, shared = seen_by(1)[0], seen_by(devices, micro_batch=micro_batch)[0]
    assert one.gradient.abs().max() > 1e-3
    torch.testing.assert_close(shared.gradient, one.gradient, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(shared.each, one.each)
    assert shared.losses.keys() == one.losses.keys()
    assert torch.equal(shared.image, one.image)
    torch.testing.assert_close(seen_by(devices, look, micro_batch)[0].each, one.each)


def test_each_device_sees_an_equal_share_also_of_a_micro_batch() -> None:
    for micro_batch, first, second in ((None, [5, 5], [3, 3]), (4, [2, 2, 2, 2, 1, 1], [2, 2, 1, 1])):
        for one, sizes in zip(seen_by(2, micro_batch=micro_batch)[1], (first, second), strict=True):
            here, (_, there) = one.perceptor.seen, one.copies[0]
            assert sorted([*here, *there.seen], reverse=True) == sizes
            assert sum(here) - sum(there.seen) in (0, 1, 2)


def test_devices_for_which_there_is_no_piece_are_left_alone() -> None:
    there = Watched()
    shared = in_shares(TinyPerceptor().embed_image, [(CPU, there.embed_image), (CPU, there.embed_image)])
    pieces = torch.rand(1, 3, 8, 8)
    assert torch.equal(shared(pieces), TinyPerceptor().embed_image(pieces)) and there.seen == []


def test_every_share_is_sent_before_the_first_is_looked_at() -> None:
    happened = []

    class Told(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            happened.extend(["sent"] if func.__name__ == "to" else [])
            return super().__torch_function__(func, types, args, kwargs or {})

    def embed(pieces):
        happened.append("seen")
        return pieces.flatten(1)

    pieces = torch.rand(6, 3, 2, 2)
    found = in_shares(embed, [(CPU, embed), (CPU, embed)])(pieces.as_subclass(Told))
    assert happened[:6] == ["sent"] * 3 + ["seen"] * 3
    assert torch.equal(found.as_subclass(torch.Tensor), pieces.flatten(1))


def test_one_device_is_asked_as_ever() -> None:
    embed = TinyPerceptor().embed_image
    assert in_shares(embed) is embed


@pytest.mark.parametrize("thrift", [Thrift(), Thrift(3, lean=True)])
def test_a_painting_on_two_devices_is_that_on_one(thrift: Thrift) -> None:
    course = Course(steps=12, learning_rate=0.05)

    def last(devices: int, **more) -> Step:
        start = begin(from_codes(DECODER.codebook, (4, 5), [stream(3, "init")]), [3])
        *_, event = paint(DECODER, looks(devices), start, course=course, cutouts=shaken(count=6, roll=4), **more)
        return event

    assert (last(2, thrift=thrift).image - last(1).image).abs().max() < 1 / 255


def test_a_step_that_ran_out_of_memory_is_done_again_on_all_devices() -> None:
    class Tight(Watched):
        def embed_image(self, image):
            if len(image) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().embed_image(image)

    start = begin(from_codes(DECODER.codebook, (4, 5), [stream(3, "init")]), [3])
    one = replace(tiny_look(), copies=[(CPU, Tight())])
    thrift = Thrift()
    events = list(paint(DECODER, [one], start, course=Course(2, 0.05), cutouts=shaken(8), thrift=thrift))
    assert len(events) == 3 and thrift.micro_batch == 4 and set(one.copies[0][1].seen) == {2}


def test_a_copy_has_a_picture_tower_of_its_own_and_sees_the_same(tiny_models) -> None:
    one = load_clip(str(tiny_models.clip), offline=True)
    other = one.copy_to(torch.device("cpu"))
    image = torch.rand(3, 3, 32, 32)
    assert torch.equal(one.embed_image(image), other.embed_image(image))
    assert torch.equal(one.embed_text(["fog"]), other.embed_text(["fog"]))
    mine, its = ({id(part) for part in of.model.visual.parameters()} for of in (one, other))
    assert mine and not mine & its
    assert one.model.visual is not other.model.visual and one.model.transformer is other.model.transformer
    moved = one.copy_to(torch.device("meta"))
    assert {part.device.type for part in moved.model.visual.parameters()} == {moved._mean.device.type} == {"meta"}
    assert one.embed_image(image).device == CPU  # and the one it was made of stays where it was


@pytest.fixture
def vqclip(tiny_models, tmp_path, monkeypatch, capsys):
    """Paints with the tiny models, which see with two CLIPs, on a device; gives (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    Image.effect_mandelbrot((40, 32), (-2, -1, 1, 1), 20).convert("RGB").save("like.png")
    words = ["--image-prompt", "like.png:0.5", "--negative", "text:0.3", "--seed", "5", "--threads", "1"]
    size = ["--steps", "8", "--size", "32x32", "--cutouts", "5", "--dtype", "float32", "--init", "codes"]
    clips = ["--clip", str(tiny_models.clip), "--clip", f"{tiny_models.clip}:0.5:0.5"]

    def run(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*args, "--vqgan", str(tiny_models.vqgan), *clips, *words, *size])
        return (code, *capsys.readouterr())

    return run


def unlike(one: str, other: str) -> int:
    """The largest difference between two pictures, in 1/255."""
    with Image.open(one) as a, Image.open(other) as b:
        return max(high for _, high in ImageChops.difference(a.convert("RGB"), b.convert("RGB")).getextrema())


@pytest.mark.parametrize("more", [(), ("--micro-batch", "3"), ("--cutouts-start", "1", "--coarse", "0.5")])
def test_the_picture_of_two_devices_is_that_of_one_and_so_is_its_recipe(vqclip, monkeypatch, more) -> None:
    look_at, seen = ClipPerceptor.embed_image, []
    monkeypatch.setattr(ClipPerceptor, "embed_image", lambda self, x: (seen.append(id(self)), look_at(self, x))[1])
    assert vqclip("a castle | fog:0.5", "--device", "cpu", "-o", "one.png", *more)[0] == 0
    alone = len(set(seen))
    seen.clear()
    code, _, err = vqclip("a castle | fog:0.5", "--device", "cpu,cpu", "-o", "two.png", *more)
    assert code == 0, err
    assert len(set(seen)) > alone  # there was a second one that looked
    assert unlike("one.png", "two.png") <= 1
    one, two = (read_recipe(Path(name).read_bytes()) for name in ("one.png", "two.png"))
    assert (one.pop("device"), two.pop("device")) == ("cpu", "cpu,cpu") and one == two


def test_a_stopped_picture_goes_on_on_one_device_or_on_two(vqclip, monkeypatch, tiny_models) -> None:
    assert vqclip("a castle", "--device", "cpu,cpu", "-o", "whole.png")[0] == 0
    files = ["--vqgan", str(tiny_models.vqgan), "--image-prompt", "like.png:0.5"]
    files += ["--clip", str(tiny_models.clip), "--clip", f"{tiny_models.clip}:0.5:0.5"]
    for number, more in enumerate([[], ["--device", "cpu"]]):
        with monkeypatch.context() as patch:
            stop_at(patch, 3)
            code, _, err = vqclip("a castle", "--device", "cpu,cpu", "-o", f"{number}.png")
        assert code == 130 and "--device cpu,cpu" in err
        assert main(["resume", f"{number}.png", *files, *more]) == 0
        assert unlike(f"{number}.png", "whole.png") <= bool(more)  # bit for bit where nothing is changed


def test_a_list_is_read_and_what_makes_no_sense_in_it_is_refused() -> None:
    assert read_devices("cuda:0, cuda:1") == ["cuda:0", "cuda:1"] and read_devices("cpu,cpu") == ["cpu", "cpu"]
    for text, said in (
        ("cuda:0,gpu", "no device 'gpu'"),
        ("cuda:0,", "no device ''"),
        ("auto,cpu", "auto is one device"),
        ("cuda:1,cuda:1", "a device twice"),
        ("cuda,cuda:0", "a device twice"),
    ):
        with pytest.raises(UsageError, match=said):
            read_devices(text)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--device", "cpu,gpu"], "there is no device 'gpu'"),
        (["--device", "cpu,meta"], "there is no device 'meta'"),
        (["--device", "cpu,cpu,cpu,cpu,cpu,cpu"], "6 devices are to share 5 cutouts"),
        (["--device", "cpu,cpu", "--graph"], "--graph is for one device"),
    ],
)
def test_what_devices_cannot_share_is_said_before_any_work(vqclip, flags, said) -> None:
    code, out, err = vqclip("a castle", *flags)
    assert (code, out) == (2, "") and said in err
    if "--graph" not in flags:
        assert vqclip("a castle", *flags, "--dry-run")[0] == 2


def test_the_python_door_takes_a_list_too(tiny_models) -> None:
    import vqclip

    more = {key: value for key, value in tiny_models.settings().items() if key != "prompt"}
    one, two = (vqclip.generate("a castle", device=device, **more) for device in ("cpu", "cpu,cpu"))
    assert max(high for _, high in ImageChops.difference(one, two).getextrema()) <= 1
    assert two.info["vqclip"]["device"] == "cpu,cpu"


def test_a_batch_paints_on_a_list_of_devices_by_one_process_alone(vqclip) -> None:
    Path("p.txt").write_text("a castle\nfog\n", encoding="utf-8")
    for more in (["--workers", "2"], ["--workers", "auto"], ["--ray", "auto"]):
        code, _, err = vqclip("batch", "p.txt", "--device", "cpu,cpu", *more)
        assert code == 2 and "paint each picture together" in err
    code, out, err = vqclip("batch", "p.txt", "--device", "cpu,cpu")
    assert code == 0 and len(out.split()) == 2, err


def test_a_film_is_painted_on_one_device(vqclip) -> None:
    for more in ([], ["--dry-run"]):
        code, _, err = vqclip("zoom", "a castle", "--frames", "2", "--device", "cpu,cpu", *more)
        assert code == 2 and "a film is painted on one device" in err and not list(Path().glob("outputs/*"))
