import torch

from vqclip.engine.streams import stream


def _draw(*name):
    return torch.rand(4, generator=stream(*name))


def test_a_name_always_gives_the_same_numbers_whatever_was_drawn_before():
    before = _draw(7, "cutouts", 3)
    torch.rand(100)
    _draw(7, "cutouts", 2)
    assert torch.equal(_draw(7, "cutouts", 3), before)


def test_other_seeds_names_and_steps_give_other_numbers():
    names = [
        (7, "cutouts", 3),
        (8, "cutouts", 3),
        (7, "init", 3),
        (7, "cutouts", 4),
        (7, "cutouts", 3, 0),
        (73, "cutouts"),
    ]
    assert len({tuple(_draw(*name).tolist()) for name in names}) == len(names)


def test_the_numbers_are_these_for_ever():
    torch.testing.assert_close(_draw(0, "init"), torch.tensor(EXPECTED), rtol=0, atol=0)


EXPECTED = [0.7409572005271912, 0.191933274269104, 0.22543668746948242, 0.803321123123169]
