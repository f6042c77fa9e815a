"""All that a picture depends on, as one frozen, strict model. Each default stands here, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vqclip.errors import UsageError
from vqclip.words import counted, did_you_mean

Init = Literal["prior", "codes", "noise", "gradient", "image"]
Optimizer = Literal["adam", "adamw", "radam", "nadam", "adamax", "adagrad", "rmsprop", "sgd"]
Schedule = Literal["constant", "cosine", "linear"]
CutoutMethod = Literal["views", "crops", "pooled"]
Tile = Literal["none", "x", "y", "both"]
Until = Literal["end", "plateau"]
Dtype = Literal["auto", "float32", "bfloat16"]
FilmFormat = Literal["mp4", "webm", "mov", "gif", "webp", "frames"]

MAX_SIDE = 8192
SEEDS = 2**32
"""How many seeds there are: 0 to this, less one."""


class Checked(BaseModel):
    """A frozen, strict model that says in a sentence what is wrong with a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def make(cls, values: dict[str, Any], *, source: str | Callable[[str], str] = "the settings") -> Self:
        """Checks a plain mapping and makes settings of it. source says where they stand, or where a key of them does.

        Raises: UsageError naming the first wrong key or value, `source`, and the nearest known key.
        """
        place = source if callable(source) else lambda _: source
        for key in values:
            if key not in cls.model_fields:
                raise UsageError(f"{place(key)}: unknown setting {key!r}", hint=did_you_mean(key, cls.model_fields))
            if key not in ("prompt", "negative") and "\0" in "".join(_texts(values[key])):
                raise UsageError(f"{place(key)}: {key} holds a NUL, which no name and no path can")
        try:
            return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            where = place(str(first["loc"][0]))
            raise UsageError(f"{where}: {name} = {first['input']!r}: {first['msg'].lower()}") from error

    def changed(self, **values: Any) -> Self:
        """A copy with some fields changed, checked again. Raises: UsageError."""
        return self.make({**self.model_dump(exclude_unset=True), **values})


def _texts(value: Any) -> list[str]:
    """A setting's words: itself, or those of a list."""
    return [part for part in (value if isinstance(value, list | tuple) else [value]) if isinstance(part, str)]


