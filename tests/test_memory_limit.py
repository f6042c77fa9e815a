"""A real limit on the memory of a process: the picture is fitted into it, or a step that did not fit is done again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vqclip.sinks.metadata import read_recipe

LIMITED = """
import re, resource, sys
import vqclip.runs.picture as room
from vqclip.cli.main import main

def limit(*taken, **more):
    status = open("/proc/self/status").read()
    most = int(sys.argv[2]) * 2**20 + int(re.search(r"VmData:\\s+(\\d+) kB", status)[1]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    return before(*taken, **more)

resource.setrlimit(resource.RLIMIT_DATA, (2**40, 2**40))  # there is a limit from the beginning, as a shell sets it
before = getattr(room, sys.argv[1])
setattr(room, sys.argv[1], limit)
sys.exit(main(sys.argv[3:]))
"""
SMALL = ["--device", "cpu", "--threads", "1", "--steps", "1", "--seed", "1", "--coarse", "0", "--init", "codes"]

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what is taken")


def painted(folder: Path, when: str, megabytes: int, *flags: str) -> tuple[Path, str]:
    """Paints with so much memory beyond what is taken at that call: the picture, and what was said."""
    how = [sys.executable, "-c", LIMITED, when, str(megabytes)]
    command = [*how, "a castle in fog", *SMALL, *flags, "-o", f"{folder}/"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return Path(ran.stdout.strip()), ran.stderr


def test_a_picture_is_fitted_into_the_limit_of_the_process_and_finished(tiny_models, tmp_path) -> None:
    size = ["--size", "512", "--cutouts", "32", "--dtype", "float32"]
    path, said = painted(tmp_path, "fit", 230, *tiny_models.flags(), *size, "--fit")
    notes = re.findall(r"--fit: (.*)", said)
    assert [text.split()[0] for text in notes] == ["CLIP", "the", "the"]  # views, then the decoder, then the size
    assert 64 <= Image.open(path).width < 512 and "out of memory" not in said
    assert read_recipe(path.read_bytes())["settings"]["lean"]


def test_a_step_that_meets_the_limit_of_the_process_is_done_again_with_half_the_views(tmp_path) -> None:
    # all views need about 320 MB, half of them about 190
    path, said = painted(tmp_path, "painting", 265, "--size", "64", "--cutouts", "256", "--dtype", "float32")
    sentence = "out of memory at step 0: CLIP now looks at 128 views at a time"
    assert sentence in said and sentence in read_recipe(path.read_bytes())["memory"]
