"""The `parameters` text: what other tools read from us, and what we take from theirs."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from steps import start_python

from vqclip.sinks.infotext import read_infotext, write_infotext

OURS = {
    "prompt": "a castle",
    "negative": "fog",
    "steps": 300,
    "optimizer": "adam",
    "seed": 7,
    "width": 256,
    "height": 192,
}


def test_our_text_has_the_lines_that_other_tools_look_for():
    text = write_infotext(
        {**OURS, "vqgan": "f16, large", "clip": ("a", "b")}, version="vqclip 1", model_hash="0123abcd"
    )
    assert text.split("\n") == [
        "a castle",
        "Negative prompt: fog",
        'Steps: 300, Sampler: adam, Seed: 7, Size: 256x192, Model hash: 0123abcd, Model: "f16, large", '
        "CLIP: a + b, Version: vqclip 1",
    ]
    their_rule = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    assert dict(their_rule.findall(text.split("\n")[-1]))["Size"] == "256x192"


def test_what_was_written_is_read_back():
    expected = {key: OURS[key] for key in ("prompt", "negative", "seed", "width", "height")}
    assert read_infotext(write_infotext(OURS, version="1")) == expected
    assert (
        read_infotext(write_infotext({**OURS, "prompt": "two\nlines: here"}, version="1"))["prompt"]
        == "two\nlines: here"
    )


def test_a_text_of_another_tool_gives_prompt_seed_and_size_and_nothing_else():
    text = (
        "masterpiece, (castle:1.2), <lora:x:1>\nfog\nNegative prompt: blurry, bad\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1234567, "
        'Size: 640x512, Model: ../../evil.ckpt, Note: "a: b, c"'
    )
    assert read_infotext(text) == {
        "prompt": "masterpiece, (castle:1.2), <lora:x:1>\nfog",
        "negative": "blurry, bad",
        "seed": 1234567,
        "width": 640,
        "height": 512,
    }


def test_numbers_that_cannot_be_are_dropped():
    text = "x\nSteps: 1, Seed: 99999999999, Size: 0x512, Model: m"
    assert read_infotext(text) == {"prompt": "x"}
    assert read_infotext("x\nSteps: 1, Seed: -1, Size: 512x9999999, Model: m") == {"prompt": "x"}
    assert read_infotext("x\nSteps: 1, Seed: ٣, Size: 512, Model: m") == {"prompt": "x"}


def test_a_text_without_pairs_is_all_prompt():
    assert read_infotext("a castle: old, with fog") == {"prompt": "a castle: old, with fog"}
    assert read_infotext("Negative prompt: fog") == {"negative": "fog"}
    assert read_infotext("  \n ") == {}


@given(st.text(max_size=300))
@settings(max_examples=80, deadline=None)
def test_no_text_makes_the_reader_fail(text):
    assert set(read_infotext(text)) <= {"prompt", "negative", "seed", "width", "height"}


SLOW = """
import resource
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
from vqclip.sinks.infotext import read_infotext
repeated = (" " * 300_000, "a" * 300_000, 'a:"' * 100_000, "a -/" * 75_000)
for hostile in (*repeated, "a:" + " " * 300_000, 'a:"' + chr(92) * 300_000):
    assert set(read_infotext("x" + hostile + "y")) <= {"prompt", "negative"}
"""


def test_no_text_keeps_the_reader_busy():
    # In its own process with seconds of processor time: a pattern that can match in many ways would need minutes.
    process = start_python(SLOW)
    _, problem = process.communicate(timeout=300)
    assert process.returncode == 0, problem
