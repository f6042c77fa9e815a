import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vqclip.errors import UsageError
from vqclip.prompts import ClipChoice, Prompt, parse_clip, parse_image_prompt, parse_prompts, render, repair


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("a castle", [Prompt("a castle")]),
        ("a castle:1.2 | fog:0.5 | text:-0.3", [Prompt("a castle", 1.2), Prompt("fog", 0.5), Prompt("text", -0.3)]),
        ("a castle : 1.2 : .4", [Prompt("a castle", 1.2, 0.4)]),
        ("a castle:2:-1e-3", [Prompt("a castle", 2, -0.001)]),
        ("a:1:2:3", [Prompt("a:1", 2, 3)]),
        ("http://x:1", [Prompt("http://x", 1)]),
        ("http://x", [Prompt("http://x")]),
        ("C:\\x", [Prompt("C:\\x")]),
        ("C:\\x:0.5", [Prompt("C:\\x", 0.5)]),
        ("ratio 3:two", [Prompt("ratio 3:two")]),
        ("at 12\\:30", [Prompt("at 12:30")]),
        ("at 12:30 sharp", [Prompt("at 12:30 sharp")]),
        ("this \\| that|other", [Prompt("this | that"), Prompt("other")]),
        ("slash \\\\|next", [Prompt("slash \\"), Prompt("next")]),
        ("a:nan", [Prompt("a:nan")]),
        ("a:inf", [Prompt("a:inf")]),
        ("a:-inf", [Prompt("a:-inf")]),
        ("a:1:-inf", [Prompt("a", 1)]),
        ("a:\u0661", [Prompt("a:\u0661")]),
        ("a:", [Prompt("a:")]),
        ("", []),
    ],
)
def test_prompts_are_read_from_the_right(text: str, prompts: list[Prompt]):
    assert parse_prompts(text) == tuple(prompts)


@pytest.mark.parametrize("text", ["|", "a||b", "a|", "|a", "a | :2", ":2", "a | \x00"])
def test_an_empty_part_is_refused(text: str):
    with pytest.raises(UsageError, match=r"empty part|no text"):
        parse_prompts(text)


def test_a_weight_too_large_to_be_a_number_is_refused():
    with pytest.raises(UsageError, match="too large"):
        parse_prompts("a:1e999")


def test_negative_parts_push_whatever_sign_they_have():
    prompts = parse_prompts("a castle", negative="text | blur:0.5 | mud:-2:0.1")
    assert prompts[1:] == (Prompt("text", -1), Prompt("blur", -0.5), Prompt("mud", -2, 0.1))


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("cat.png", Prompt("cat.png")),
        ("cat.png:0.5", Prompt("cat.png", 0.5)),
        ("cat.png:0.5:0.2", Prompt("cat.png", 0.5, 0.2)),
        ("C:\\pics\\cat.png", Prompt("C:\\pics\\cat.png")),
        ("C:\\pics\\cat.png:-1", Prompt("C:\\pics\\cat.png", -1)),
        ("C:/pics/1", Prompt("C:/pics/1")),
        ("odd:2:1:-inf", Prompt("odd:2", 1)),
        ("a|b \udce9e\u0301.png", Prompt("a|b \udce9e\u0301.png")),
    ],
)
def test_image_prompts_keep_their_paths_to_the_byte(text: str, prompt: Prompt):
    assert parse_image_prompt(text) == prompt


@pytest.mark.parametrize("text", ["", "  ", ":0.5"])
def test_an_image_prompt_without_a_path_is_refused(text: str):
    with pytest.raises(UsageError, match="names no file"):
        parse_image_prompt(text)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("RN50x4/openai", ClipChoice("RN50x4/openai")),
        ("RN50x4/openai:0.5", ClipChoice("RN50x4/openai", 0.5)),
        ("RN50x4/openai:0.5:.25", ClipChoice("RN50x4/openai", 0.5, 0.25)),
        ("C:\\clips\\own.safetensors:2:1", ClipChoice("C:\\clips\\own.safetensors", 2)),
    ],
)
def test_a_clip_has_a_weight_and_a_share_of_the_cutouts(text: str, choice: ClipChoice):
    assert parse_clip(text) == choice


def test_undecoded_bytes_of_the_command_line_are_repaired():
    as_argv = "caf\u00e9 \U0001f3f0".encode().decode("ascii", "surrogateescape")
    assert repair(as_argv) == "caf\u00e9 \U0001f3f0"
    assert repair("caf\udce9") == "caf\ufffd"
    assert repair("\ud800") == "\ufffd"


def test_text_is_composed_and_loses_its_control_characters():
    assert repair("cafe\u0301\x00\x1b[2J\na\tb") == "caf\u00e9[2J a b"
    assert parse_prompts("a\x1b[31m castle") == (Prompt("a[31m castle"),)


def _texts() -> st.SearchStrategy[str]:
    tricky = st.text(st.sampled_from("ab|:\\ 0.5-e\u0301\ue000\ue001"), max_size=16)
    return st.one_of(st.text(max_size=30), tricky)


@given(_texts())
@example("a\\:2")
@example("\\")
@example("a:1:-inf")
@example("a\\\\:1:1")
def test_what_was_read_can_be_written_and_read_again(text: str):
    try:
        prompts = parse_prompts(text)
    except UsageError:
        return
    assert parse_prompts(render(prompts)) == prompts


@given(
    st.lists(
        st.builds(
            Prompt,
            _texts().map(lambda t: repair(t.replace("\ue000", "").replace("\ue001", "")).strip()).filter(bool),
            st.floats(allow_nan=False, allow_infinity=False),
            st.floats(allow_nan=False, allow_infinity=False) | st.just(-math.inf),
        ),
        max_size=4,
    )
)
def test_every_list_of_prompts_survives_the_round_trip(prompts: list[Prompt]):
    assert parse_prompts(render(prompts)) == tuple(prompts)
