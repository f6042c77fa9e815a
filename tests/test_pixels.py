"""Pictures in: every mode comes out as the same plain RGB, and what is hostile or broken is refused in a sentence."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from vqclip.errors import PictureError, UsageError
from vqclip.ops.pixels import MAX_BYTES, fit, from_signed, open_picture, side_by_side, to_picture, to_signed, to_tensor

COLORS = [(200, 40, 60), (10, 220, 120), (128, 128, 128), (30, 60, 250)]


def saved(picture, kind="PNG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def painted(mode="RGB"):
    """8 x 8 pixels, four quarters of different colors."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    for n, color in enumerate(COLORS):
        y, x = divmod(n, 2)
        pixels[4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = color
    return Image.fromarray(pixels).convert(mode)


def error_between(picture, reference):
    """The mean difference per quarter and channel, at worst, in steps of 0 to 255."""
    difference = np.abs(np.asarray(picture, float) - np.asarray(reference.convert("RGB"), float))
    return difference.reshape(2, 4, 2, 4, 3).mean(axis=(1, 3)).max()


def gray_ramp(dtype):
    return (np.linspace(0, 1, 64).reshape(8, 8) * np.iinfo(dtype).max).astype(dtype)


LOSSLESS = {
    "rgb png": saved(painted()),
    "palette png": saved(painted().quantize(8)),
    "opaque rgba png": saved(painted("RGBA")),
    "bmp": saved(painted(), "BMP"),
    "gif": saved(painted().quantize(8), "GIF"),
    "tiff": saved(painted(), "TIFF", compression="tiff_lzw"),
    "lossless webp": saved(painted(), "WEBP", lossless=True),
    "best jpeg": saved(painted(), "JPEG", quality=100, subsampling=0),
    "avif": saved(painted(), "AVIF", quality=100, subsampling="4:4:4"),
    "cmyk tiff": saved(painted("CMYK"), "TIFF"),
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_every_kind_of_file_gives_the_same_colors(kind):
    picture, notes = open_picture(LOSSLESS[kind])
    assert picture.mode == "RGB"
    assert error_between(picture, painted()) < 2
    assert notes == []


def test_a_cmyk_jpeg_is_not_read_as_its_negative():
    picture, _ = open_picture(saved(painted("CMYK"), "JPEG", quality=100, subsampling=0))
    assert error_between(picture, painted()) < 2


def test_lab_colors_are_turned_into_rgb():
    tan = Image.new("RGB", (8, 8), (200, 160, 120))
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    picture, _ = open_picture(saved(ImageCms.profileToProfile(tan, srgb, lab, outputMode="LAB"), "TIFF"))
    assert error_between(picture, tan) < 2


def test_gray_and_black_and_white_become_rgb():
    assert error_between(open_picture(saved(painted("L")))[0], painted("L")) < 2
    assert error_between(open_picture(saved(painted("1")))[0], painted("1")) < 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_cut_off(kind):
    picture, _ = open_picture(saved(Image.fromarray(gray_ramp(np.uint16)), kind))
    expected = np.rint(gray_ramp(np.uint16) / 257.0)
    assert np.abs(np.asarray(picture)[..., 0] - expected).max() <= 1
    assert 120 < np.asarray(picture).mean() < 135


def test_one_transparent_gray_among_sixteen_bits_shows_the_background():
    rows = b"".join(b"\0" + struct.pack(">2H", 40000, 20000) * 4 for _ in range(8))
    key = b"tRNS" + struct.pack(">H", 40000)
    picture, notes = open_picture(png(8, 8, rows, depth=16, color=0, extra=[key]), background="#0a0b0c")
    assert picture.getpixel((0, 0)) == (10, 11, 12) and picture.getpixel((1, 0)) == (78, 78, 78)
    assert "transparent" in notes[0]


def test_damaged_rotation_data_does_not_cost_the_picture():
    data = saved(painted(), "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0" + b"XX*\0" + b"\xff" * 40)
    assert error_between(open_picture(data)[0], painted()) < 2


def test_sixteen_bit_color_is_scaled():
    rows = b"".join(b"\0" + struct.pack(">3H", 20000, 40000, 65535) * 8 for _ in range(8))
    picture, _ = open_picture(png(8, 8, rows, depth=16, color=2))
    assert np.abs(np.asarray(picture)[0, 0].astype(int) - [78, 156, 255]).max() < 2


def test_thirty_two_bits_and_floats_are_scaled():
    whole = Image.fromarray(gray_ramp(np.int32), mode=None)
    assert np.asarray(open_picture(saved(whole, "TIFF"))[0]).max() in (127, 128)
    light = Image.fromarray(np.linspace(0, 2, 64, dtype=np.float32).reshape(8, 8))
    picture, notes = open_picture(saved(light, "TIFF"))
    assert np.asarray(picture).max() == 255 and np.asarray(picture)[0, 4, 0] == round(4 / 63 * 2 * 255)
    assert "clipped" in notes[0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize(("background", "paper"), [("white", 255), ("#000000", 0), ("black", 0)])
def test_transparent_parts_show_the_background(mode, background, paper):
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 0)).convert(mode)
    flat, notes = open_picture(saved(picture), background=background)
    assert set(np.asarray(flat).ravel()) == {paper}
    assert "transparent" in notes[0]


def test_half_transparent_parts_are_mixed_and_a_transparent_palette_entry_counts():
    half = Image.new("RGBA", (8, 8), (200, 100, 0, 128))
    expected = [200 * 0.5 + 127.5, 100 * 0.5 + 127.5, 127.5]
    assert np.abs(np.asarray(open_picture(saved(half))[0])[0, 0] - expected).max() < 2
    palette = painted().quantize(8)
    index = palette.getpixel((0, 0))
    flat, _ = open_picture(saved(palette, transparency=index), background="#0000ff")
    assert flat.getpixel((0, 0)) == (0, 0, 255) and flat.getpixel((7, 7)) != (0, 0, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photo_comes_out_upright(orientation):
    upright = painted().crop((0, 0, 8, 4))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture, _ = open_picture(saved(stored, "PNG", exif=exif))
    assert picture.size == (8, 4)
    assert np.array_equal(np.asarray(picture), np.asarray(upright))


def test_an_animation_gives_its_first_frame_and_says_so():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        picture, notes = open_picture(saved(frames[0], kind, save_all=True, append_images=frames[1:]), name="cat.gif")
        red, _, blue = picture.getpixel((4, 4))
        assert red > 240 and blue < 15
        assert notes == ["cat.gif has several frames: the first one is used"]


def test_a_color_profile_is_turned_into_srgb():
    wide = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert error_between(open_picture(saved(painted(), icc_profile=wide))[0], painted()) < 2
    swapped = _with_red_and_green_swapped(wide)
    flat = open_picture(saved(Image.new("RGB", (8, 8), (200, 40, 60)), icc_profile=swapped))[0]
    red, green, _ = flat.getpixel((0, 0))
    assert abs(red - 40) < 3 and abs(green - 200) < 3


def test_a_useless_color_profile_is_left_out_with_a_note():
    picture, notes = open_picture(saved(painted(), icc_profile=b"not a profile at all"))
    assert error_between(picture, painted()) < 2
    assert "color profile" in notes[0]


def test_a_picture_that_was_read_carries_nothing_along():
    exif = Image.Exif()
    exif[0x010E] = "secret"
    picture, _ = open_picture(saved(painted(), "JPEG", exif=exif, comment=b"secret"))
    assert b"secret" not in saved(picture, "JPEG")


def test_bombs_are_refused_before_they_are_unpacked():
    # All three are a few kilobytes; below the first size Pillow itself only warns, and below the second says nothing.
    for width, height in ((20_000, 10_000), (10_000, 9_500), (8_193, 8_193)):
        bomb = png(width, height, bytes(10_000))
        assert len(bomb) < 24_000
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(PictureError, match="64 megapixels"):
                open_picture(bomb)


def test_a_text_bomb_in_a_picture_is_refused():
    text = b"zTXt" + b"Comment\0\0" + zlib.compress(b"a" * 5_000_000)
    with pytest.raises(PictureError) as caught:
        open_picture(png(8, 8, b"\0" * 25 * 8, extra=[text]))
    assert caught.value.exit_code == 5


def test_a_file_beyond_the_size_limit_is_not_read_to_its_end():
    class Endless(io.RawIOBase):
        def read(self, size=-1):
            assert size == MAX_BYTES + 1
            return b"x" * 10

    with pytest.raises(PictureError):
        open_picture(Endless())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_a_file_cut_short_is_refused(kind, part):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    whole = saved(noise, kind)
    with pytest.raises(PictureError, match=r"cat\.png"):
        open_picture(whole[: int(len(whole) * part)], name="cat.png")


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n", b"GIF89a"]
)
def test_what_is_no_picture_is_refused_in_one_line(content):
    with pytest.raises(PictureError) as caught:
        open_picture(content)
    assert "\n" not in caught.value.message and caught.value.exit_code == 5


def test_damaged_bytes_give_a_picture_or_a_refusal_and_nothing_else():
    rng = np.random.default_rng(1)
    for whole in LOSSLESS.values():
        for _ in range(12):
            damaged = bytearray(whole)
            for place in rng.integers(0, len(damaged), 4):
                damaged[place] = rng.integers(0, 256)
            try:
                assert open_picture(bytes(damaged))[0].mode == "RGB"
            except PictureError as error:
                assert error.message


def test_an_unknown_background_is_a_usage_error():
    with pytest.raises(UsageError, match="blurple"):
        open_picture(LOSSLESS["rgb png"], background="blurple")


def test_tensors_and_pictures_turn_into_each_other_without_loss():
    values = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(3, 16, 16)
    picture = Image.fromarray(values.permute(1, 2, 0).numpy())
    image = to_tensor(picture)
    assert image.shape == (1, 3, 16, 16) and image.dtype == torch.float32
    assert image.min() == 0 and image.max() == 1
    assert np.array_equal(np.asarray(to_picture(image)), np.asarray(picture))
    assert np.array_equal(np.asarray(to_picture(from_signed(to_signed(image)))), np.asarray(picture))


def test_a_tensor_is_clamped_rounded_and_freed_of_nan():
    image = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0, float("nan"), float("inf")]).expand(1, 3, 1, 6)
    assert np.asarray(to_picture(image))[0, :, 0].tolist() == [0, 0, 1, 255, 0, 255]
    assert to_picture(torch.rand(3, 4, 5, dtype=torch.bfloat16, requires_grad=True)).size == (5, 4)
    with pytest.raises(ValueError, match=r"\[2, 3, 4, 4\]"):
        to_picture(torch.rand(2, 3, 4, 4))


