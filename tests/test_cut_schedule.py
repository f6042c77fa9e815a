"""Few cutouts first, all at the end: how many there are hangs on the step alone, and fewer span the sizes as all do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import TinyDecoder, TinyPerceptor, shaken, tiny_look

from vqclip.cli.main import main
from vqclip.engine.canvas import begin
from vqclip.engine.course import Course
from vqclip.engine.paint import Look, paint
from vqclip.engine.stages import paint_stages, plan_stages
from vqclip.engine.starts import from_codes
from vqclip.engine.streams import stream
from vqclip.errors import UsageError
from vqclip.ops.cutouts import CutoutSettings, draw_cutouts
from vqclip.runs import sketch
from vqclip.runs.estimate import estimate, work_of
from vqclip.runs.picture import paint_picture
from vqclip.runs.plan import resolve
from vqclip.settings import Delivery, Settings

GROWING = replace(shaken(count=8, roll=4), start=2, grown=6)
COURSE = Course(steps=6, learning_rate=0.1)
DECODER = TinyDecoder()


class Counting(TinyPerceptor):
    """Remembers how many pieces it was shown each time."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def embed_image(self, image):
        self.seen.append(len(image))
        return super().embed_image(image)


def counting(share: float = 1.0) -> Look:
    return replace(tiny_look(), perceptor=Counting(), share=share)


def first(grid=(4, 5)):
    return begin(from_codes(DECODER.codebook, grid, [stream(3, "init")]), [3])


def settings(**more):
    return resolve(Settings.make({"prompt": "a castle", "seed": 1, "dtype": "float32", **more}).check())[0]


def test_the_number_grows_evenly_from_the_first_step_to_all_of_them() -> None:
    assert [GROWING.at(step).count for step in range(9)] == [2, 3, 4, 5, 6, 7, 8, 8, 8]
    long = replace(GROWING, count=32, start=4, grown=300)
    numbers = [long.at(step).count for step in range(301)]
    assert numbers[0] == 4 and numbers[299] == numbers[300] == 32 and numbers == sorted(numbers)
    assert sum(numbers[:300]) / 300 == pytest.approx(18, abs=0.1)
    assert shaken(count=8).at(0) == shaken(count=8)


def test_fewer_cutouts_span_the_sizes_as_all_of_them_do() -> None:
    growing = CutoutSettings(40, whole_views=0.25, smallest_view=0.2, start=4, grown=6)
    for step in (0, 3, 6):
        at = growing.at(step)
        plan = draw_cutouts(at, size=8, height=48, width=48, rngs=[torch.Generator().manual_seed(0)])
        sides = plan.matrices[:, 0, 0, 0].abs()
        whole = round(at.count * 0.25)
        assert whole and (sides[:whole] >= 1).all()  # the picture itself is always among them
        crops = sides[whole:]
        strata = (1 - crops) / 0.8 * len(crops)  # each crop in its own stretch between the largest and the smallest
        assert strata.floor().tolist() == list(range(len(crops)))


def test_the_loop_shows_so_many_to_each_clip_its_share_of_them() -> None:
    looks = [counting(), counting(share=0.5)]
    list(paint(DECODER, looks, first(), course=COURSE, cutouts=GROWING))
    assert [look.perceptor.seen for look in looks] == [[2, 3, 4, 5, 6, 7, 8], [1, 2, 2, 2, 3, 4, 4]]


def test_stages_do_not_begin_anew() -> None:
    look, stages = counting(), plan_stages(COURSE, (4, 5), coarse=0.5)
    assert len(stages) == 2
    list(paint_stages(DECODER, [look], first(stages[0].grid), stages=stages, cutouts=GROWING))
    assert look.perceptor.seen == [2, 3, 4, 5, 5, 6, 7, 8]  # the first stage's end is seen as it is, and enlarged


@pytest.mark.parametrize("moment", [0, 2, 5])
def test_going_on_from_any_step_is_the_same_painting_bit_for_bit(moment: int) -> None:
    stages = plan_stages(COURSE, (4, 5), coarse=0.5)
    run = {"stages": stages, "cutouts": GROWING, "encoder": DECODER}
    kept, whole = None, []
    for event in paint_stages(DECODER, [tiny_look()], first(stages[0].grid), **run):
        kept = event.state() if event.index == moment else kept
        whole.append(event.image)
    rest = [event.image for event in paint_stages(DECODER, [tiny_look()], kept, **run)]
    assert len(rest) == 7 - moment
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(rest, whole[moment:], strict=True))


def test_settings_reach_the_loop_and_change_the_picture(tiny_models, tmp_path, monkeypatch) -> None:
    from vqclip.store.perceptor import ClipPerceptor

    seen, look_at = [], ClipPerceptor.embed_image
    monkeypatch.setattr(ClipPerceptor, "embed_image", lambda self, x: (seen.append(len(x)), look_at(self, x))[1])
    job = resolve(Settings.make(tiny_models.settings(cutouts_start=1, cutouts=4, init="codes")))[0]
    delivery = Delivery(output=f"{tmp_path}/", device="cpu", threads=1, quiet=True)
    done = paint_picture(job, delivery, on_note=print)
    assert seen == [1, 2, 3, 4] and done.settings.cutouts_start == 1


def test_sketches_are_compared_by_all_the_cutouts(monkeypatch) -> None:
    class Reached(Exception):
        """Ends the choice."""

    def stop(*_, cutouts, **__):
        assert cutouts.at(0).count == 8
        raise Reached

    monkeypatch.setattr(sketch, "paint", stop)
    with pytest.raises(Reached):
        sketch._liked(torch.zeros(2, 6, 4, 5), settings(), None, [], GROWING, None)


@pytest.mark.parametrize("own", [{"cutouts": 8}, {}])
def test_more_at_the_first_step_than_at_the_last_is_refused(own) -> None:
    with pytest.raises(UsageError, match=r"cutouts_start is 900, more than the \d+ cutouts it grows to"):
        settings(cutouts_start=900, **own)


def test_a_graph_takes_as_many_at_every_step(tmp_path) -> None:
    delivery = Delivery(output=f"{tmp_path}/", device="cpu", graph=True, quiet=True)
    with pytest.raises(UsageError, match="as many cutouts at every step"):
        paint_picture(settings(cutouts_start=2), delivery, on_note=print)


def test_an_estimate_takes_the_mean_for_time_and_the_most_for_memory() -> None:
    all_along, growing = (settings(cutouts=32, coarse=0.0, **more) for more in ({}, {"cutouts_start": 8}))
    assert work_of(growing).look == pytest.approx(work_of(all_along).look * 20 / 32)
    assert work_of(growing).step_bytes == work_of(all_along).step_bytes
    # of the steps before 0.6 the mean is 15.2, of those from there on 27.2
    growing = growing.changed(coarse=0.6)
    assert work_of(growing).look == pytest.approx(work_of(all_along).look * 27.2 / 32)
    assert work_of(growing, level=1).look == pytest.approx(work_of(all_along).look * 15.2 / 32)
    cpu = Delivery(device="cpu", threads=1)
    assert estimate(growing, cpu).total < estimate(all_along.changed(coarse=0.6), cpu).total


def test_the_flag_is_understood_and_shown(capsys) -> None:
    assert main(["a castle", "--cutouts", "8", "--cutouts-start", "3", "--dry-run", "--seed", "1"]) == 0
    assert "cutouts_start" in capsys.readouterr().err
    assert main(["a castle", "--cutouts", "2", "--cutouts-start", "3", "--dry-run"]) == 2
    assert "cutouts_start is 3, more than the 2 cutouts" in capsys.readouterr().err
