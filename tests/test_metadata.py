"""The recipe in a picture: it comes back exactly, says what made the picture, and does no harm when hostile."""

import io
import json
import random
import struct
import zlib
from xml.dom.minidom import parseString

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from steps import start_python

from vqclip.errors import PictureError
from vqclip.sinks.images import encode
from vqclip.sinks.metadata import MADE, MADE_FROM_A_PICTURE, describe, parse_recipe, read_recipe, xmp_packet

RECIPE = {
    "schema": 1,
    "settings": {
        "prompt": 'a castle "in" fog & <rain>: 日本 🏰 | text:-0.3',
        "negative": "blur",
        "seed": 42,
        "steps": 300,
        "width": 256,
        "height": 256,
        "vqgan": "starter",
        "clip": ["starter"],
        "learning_rate": 0.1,
    },
    "versions": {"vqclip": "0.1.0"},
    "models": {"starter": "sha256:0123456789abcdef"},
}
KINDS = [".png", ".jpg", ".JPEG", ".webp"]
PICTURE = Image.new("RGB", (8, 8), (90, 120, 30))


def with_prompt(prompt):
    return {**RECIPE, "settings": {**RECIPE["settings"], "prompt": prompt}}


def with_texts(**texts):
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    out = io.BytesIO()
    PICTURE.save(out, "PNG", pnginfo=info)
    return out.getvalue()


@pytest.mark.parametrize("suffix", KINDS)
def test_the_recipe_comes_back_from_every_kind_of_picture(suffix):
    data = encode(PICTURE, suffix, recipe=RECIPE)
    assert read_recipe(data) == {**RECIPE, "foreign": False}
    assert read_recipe(io.BytesIO(data)) == read_recipe(data)


