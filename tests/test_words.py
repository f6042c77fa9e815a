"""Small help with words."""

from vqclip.words import counted


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(number, "picture") for number in (0, 1, 2)] == ["0 pictures", "1 picture", "2 pictures"]
    assert [counted(number, "frame is", "frames are") for number in (1, 1200)] == ["1 frame is", "1200 frames are"]
    assert counted(1200, "byte", form=",") == "1,200 bytes"
    assert [counted(minutes, "minute", form="g") for minutes in (1.0, 1.5)] == ["1 minute", "1.5 minutes"]
