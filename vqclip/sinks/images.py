"""Pictures as files: the result with its recipe, and the frames on the way to it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from vqclip.errors import UsageError
from vqclip.ops.pixels import side_by_side, to_picture
from vqclip.sinks.metadata import exif_metadata, png_metadata, xmp_packet
from vqclip.sinks.names import SUFFIXES
from vqclip.sinks.publish import claim_folder, publish

if TYPE_CHECKING:
    from torch import Tensor

    from vqclip.events import Step

Show = Callable[["Tensor"], "Tensor"]
"""How a picture [B, 3, H, W] in [0, 1] is shown: another of its shape."""


def as_it_is(image: Tensor) -> Tensor:
    """Shows a picture as it was painted."""
    return image


def encode(
    picture: Image.Image,
    suffix: str,
    *,
    recipe: Mapping[str, Any] | None = None,
    private: bool = False,
    quality: int = 95,
    fast: bool = False,
) -> bytes:
    """A picture as the bytes of a PNG, JPEG or WebP, chosen by `suffix`, with its recipe inside (see `metadata`).

    A recipe of None writes no metadata at all. `quality` is for JPEG and WebP, `fast` for a PNG that is soon replaced.

    Raises: UsageError for any other suffix.
    """
    kind, out = suffix.lower(), io.BytesIO()
    if kind not in SUFFIXES:
        raise UsageError(f"pictures cannot be written as {suffix!r}", hint=f"known: {', '.join(SUFFIXES)}")
    if kind == ".png":
        extra = {} if recipe is None else {"pnginfo": png_metadata(recipe, private=private)}
        picture.save(out, "PNG", compress_level=1 if fast else 6, **extra)
        return out.getvalue()
    extra = {}
    if recipe is not None:
        extra["exif"] = exif_metadata(recipe, private=private)
        extra["xmp"] = xmp_packet(recipe, private=private, with_recipe=True)
    if kind == ".webp":
        picture.save(out, "WEBP", quality=quality, method=4, **extra)
    else:
        # Without color subsampling: painted edges are where the color is.
        picture.save(out, "JPEG", quality=quality, subsampling=0, **extra)
    return out.getvalue()


def save_result(
    image: Tensor | Image.Image,
    path: Path,
    *,
    recipe: Mapping[str, Any] | None,
    overwrite: bool = False,
    private: bool = False,
    quality: int = 95,
    sidecar: bool = False,
    same: Callable[[Path], bool] | None = None,
) -> Path:
    """Saves a finished picture and says under which name: `path`, or a numbered one if that is taken (see `publish`).

    `image` is [1, 3, H, W] in [0, 1] or a PIL picture. With `sidecar` the recipe lies beside it too, as
    `NAME.png.json`; a private picture gets none.

    Raises: OutputError; UsageError for a suffix that cannot be written.
    """
    picture = image if isinstance(image, Image.Image) else to_picture(image)
    data = encode(picture, path.suffix, recipe=recipe, private=private, quality=quality)
    final = publish(path, data, overwrite=overwrite, same=same)
    if sidecar and recipe is not None and not private:
        text = json.dumps(recipe, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        beside = final.with_name(final.name + ".json")
        publish(beside, text.encode("utf-8", "backslashreplace") + b"\n", overwrite=overwrite)
    return final


class SavePicture:
    """Saves every n-th picture of a loop, its first and its last, as `FOLDER/step-0050.png`; a batch side by side.

    The folder is made with the first frame; if `folder` is taken, a numbered one is made instead, so that frames of
    two runs never mix. With `resume` the folder of an interrupted run is gone on with. Frames carry no prompt, only
    what says that a model made them. show is how pictures are shown.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: int,
        recipe: Mapping[str, Any] | None = None,
        resume: bool = False,
        show: Show = as_it_is,
    ) -> None:
        self.folder = folder
        self.paths: list[Path] = []
        self._every = every
        self._recipe = recipe or {}
        self._ready = resume
        self._show = show

    def __call__(self, event: Step) -> None:
        """Saves the frame if its turn has come. Raises: OutputError."""
        if event.index % self._every and not event.is_last:
            return
        if not self._ready:
            self.folder, self._ready = claim_folder(self.folder), True
        digits = max(4, len(str(event.steps)))
        path = self.folder / f"step-{event.index:0{digits}}.png"
        picture = to_picture(side_by_side(self._show(event.image)))
        frame = encode(picture, ".png", recipe=self._recipe, private=True, fast=True)
        self.paths.append(publish(path, frame, overwrite=True, durable=event.is_last))