@given(st.text(st.characters(), max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_prompt_comes_back_exactly(prompt):
    for suffix in (".png", ".jpg", ".webp"):
        assert read_recipe(encode(PICTURE, suffix, recipe=with_prompt(prompt)))["settings"]["prompt"] == prompt


@pytest.mark.parametrize("prompt", ["\udce9", "a\0b\x1b[2J\r\n", "‮x", "&quot;&amp;&#10;&copy", "]]>\ufffe"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_nasty_prompts_come_back_exactly(prompt, suffix):
    assert read_recipe(encode(PICTURE, suffix, recipe=with_prompt(prompt)))["settings"]["prompt"] == prompt


@pytest.mark.parametrize("suffix", KINDS)
def test_every_kind_of_picture_says_that_a_model_made_it(suffix):
    for private in (False, True):
        data = encode(PICTURE, suffix, recipe=RECIPE, private=private)
        assert MADE.encode() in data and b"vqclip 0.1.0" in data
    started = {**RECIPE, "settings": {**RECIPE["settings"], "init_image": "me.jpg"}}
    data = encode(PICTURE, suffix, recipe=started)
    assert MADE_FROM_A_PICTURE.encode() in data and MADE.encode() not in data


def test_other_tools_find_their_text():
    picture = Image.open(io.BytesIO(encode(PICTURE, ".png", recipe=RECIPE)))
    assert picture.info["Software"] == "vqclip 0.1.0"
    assert picture.info["parameters"].startswith(RECIPE["settings"]["prompt"] + "\nNegative prompt: blur\nSteps: 300, ")
    assert "Model hash: 0123456789" in picture.info["parameters"]
    assert picture.info["vqclip"].isascii() and json.loads(picture.info["vqclip"]) == RECIPE
    for suffix in (".jpg", ".webp"):
        exif = Image.open(io.BytesIO(encode(PICTURE, suffix, recipe=RECIPE))).getexif()
        comment = exif.get_ifd(0x8769)[0x9286]
        assert comment[:8] == b"UNICODE\0"
        assert comment[8:].decode("utf-16-be") == picture.info["parameters"]


def test_the_xmp_packet_is_well_formed_whatever_the_prompt():
    for prompt in ('a "quoted" & <tagged>', "\x00\x1b\ud800\uffff", "日本 🏰"):
        packet = xmp_packet(with_prompt(prompt), with_recipe=True)
        [node] = parseString(packet).getElementsByTagName("rdf:Description")
        assert json.loads(node.getAttribute("vqclip:recipe"))["settings"]["prompt"] == prompt
        assert node.getAttribute("xmp:CreatorTool") == "vqclip 0.1.0"


@pytest.mark.parametrize("suffix", KINDS)
def test_a_private_picture_tells_nothing_of_the_prompt_or_the_seed(suffix):
    recipe = with_prompt("my secret wish")
    recipe["settings"]["seed"] = 987654321
    data = encode(PICTURE, suffix, recipe=recipe, private=True)
    for secret in ("my secret wish", "987654321", "blur", "starter"):
        assert secret.encode() not in data and secret.encode("utf-16-be") not in data
    with pytest.raises(PictureError, match="no recipe"):
        read_recipe(data)


@pytest.mark.parametrize("suffix", KINDS)
def test_the_same_picture_and_recipe_give_the_same_file(suffix):
    assert encode(PICTURE, suffix, recipe=RECIPE) == encode(PICTURE, suffix, recipe=dict(reversed(RECIPE.items())))


@pytest.mark.parametrize("suffix", KINDS)
def test_a_prompt_as_long_as_a_book_never_costs_the_picture(suffix):
    for prompt in ("x" * 200_000, "🏰" * 50_000):
        data = encode(PICTURE, suffix, recipe=with_prompt(prompt))
        assert Image.open(io.BytesIO(data)).size == (8, 8) and MADE.encode() in data
    middling = with_prompt("x" * 40_000)
    assert read_recipe(encode(PICTURE, suffix, recipe=middling))["settings"] == middling["settings"]


def test_pictures_of_other_tools_give_prompt_seed_and_size():
    text = "a fox\nSteps: 20, Sampler: Euler a, Seed: 5, Size: 512x768"
    expected = {"prompt": "a fox", "seed": 5, "width": 512, "height": 768}
    assert read_recipe(with_texts(parameters=text)) == {"schema": 1, "settings": expected, "foreign": True}
    for codec in ("utf-16-be", "utf-16-le"):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(codec)
        out = io.BytesIO()
        PICTURE.save(out, "JPEG", exif=exif)
        assert read_recipe(out.getvalue())["settings"] == expected


@pytest.mark.parametrize(
    "recipe",
    [
        "{",
        "[]",
        "17",
        '{"settings": []}',
        '{"schema": 1}',
        '{"settings": {"x": NaN}}',
        '{"settings": {"x": -Infinity}}',
        '{"settings": {"x": 1e999}}',
        '{"settings": {"x": ' + "9" * 5000 + "}}",
        "[" * 100_000,
        '{"settings": {"x": ' + "[" * 50 + "]" * 50 + "}}",
        '{"settings": {"x": [' + "0," * 30_000 + "0]}}",
        '{"settings": {"x": "' + "y" * (1024 * 1024) + '"}}',
    ],
)
def test_a_recipe_that_is_broken_or_too_much_is_refused(recipe):
    with pytest.raises(PictureError) as caught:
        parse_recipe(recipe)
    assert caught.value.exit_code == 5 and "\n" not in caught.value.message
    if len(recipe) < 1024 * 1024:
        with pytest.raises(PictureError, match=r"cat\.png"):
            read_recipe(with_texts(vqclip=recipe), name="cat.png")


@pytest.mark.parametrize("chunk", [b"zTXtvqclip\0\0", b"iTXtvqclip\0\1\0\0\0"])
def test_a_text_bomb_is_refused_in_one_line(chunk):
    data = encode(PICTURE, ".png")
    bomb = chunk + zlib.compress(b"a" * 5_000_000)
    framed = struct.pack(">I", len(bomb) - 4) + bomb + struct.pack(">I", zlib.crc32(bomb))
    with pytest.raises(PictureError) as caught:
        read_recipe(data[:33] + framed + data[33:])
    assert caught.value.exit_code == 5 and "\n" not in caught.value.message


def test_pictures_without_a_recipe_and_files_that_are_no_pictures_are_refused():
    for data in (encode(PICTURE, ".png"), encode(PICTURE, ".jpg"), b"", b"<html>", encode(PICTURE, ".png")[:20]):
        with pytest.raises(PictureError):
            read_recipe(data)


def test_damaged_metadata_gives_a_recipe_or_a_refusal_and_nothing_else():
    rng = random.Random(2)
    for suffix in (".png", ".jpg", ".webp"):
        whole = encode(PICTURE, suffix, recipe=RECIPE)
        for _ in range(60):
            damaged = bytearray(whole)
            for _ in range(3):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            try:
                assert isinstance(read_recipe(bytes(damaged))["settings"], dict)
            except PictureError as error:
                assert error.message


def test_an_evil_recipe_is_shown_without_steering_the_terminal():
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m‮[/red]\nseed: 1\r\x08"
    recipe = parse_recipe(json.dumps({"x" + evil: evil, "settings": {evil: [evil], "prompt": evil}}))
    shown = describe(recipe)
    assert not set(shown) & set("\x1b\x07\x08\x9b\r‮")
    assert "\\u001b[2J" in shown and "[/red]" in shown
    assert len(shown.splitlines()) == 3


def test_reading_a_recipe_loads_no_torch(tmp_path):
    (tmp_path / "x.png").write_bytes(encode(PICTURE, ".png", recipe=RECIPE))
    code = (
        "import sys; from vqclip.sinks.metadata import describe, read_recipe; import vqclip.sinks.names, "
        "vqclip.sinks.images; print(describe(read_recipe(open(sys.argv[1], 'rb')))); assert 'torch' not in sys.modules"
    )
    said, problem = start_python(code, tmp_path / "x.png").communicate(timeout=300)
    assert "seed: 42" in said, problem
