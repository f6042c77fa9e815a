import json
import random
from pathlib import Path
from typing import Any

import pytest
from door import RECIPE, Door
from PIL import Image
from watch import small, watched

from vqclip.sinks.images import encode
from vqclip.sinks.metadata import png_metadata

DOCUMENTED = {0, 2, 3, 4, 5, 6, 7, 8}
WORDS = ("", "\0", "\ud800", "\u202e", "\x1b[2J", "<script>", "../../x.ckpt", "/etc/passwd", "1e999", "NaN", "9" * 400)
VALUES: tuple[Any, ...] = (None, True, -1, 0, 2**31, 2**70, -0.0, 1e308, "", [], {}, [[]], {"a": {"a": []}}, *WORDS)


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Door:
    monkeypatch.chdir(tmp_path)
    return Door(monkeypatch, capsys)


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flips, cuts, doubles, moves and inserts; the beginning, where the headers are, most of all."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        end = max(1, len(changed) if rng.random() < 0.5 else min(len(changed), 400))
        at, length = rng.randrange(end), rng.choice((1, 2, 4, 40, 400))
        match rng.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                changed[at : at + length] = rng.randbytes(length)
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                del changed[at:]
            case _:
                changed[at : at + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
        if not changed:
            break
    return bytes(changed)


def mutated_recipe(rng: random.Random) -> dict[str, Any]:
    """A recipe whose parts have other values, kinds and names than they should."""
    settings: dict[str, Any] = {**RECIPE["settings"], "width": 64, "height": 64, "vqgan": "starter", "init": "codes"}
    recipe: dict[str, Any] = {"schema": 1, "settings": settings, "models": {"starter": "0" * 64}, "threads": 1}
    for _ in range(rng.randint(1, 4)):
        part = rng.choice((recipe, settings, settings, settings, recipe["models"]))
        if not isinstance(part, dict):
            continue
        key = rng.choice([*part, "image_prompts", "init_image", "versions", "device", "capability", *WORDS[:6]])
        if key not in ("settings", "models") or rng.random() < 0.1:
            part[key] = rng.choice(VALUES)
    return recipe


def written(path: Path, rng: random.Random) -> None:
    """One damaged picture: its bytes, the recipe's values, or the text of the recipe; or a recipe alone."""
    if path.suffix == ".json":
        text = json.dumps(mutated_recipe(rng)).encode()
        path.write_bytes(mutated_bytes(text, rng) if rng.random() < 0.5 else text)
        return
    picture = Image.effect_noise((24, 16), 60).convert("RGB")
    if rng.random() < 0.5:
        path.write_bytes(mutated_bytes(encode(picture, path.suffix, recipe=RECIPE), rng))
        return
    info = png_metadata(RECIPE, private=True)
    text = json.dumps(mutated_recipe(rng))
    if rng.random() < 0.3:
        text = mutated_bytes(text.encode(), rng).decode("latin-1")
    info.add_text(rng.choice(("vqclip", "vqclip", "vqclip", "parameters")), text, zip=rng.random() < 0.5)
    picture.save(path, "PNG", pnginfo=info)


def checked(door: Door, *args: str) -> int:
    with watched():
        ran = door(*args)
    assert ran.code in DOCUMENTED, ran.err
    errors = [line for line in ran.err.splitlines() if line.startswith(("error: ", '{"error": '))]
    assert len(errors) == (ran.code != 0) and "Traceback" not in ran.err
    assert "\x1b" not in ran.out + ran.err
    return ran.code


def run_all(door: Door, count: int, seed: int) -> dict[str, set[int]]:
    rng = random.Random(seed)
    codes: dict[str, set[int]] = {"show": set(), "again": set(), "gallery": set()}
    for n in range(count):
        path = Path(f"{n}{rng.choice(('.png', '.png', '.jpg', '.webp', '.json'))}")
        written(path, rng)
        codes["show"] |= {checked(door, "show", str(path), *rng.choice(([], ["--json"], ["--toml"])))}
        codes["again"] |= {checked(door, "again", str(path), *rng.choice(([], ["--dry-run"])))}
    codes["gallery"] |= {checked(door, "gallery", "."), checked(door, "sheet", ".", "--side", "16")}
    return codes


def test_some_damaged_pictures_end_in_a_sentence(door: Door):
    assert run_all(door, 12, seed=0)["gallery"] == {0}


@pytest.mark.long
def test_five_hundred_damaged_pictures_end_in_a_sentence_and_stay_small(door: Door):
    with small():
        codes = run_all(door, 500, seed=1)
    assert codes["gallery"] == {0}
    assert {0, 5} <= codes["show"] and {0, 2, 5} <= codes["again"], "the damage reached no further than the file"
