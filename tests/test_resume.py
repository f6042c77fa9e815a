"""A stopped picture goes on from its state, to the same pixels, and the line that does it is printed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch
from batches import pixels, stop_at

from vqclip.cli.main import main
from vqclip.engine.recovery import with_recovery
from vqclip.sinks.metadata import read_recipe
from vqclip.sinks.state import read_recipe_of_state, save_state

LONGER = ("--steps", "6", "--size", "32x32", "--cutouts", "2", "--seed", "5")


@pytest.fixture
def vqclip(tiny_models, tmp_path, monkeypatch, capsys):
    """Runs `vqclip ARGS` in a fresh folder; gives (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*args])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def stopped(vqclip, monkeypatch, tiny_models):
    """Paints a picture, stopped at a step; gives the command that was printed."""

    def paint(moment: int, *more: str) -> list[str]:
        with monkeypatch.context() as patch:
            stop_at(patch, moment)
            code, _, err = vqclip("a castle", *tiny_models.flags(), *LONGER, *more)
        assert code == 130
        (line,) = [line for line in err.splitlines() if "go on with: " in line]
        return shlex.split(line.split("go on with: ")[1])[1:]

    return paint


@pytest.mark.parametrize("moment", [0, 2, 5])
@pytest.mark.parametrize("more", [(), ("--coarse", "0.5", "--average", "0.9", "--init-weight", "1")])
def test_the_printed_line_goes_on_to_the_same_pixels(vqclip, stopped, tiny_models, moment, more) -> None:
    vqclip("a castle", *tiny_models.flags(), *LONGER, *more, "-o", "whole.png")
    line = stopped(moment, *more)
    assert read_recipe(Path("outputs/a-castle-5.png").read_bytes())["stopped"] == "by a signal"
    code, out, err = vqclip(*line)
    assert (code, out) == (0, "outputs/a-castle-5.png\n"), err
    assert pixels(out.strip()) == pixels("whole.png")
    assert sorted(path.name for path in Path("outputs").iterdir()) == ["a-castle-5.png"]


def test_it_can_be_stopped_again_and_a_picture_stands_for_its_state(vqclip, stopped, monkeypatch, tiny_models) -> None:
    vqclip("a castle", *tiny_models.flags(), *LONGER, "-o", "whole.png")
    line = stopped(1)
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        assert vqclip(*line)[0] == 130
    assert vqclip("resume", "outputs/a-castle-5.png", *tiny_models.flags())[0] == 0
    assert pixels("outputs/a-castle-5.png") == pixels("whole.png")


def test_states_are_kept_on_the_way_and_taken_away_at_the_end(vqclip, monkeypatch, tiny_models) -> None:
    import vqclip.runs.picture as room

    flags = [*tiny_models.flags(), *LONGER]
    vqclip("a castle", *flags, "-o", "whole.png", "--state-every", "2")
    assert [path.name for path in Path().iterdir()] == ["whole.png"]
    paint = room.painting

    def dying(*args, **more):
        for event in paint(*args, **more):
            if event.index == 5:
                raise SystemError("as if the power had gone")
            yield event

    with monkeypatch.context() as patch:
        patch.setattr(room, "painting", dying)
        assert vqclip("a castle", *flags, "-o", "x.png", "--state-every", "2")[0] == 1
    assert read_recipe_of_state(Path("x.png.state"))["settings"]["prompt"] == "a castle"
    code, out, err = vqclip("resume", "x.png.state", *tiny_models.flags())
    assert (code, out) == (0, "x.png\n") and "goes on from step 4" in err
    assert pixels("x.png") == pixels("whole.png") and not Path("x.png.state").exists()


def test_another_picture_of_that_name_is_never_replaced(vqclip, stopped, tiny_models) -> None:
    line = stopped(2)
    vqclip("fog", *tiny_models.flags(), *LONGER, "-o", "outputs/a-castle-5.png", "--overwrite")
    fog = pixels("outputs/a-castle-5.png")
    code, out, _ = vqclip(*line)
    assert (code, out) == (0, "outputs/a-castle-5-2.png\n") and pixels("outputs/a-castle-5.png") == fog


def test_a_private_picture_stays_private(vqclip, stopped) -> None:
    line = stopped(2, "--private")
    assert "--private" in line
    _, out, _ = vqclip(*line)
    assert b"castle" not in Path(out.strip()).read_bytes()
    assert [path.name for path in Path("outputs").iterdir()] == [Path(out.strip()).name]


def test_the_printed_line_says_again_how_the_picture_is_kept(vqclip, stopped) -> None:
    said = ["--threads", "1", "--save-every", "2", "--preview", "p.png", "--quality", "80", "--sidecar", "--json"]
    line = stopped(3, *said, "-o", "a.jpg")
    assert sorted(line[line.index("--clip") + 2 :]) == sorted([*said, "--device", "cpu"])
    assert vqclip(*line)[0] == 0
    assert Path("a.jpg.json").exists()


def test_what_cannot_go_on_is_told_in_a_sentence(vqclip, stopped, tiny_models) -> None:
    state = stopped(2)[1]
    cases = {
        ("resume", state): "file of its own",
        ("resume", state, "--vqgan", str(tiny_models.vqgan), "--clip", f"{tiny_models.clip}:2"): "another clip",
        ("resume", state, "--vqgan", str(tiny_models.vqgan), "--clip", "starter"): "another clip",
        ("resume", "none.png"): "there is no saved state 'none.png.state'",
        ("resume", "a", "b"): "one state or folder",
    }
    for args, words in cases.items():
        code, out, err = vqclip(*args)
        assert (code, out) == (2, "") and words in err and "Traceback" not in err, args
    Path(state).write_bytes(b"damaged")
    assert vqclip("resume", state)[0] == 2


def test_a_state_of_another_program_is_refused(tmp_path) -> None:
    save_state(tmp_path / "x.state", {"step": 1}, recipe=None)
    with pytest.raises(Exception, match="no saved state of a picture"):
        read_recipe_of_state(tmp_path / "x.state")


def test_a_halved_rate_is_remembered_by_the_state() -> None:
    from steps import make_step

    def start(state, factor):
        factors.append(factor)
        for n in range(8):
            yield make_step(n, 7, skipped=n if factor == 1 else 0, state={"skipped": torch.tensor(0)})

    factors: list[float] = []
    last = list(with_recovery(start, {}, every=3, tolerance=1))[-1]
    assert factors == [1.0, 0.5] and last.state()["factor"] == 0.5
    list(with_recovery(start, last.state(), every=3, tolerance=1))
    assert factors[2] == 0.5