def test_a_batch_becomes_one_row():
    row = side_by_side(torch.stack([torch.zeros(3, 2, 4), torch.ones(3, 2, 4)]))
    assert row.shape == (3, 2, 8) and row[..., :4].max() == 0 and row[..., 4:].min() == 1


def test_signed_images_span_minus_one_to_one():
    assert to_signed(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-1, 0, 1]


def test_fit_keeps_the_aspect_and_cuts_the_middle_out():
    wide = Image.new("RGB", (60, 20), "red")
    wide.paste("blue", (20, 0, 40, 20))
    square = fit(wide, 10, 10)
    assert square.size == (10, 10)
    assert np.asarray(square)[:, 4:6].reshape(-1, 3).tolist() == [[0, 0, 255]] * 20
    assert fit(Image.new("RGB", (1, 500)), 32, 16).size == (32, 16)
    with pytest.raises(ValueError, match="one pixel"):
        fit(wide, 0, 10)


def png(width, height, rows, *, depth=8, color=2, extra=()):
    """A PNG made by hand, with whatever chunks."""
    head = b"IHDR" + struct.pack(">2I5B", width, height, depth, color, 0, 0, 0)
    chunks = [head, *extra, b"IDAT" + zlib.compress(rows, 9), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def _with_red_and_green_swapped(profile):
    """The same profile with its red and green primaries exchanged, so that using it shows."""
    count = struct.unpack(">I", profile[128:132])[0]
    table = bytearray(profile)
    for n in range(count):
        place = 132 + 12 * n
        name = bytes(table[place : place + 4])
        table[place : place + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(name, name)
    return bytes(table)
