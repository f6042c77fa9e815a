"""A sheet of pictures and what a model makes of them: people look at a training rather than read its losses."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from vqclip.errors import OutputError
from vqclip.events import TrainStep
from vqclip.ops.pixels import side_by_side, to_picture
from vqclip.sinks.publish import publish

if TYPE_CHECKING:
    from torch import Tensor

HEAD, SMALLEST = 22, 96


class Sheet:
    """Replaces one PNG with a fresh sheet every so many steps and at the end.

    look() gives the rows to show, each a name and images [B, 3, S, S] in [0, 1]. A sheet that cannot be written is
    given up with one note.
    """

    def __init__(
        self,
        path: Path,
        look: Callable[[], list[tuple[str, Tensor]]],
        *,
        every: int,
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        self._path = path
        self._look = look
        self._every = every
        self._on_note = on_note
        self._undrawn: TrainStep | None = None
        self._given_up = False

    def __call__(self, event: TrainStep) -> None:
        """Draws the sheet if its turn has come."""
        self._undrawn = event
        if event.index % self._every == 0 or event.is_last:
            self.close()

    def close(self) -> None:
        """Draws the sheet of the last step, if it is not drawn yet."""
        if self._given_up or self._undrawn is None:
            return
        event, self._undrawn = self._undrawn, None
        data = io.BytesIO()
        draw_sheet(self._look(), f"step {event.index} of {event.steps}").save(data, format="PNG")
        try:
            publish(self._path, data.getvalue(), overwrite=True, durable=False)
        except OutputError as error:
            self._given_up = True
            if self._on_note:
                self._on_note(f"no more sheets: {error.message}")


def draw_sheet(rows: list[tuple[str, Tensor]], title: str) -> Image.Image:
    """Rows of pictures, each under its name; the title stands at the right of the first."""
    strips = [(name, _strip(images)) for name, images in rows]
    width = max(strip.width for _, strip in strips)
    sheet = Image.new("RGB", (width, sum(strip.height + HEAD for _, strip in strips)), "white")
    pen, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(size=13), 0
    pen.text((width - 6, 4), title, fill="#333333", font=font, anchor="ra")
    for name, strip in strips:
        pen.text((6, top + 4), name, fill="#333333", font=font)
        sheet.paste(strip, (0, top + HEAD))
        top += strip.height + HEAD
    return sheet


def _strip(images: Tensor) -> Image.Image:
    """The pictures of a batch in one row, small ones enlarged so that they can be seen."""
    strip = to_picture(side_by_side(images))
    factor = -(-SMALLEST // strip.height)
    return strip.resize((strip.width * factor, strip.height * factor), Image.Resampling.NEAREST)
