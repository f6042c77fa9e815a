"""Pictures in and out of tensors: the one place where files' pixels, [0, 1] and [-1, 1] meet.

Loading this module does not load torch, so that a picture can be checked before anything heavy starts.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError

from vqclip.errors import PictureError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

# EPS and the like are left out on purpose: reading them would start other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "TIFF", "BMP")
MAX_PIXELS = 64 * 1024 * 1024
MAX_BYTES = 256 * 1024 * 1024

_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_signed(image: Tensor) -> Tensor:
    """Image in [0, 1] -> the same image in [-1, 1], the range the taming family was trained in."""
    return image * 2 - 1


def from_signed(image: Tensor) -> Tensor:
    """Image in [-1, 1] -> the same image in [0, 1]."""
    return (image + 1) / 2


def to_tensor(picture: Image.Image) -> Tensor:
    """A PIL picture -> float32 image [1, 3, H, W] in [0, 1]."""
    import torch

    pixels = torch.from_numpy(np.array(picture.convert("RGB")))
    return pixels.permute(2, 0, 1).unsqueeze(0).float().div(255).contiguous()


def to_picture(image: Tensor) -> Image.Image:
    """Image [1, 3, H, W] or [3, H, W], nominally in [0, 1] -> PIL RGB; clamped, rounded to nearest, ties to even.

    Raises: ValueError for any other shape. A pixel that is not a number becomes black.
    """
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"one RGB image [1, 3, H, W] is needed, not {list(image.shape)}")
    # Through the CPU in float32, so that the rounding is the same whatever painted it.
    pixels = image.detach().cpu().float().nan_to_num(0.0).clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def side_by_side(image: Tensor) -> Tensor:
    """The pictures of a batch in one row. Shapes: image [B, 3, H, W] -> [3, H, B * W]."""
    return image.permute(1, 2, 0, 3).flatten(2)


def fit(picture: Image.Image, width: int, height: int) -> Image.Image:
    """A picture resized to cover width x height pixels at its own aspect, what sticks out cut off evenly.

    Raises: ValueError if a side is below one pixel.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a picture needs at least one pixel each way, not {width}x{height}")
    if picture.size == (width, height):
        return picture.copy()
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def identify(data: bytes | BinaryIO, *, name: str = "the picture") -> Image.Image:
    """Opens a picture without decoding its pixels: format, size and metadata only.

    Raises: PictureError if it is empty, of no known format, broken, or larger than MAX_BYTES or MAX_PIXELS.
    """
    content = data if isinstance(data, bytes) else data.read(MAX_BYTES + 1)
    if not content:
        raise PictureError(f"{name} is empty (0 bytes)")
    if len(content) > MAX_BYTES:
        raise PictureError(f"{name} is larger than {MAX_BYTES // 2**20} MiB")
    picture = _opened(content, name)
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _too_large(f"{name} has {width} x {height} pixels")
    return picture


def open_picture(
    data: bytes | BinaryIO, *, background: str = "white", name: str = "the picture"
) -> tuple[Image.Image, list[str]]:
    """Reads any usual picture as plain 8-bit sRGB, upright and opaque, with notes on what had to be changed for that.

    Transparent parts are laid over `background` (a color name or #rrggbb); 16 bits are scaled, not cut off; an
    animation gives its first frame; `name` is what errors and notes call the picture.

    Raises: PictureError (see `identify`; also if the pixels are cut short or damaged); UsageError for no such color.
    """
    paper = background_color(background)
    picture = identify(data, name=name)
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture.load()
            if getattr(picture, "is_animated", False):
                notes.append(f"{name} has several frames: the first one is used")
            turn = _orientation(picture)
            flat = _flattened(picture, paper, name, notes)
    except MemoryError:
        raise
    # Decoders answer damaged bytes with nearly every kind of exception; none of them is a bug of ours.
    except Exception as error:
        raise PictureError(f"{name} is cut short or damaged: {_reason(error)}") from error
    return (flat.transpose(turn) if turn is not None else flat), notes


def background_color(color: str) -> tuple[int, int, int]:
    """A color name or #rrggbb -> three numbers of 0 to 255. Raises: UsageError if there is no such color."""
    try:
        red, green, blue = ImageColor.getrgb(color)[:3]
    except ValueError as error:
        hint = "use a name such as white, black or skyblue, or #rrggbb"
        raise UsageError(f"background: {color!r} is not a color", hint=hint) from error
    return red, green, blue


def _opened(content: bytes, name: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        hint = f"these can be read: {', '.join(FORMATS)}"
        raise PictureError(f"{name} is not a picture of a known kind, or is cut short", hint=hint) from error
    except Image.DecompressionBombError as error:
        raise _too_large(f"{name} is far too large") from error
    except Exception as error:
        raise PictureError(f"{name} is damaged: {_reason(error)}") from error


def _too_large(what: str) -> PictureError:
    return PictureError(f"{what}: more than {MAX_PIXELS // 2**20} megapixels are refused", hint="make it smaller first")


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _orientation(picture: Image.Image) -> Image.Transpose | None:
    """How the picture has to be turned; damaged EXIF is no reason to refuse good pixels."""
    try:
        return _ORIENTATIONS.get(picture.getexif().get(0x0112, 1))
    except Exception:
        return None


def _flattened(picture: Image.Image, paper: tuple[int, int, int], name: str, notes: list[str]) -> Image.Image:
    alpha = None
    profile, key = picture.info.get("icc_profile"), picture.info.get("transparency")
    if picture.mode.startswith("I"):
        # Converting 16 bits would cut off what is above 255, so the one transparent gray is looked up instead.
        alpha = Image.fromarray(np.where(np.asarray(picture) == key, 0, 255).astype(np.uint8))
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
        alpha = picture.getchannel("A")
    flat = _srgb(_eight_bits(picture, name, notes), profile, name, notes)
    if alpha is not None and alpha.getextrema()[0] < 255:
        notes.append(f"{name} is transparent in places: laid over rgb{paper}")
        page = Image.new("RGB", flat.size, paper)
        page.paste(flat, mask=alpha)
        flat = page
    flat.info.clear()
    return flat


def _eight_bits(picture: Image.Image, name: str, notes: list[str]) -> Image.Image:
    if picture.mode == "F":
        light = np.nan_to_num(np.asarray(picture))
        if light.max() > 1 or light.min() < 0:
            notes.append(f"{name} has values outside [0, 1]: they are clipped")
        return Image.fromarray(np.rint(light.clip(0, 1) * 255).astype(np.uint8))
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture).astype(np.uint32)
    if values.max() > 0xFFFF:
        values >>= 16
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _srgb(picture: Image.Image, profile: bytes | None, name: str, notes: list[str]) -> Image.Image:
    target = ImageCms.createProfile("sRGB")
    if picture.mode == "LAB":
        return ImageCms.profileToProfile(picture, ImageCms.createProfile("LAB"), target, outputMode="RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            # A profile speaks of one color space, and pictures are found whose pixels are stored in another.
            mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[source.profile.xcolor_space.strip()]
            if (mode == "CMYK") == (picture.mode == "CMYK"):
                return ImageCms.profileToProfile(picture.convert(mode), source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, KeyError, OSError, ValueError):
            notes.append(f"{name} has a color profile that cannot be used: read as sRGB")
    return picture.convert("RGB")