class Settings(Checked):
    """Everything that changes pixels. A field that is None means "the model's own", filled in before painting.

    Raises: UsageError (through `make`) for an unknown key, a value of the wrong kind or out of range.
    """

    # what to paint
    prompt: str = ""
    negative: str = ""
    image_prompts: tuple[str, ...] = ()
    seed: int | None = Field(None, ge=0, le=SEEDS - 1)

    # with what
    vqgan: str = "starter"
    clip: tuple[str, ...] | None = None
    vqgan_config: str | None = None

    # how large, how long
    width: int | None = Field(None, ge=16, le=MAX_SIDE)
    height: int | None = Field(None, ge=16, le=MAX_SIDE)
    steps: int | None = Field(None, ge=0, le=1_000_000)
    coarse: float | None = Field(None, ge=0, le=0.95)
    halvings: int | None = Field(None, ge=1, le=8)
    tile: Tile = "none"
    until: Until = "end"

    # the start
    init: Init | None = None
    prior: str | None = None
    sketches: int | None = Field(None, ge=1, le=64)
    sketch_again: int | None = Field(None, ge=0, le=16)
    refine: float | None = Field(None, ge=0, lt=1)
    guidance: float | None = Field(None, ge=0, le=30)
    init_image: str | None = None
    init_weight: float = Field(0.0, ge=0, le=1000)

    # the optimizer
    optimizer: Optimizer = "adam"
    learning_rate: float | None = Field(None, gt=0, le=100)
    schedule: Schedule | None = None
    taper: float | None = Field(None, gt=0, le=1)
    average: float | None = Field(None, ge=0, lt=1)

    # what CLIP sees
    cutouts: int | None = Field(None, ge=1, le=1024)
    cutouts_start: int | None = Field(None, ge=1, le=1024)
    cutout_method: CutoutMethod = "views"
    cutout_power: float = Field(1.0, gt=0, le=10)
    whole_views: float | None = Field(None, ge=0, le=1)
    smallest_view: float | None = Field(None, gt=0, le=1)
    noise: float | None = Field(None, ge=0, le=1)
    jitter: float | None = Field(None, ge=0, le=1)
    rotation: float | None = Field(None, ge=0, le=180)
    perspective: float | None = Field(None, ge=0, le=1)
    flip: bool | None = None
    grid_roll: bool = True
    antithetic: bool = False

    # further objectives
    tv: float | None = Field(None, ge=0, le=1000)

    # how it is shown
    calm: float | None = Field(None, ge=0, le=10)
    clarity: float | None = Field(None, ge=0, le=2)

    # how it is computed
    dtype: Dtype = "auto"
    micro_batch: int | None = Field(None, ge=1, le=1024)
    lean: bool | None = None
    background: str = "white"

    def check(self) -> Self:
        """Checks what no single field can: combinations. Raises: UsageError."""
        if not (self.prompt.strip() or self.image_prompts):
            raise UsageError("the prompt is empty", hint='say what to paint: vqclip "a castle in fog"')
        if self.init == "image" and not self.init_image:
            raise UsageError("init is 'image', but no init image is given", hint="add --init-image PATH")
        if self.init_image and self.init not in (None, "image"):
            raise UsageError(f"init is {self.init!r}, but an init image is given too", hint="leave one of them out")
        if self.prior is not None:
            self._check_prior()
        if self.clip == ():
            raise UsageError("no CLIP is named", hint="leave --clip out for the model's own")
        return self.check_cutouts()

    def check_cutouts(self) -> Self:
        """Checks what is said of the cutouts, again once the model's own number is known. Raises: UsageError."""
        if self.cutouts_start is not None and self.cutouts is not None and self.cutouts_start > self.cutouts:
            raise UsageError(
                f"cutouts_start is {self.cutouts_start}, more than the {counted(self.cutouts, 'cutout')} it grows to",
                hint="give fewer --cutouts-start, or more --cutouts",
            )
        if self.antithetic and self.cutout_method != "views":
            raise UsageError(
                f"antithetic pairs views, and the cutout method is {self.cutout_method!r}",
                hint="leave out --antithetic, or --cutout-method",
            )
        return self

    def _check_prior(self) -> None:
        if not (self.prior or "").strip():
            raise UsageError("no prior is named", hint="leave --prior out for the model's own")
        if self.init_image:
            raise UsageError("a prior is given, and an init image too", hint="leave one of them out")
        if self.init not in (None, "prior"):
            raise UsageError(f"init is {self.init!r}, but a prior is given too", hint="leave one of them out")


class Delivery(BaseModel):
    """What happens to a picture once it is painted, and how the run shows itself. Nothing here changes pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output: str | None = None
    number: int = Field(1, ge=1)  # which of several pictures this is, for {n} in output
    overwrite: bool = False
    save_every: int | None = Field(None, ge=1)
    state_every: int | None = Field(None, ge=1)
    state: str | None = None  # the file that keeps the loop's state; if it is there, the run goes on from it
    job: str | None = None  # the id of the batch's job that this picture is
    preview: str | None = None
    preview_every: float = Field(2.0, gt=0)
    video: bool = False
    video_seconds: float = Field(10.0, gt=0, le=3600)
    fps: float = Field(24.0, ge=1, le=240)
    film_format: FilmFormat = "mp4"
    metadata: Literal["full", "private"] = "full"
    sidecar: bool = False
    quality: int = Field(95, ge=1, le=100)
    device: str = "auto"
    threads: int | None = Field(None, ge=1, le=1024)
    deterministic: bool = False
    offline: bool = False
    fit: bool = False
    graph: bool = False
    quiet: bool = False
    json_lines: bool = False
