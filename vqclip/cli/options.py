"""Every flag that says how to paint: one table, shared by `generate` and `again`, checked by Settings and Delivery."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from vqclip.cli import say
from vqclip.cli.limit import seconds_of
from vqclip.cli.network import is_offline
from vqclip.errors import UsageError
from vqclip.settings import (
    SEEDS,
    CutoutMethod,
    Delivery,
    Dtype,
    FilmFormat,
    Init,
    Optimizer,
    Schedule,
    Settings,
    Tile,
    Until,
)

MODELS_OWN = "model's own"
DRAWN = "drawn, and printed"

PAINT, LOOK, START, SEE, COMPUTE, OUTPUT = (
    "What to paint",
    "Size, time and look",
    "The start",
    "What CLIP sees",
    "How it is computed",
    "Where it goes",
)


@dataclass(frozen=True)
class Flag:
    """One option: the parameter it fills, how it is written, its type, its help, and what holds when it is not said."""

    name: str
    spellings: tuple[str, ...]
    kind: Any
    panel: str
    help: str
    metavar: str | None = None
    default: str | None = None
    hidden: bool = False


def flag(panel: str, spellings: str, kind: Any, text: str, metavar: str | None = None, **more: Any) -> Flag:
    """An option of a panel; `spellings` are separated by spaces, and the longest one names the parameter."""
    words = tuple(spellings.split())
    longest = next(word for word in words if word.startswith("--"))
    name = more.pop("name", longest[2:].split("/")[0].replace("-", "_"))
    return Flag(name, words, kind, panel, text, metavar, **more)


_flag = flag
FLAGS: tuple[Flag, ...] = (
    _flag(PAINT, "--negative", str, "What to stay away from: prompts that push instead of pull.", "TEXT"),
    _flag(
        PAINT,
        "--image-prompt",
        list[str],
        "A picture to resemble. May be repeated.",
        "PATH[:WEIGHT[:STOP]]",
        name="image_prompts",
    ),
    _flag(PAINT, "--seed", str, "The number all randomness comes from, or `random`.", "NUMBER", default=DRAWN),
    _flag(PAINT, "--count -n", int, "How many pictures: seed, seed + 1, ...", "NUMBER", default="1"),
    _flag(PAINT, "--prompt", str, "The prompt, by name.", "TEXT", name="prompt_flag", hidden=True),
    _flag(LOOK, "--steps", int, "How many steps to paint; 0 shows the start.", "NUMBER"),
    _flag(LOOK, "--size -s", str, "Width and height in pixels, as 512 384 or 512x384.", "W H", default=MODELS_OWN),
    _flag(LOOK, "--width", int, "Width alone, in pixels.", "PIXELS"),
    _flag(LOOK, "--height", int, "Height alone, in pixels.", "PIXELS"),
    _flag(
        LOOK,
        "--preset -P",
        str,
        "A named look, a .toml of your own, or a picture of vqclip to take the settings from.",
        "NAME|FILE",
        default="none",
    ),
    _flag(LOOK, "--lr", float, "Learning rate: how far each step goes.", "NUMBER", name="learning_rate"),
    _flag(LOOK, "--schedule", Schedule, "How the learning rate falls."),
    _flag(LOOK, "--taper", float, "What is left of the learning rate at each larger size of coarse to fine.", "0..1"),
    _flag(LOOK, "--optimizer", Optimizer, "Which torch optimizer takes the steps."),
    _flag(LOOK, "--average", float, "Smooths the result over the last steps: 0 for none, 0.99 for much.", "0..1"),
    _flag(LOOK, "--coarse", float, "Share of the steps painted at half the size first.", "0..1"),
    _flag(LOOK, "--halvings", int, "How often the size is halved for those steps: 2 begins at a quarter.", "NUMBER"),
    _flag(LOOK, "--tile", Tile, "Copies side by side show no seam: along x, y or both."),
    _flag(LOOK, "--until", Until, "plateau stops when nothing improves any more."),
    _flag(LOOK, "--tv", float, "Smoothness: how much neighboring pixels should agree.", "NUMBER"),
    _flag(LOOK, "--calm", float, "How strongly faint texture is smoothed where the picture is shown.", "0..10"),
    _flag(LOOK, "--clarity", float, "How much clearer it is shown than painted.", "0..2"),
    _flag(START, "--init", Init, "What the picture starts from."),
    _flag(START, "--prior", str, "The model that sketches the start; `vqclip train prior` makes one.", "NAME|FILE"),
    _flag(START, "--sketches", int, "How many sketches the prior makes; CLIP chooses one.", "NUMBER"),
    _flag(START, "--sketch-again", int, "How often it makes as many over the painting.", "NUMBER"),
    _flag(START, "--refine", float, "How much stays as the prior refines the painting at full size (0: all).", "0..1"),
    _flag(START, "--guidance", float, "How strictly the prior follows the prompt.", "NUMBER"),
    _flag(START, "--init-image", str, "A picture to start from.", "PATH"),
    _flag(START, "--init-noise", Literal["pixels", "gradient"], "Start from colored noise, or from a soft gradient."),
    _flag(START, "--init-weight", float, "How hard to hold on to the start.", "NUMBER"),
    _flag(START, "--background", str, "The color behind a see-through init image or image prompt.", "COLOR"),
    _flag(SEE, "--vqgan", str, "The model that paints: a name, or a file.", "NAME|FILE"),
    _flag(SEE, "--vqgan-config", str, "The .yaml or .json that belongs to a VQGAN file.", "FILE"),
    _flag(SEE, "--clip", list[str], "The model that looks. May be repeated.", "NAME[:WEIGHT[:SHARE]]"),
    _flag(SEE, "--cutouts", int, "How many views of the picture CLIP gets each step.", "NUMBER"),
    _flag(
        SEE,
        "--cutouts-start",
        int,
        "How many of them at the first step; the number grows evenly to all.",
        "NUMBER",
        default="all",
    ),
    _flag(SEE, "--cutout-method", CutoutMethod, "How views are cut."),
    _flag(SEE, "--cutout-power", float, "Above 1 prefers small cutouts, below 1 large ones.", "NUMBER"),
    _flag(SEE, "--whole-views", float, "Share of the views that show the whole picture.", "0..1"),
    _flag(SEE, "--smallest-view", float, "Smallest view, as a share of the short side.", "0..1"),
    _flag(SEE, "--noise", float, "Noise on the views.", "0..1"),
    _flag(SEE, "--jitter", float, "Color jitter of the views.", "0..1"),
    _flag(SEE, "--rotation", float, "Largest turn of a view.", "DEGREES"),
    _flag(SEE, "--perspective", float, "Tilt of the views.", "0..1"),
    _flag(SEE, "--flip/--no-flip", bool, "Mirror every other view."),
    _flag(SEE, "--grid-roll/--no-grid-roll", bool, "Shift the picture below its grid each step, against seams."),
    _flag(SEE, "--antithetic/--no-antithetic", bool, "Pairs of views that lie and lean opposite ways."),
    _flag(COMPUTE, "--device", str, "auto, cpu, cuda, cuda:1, mps ...; cuda:0,cuda:1 share the views.", "NAME[,NAME]"),
    _flag(COMPUTE, "--threads", int, "CPU threads.", "NUMBER", default="the physical cores, at most 8"),
    _flag(COMPUTE, "--dtype", Dtype, "Numbers to compute with."),
    _flag(
        COMPUTE, "--micro-batch", int, "Views at a time: fewer need less memory, same result.", "NUMBER", default="all"
    ),
    _flag(
        COMPUTE,
        "--lean/--no-lean",
        bool,
        "Decode again instead of remembering: less memory, same result.",
        default="above 1 megapixel",
    ),
    _flag(COMPUTE, "--deterministic", bool, "On a GPU, deterministic kernels where torch has them."),
    _flag(COMPUTE, "--graph", bool, "On a GPU, decoding, looking and the gradient as one CUDA graph."),
    _flag(COMPUTE, "--fit", bool, "Fit into the memory that is free, and say how."),
    _flag(
        COMPUTE, "--timeout", str, "Stop after this time as after Ctrl-C: seconds, or 90m, 2h.", "TIME", default="none"
    ),
    _flag(COMPUTE, "--offline", bool, "Never touch the network."),
    _flag(OUTPUT, "--output -o", str, "File, folder/ or template.", "PATH", default="outputs/{slug}-{seed}.png"),
    _flag(OUTPUT, "--overwrite", bool, "Replace a file of that name instead of counting on."),
    _flag(OUTPUT, "--save-every", int, "Keep the picture every so many steps.", "STEPS", default="the last only"),
    _flag(
        OUTPUT,
        "--state-every",
        int,
        "Keep the state every so many steps, to resume from.",
        "STEPS",
        default="if stopped",
    ),
    _flag(OUTPUT, "--preview", str, "A file that always holds the picture so far.", "FILE", default="none"),
    _flag(OUTPUT, "--video", bool, "Film how the picture came about, beside it."),
    _flag(OUTPUT, "--video-seconds", float, "How long that film is; its last frame is held.", "NUMBER"),
    _flag(OUTPUT, "--fps", float, "Frames of a film in a second.", "NUMBER"),
    _flag(OUTPUT, "--format", FilmFormat, "What a film is written as; frames: pictures alone.", name="film_format"),
    _flag(OUTPUT, "--quality", int, "Of JPEG and WebP.", "1..100"),
    _flag(OUTPUT, "--sidecar", bool, "Write the recipe next to the picture too, as JSON."),
    _flag(OUTPUT, "--private", bool, "Leave the prompt and the recipe out of the picture."),
    _flag(OUTPUT, "--json", bool, "One JSON object per picture on stdout.", name="json_lines"),
    _flag(OUTPUT, "--quiet -q", bool, "Say nothing but errors."),
    _flag(OUTPUT, "--dry-run", bool, "Show what would be done, and stop."),
)


# What may be said of a stopped picture that goes on: none of it changes the picture.
OF_GOING_ON = frozenset(
    {"device", "threads", "deterministic", "offline"}
    | {"save_every", "state_every", "preview", "quality", "sidecar", "private", "json_lines", "quiet"}
)


@dataclass(frozen=True)
class Asked:
    """What the flags said: settings (only those named), delivery, and what concerns the command line alone."""

    settings: Mapping[str, Any]
    delivery: Delivery
    preset: str | None = None
    count: int = 1
    dry_run: bool = False
    prompt: str | None = None
    fresh_seed: bool = False
    timeout: float | None = None


def flag_parameters(*, without: frozenset[str] = frozenset(), more: Sequence[Flag] = ()) -> list[inspect.Parameter]:
    """The flags as parameters of a command function, each None when not said; those of `more` come first.

    without names those of FLAGS that the command has not, or has in words of its own.
    """
    return [
        inspect.Parameter(
            flag.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                flag.kind | None,
                typer.Option(
                    *flag.spellings,
                    help=flag.help,
                    metavar=flag.metavar,
                    rich_help_panel=flag.panel,
                    show_default=_default_of(flag) or False,
                    hidden=flag.hidden,
                    case_sensitive=False,
                ),
            ],
        )
        for flag in (*more, *(one for one in FLAGS if one.name not in without))
    ]


def read_flags(values: Mapping[str, Any]) -> Asked:
    """Sorts what the flags said into settings, delivery and the rest.

    Raises: UsageError for a value out of range, or flags that contradict each other.
    """
    said = {key: value for key, value in values.items() if value is not None and value != []}
    settings = {key: said[key] for key in said if key in Settings.model_fields}
    if "seed" in settings:
        settings["seed"] = _seed(settings["seed"], quiet=bool(said.get("quiet")))
    settings |= _size(said)
    settings |= _noise(said)
    for key, value in settings.items():
        Settings.make({key: value}, source=_SPELLED.get(key, "the command line"))
    delivery = {key: said[key] for key in said if key in Delivery.model_fields}
    if is_offline(said.get("offline")):
        delivery["offline"] = True
    if said.get("private"):
        delivery["metadata"] = "private"
    from vqclip.sinks.names import SUFFIXES

    preview = said.get("preview")
    if preview and not preview.casefold().endswith(SUFFIXES):
        raise UsageError(f"--preview {preview}: the name must end with one of {', '.join(SUFFIXES)}")
    count = said.get("count", 1)
    if count < 1:
        raise UsageError(f"--count {count}: paint at least one picture")
    return Asked(
        settings,
        _delivery(delivery),
        preset=said.get("preset"),
        count=count,
        dry_run=bool(said.get("dry_run")),
        prompt=said.get("prompt_flag"),
        fresh_seed=str(said.get("seed")).casefold() == "random",
        timeout=seconds_of(said["timeout"]) if "timeout" in said else None,
    )


def going_on_flags(delivery: Delivery) -> list[str]:
    """The flags that say again what a delivery says, of those that a stopped picture may go on with."""
    words: list[str] = []
    for flag in FLAGS:
        key = "metadata" if flag.name == "private" else flag.name
        if flag.name in OF_GOING_ON and (value := getattr(delivery, key)) != Delivery.model_fields[key].default:
            words += [_SPELLED[flag.name], *([str(value)] if flag.kind is not bool else [])]
    return words


_SPELLED = {flag.name: next(word for word in flag.spellings if word.startswith("--")) for flag in FLAGS}


def _default_of(flag: Flag) -> str | None:
    if flag.default or flag.name in ("image_prompts", "negative", "init_image", "vqgan_config", "init_noise"):
        return flag.default
    for model in (Settings, Delivery):
        if flag.name in model.model_fields:
            value = model.model_fields[flag.name].default
            if value is None:
                return MODELS_OWN
            return None if value is False else "on" if value is True else str(value)
    return None


def _seed(text: str, *, quiet: bool) -> int:
    if text.strip().casefold() == "random":
        import secrets

        return secrets.randbelow(SEEDS)
    try:
        number = int(text, 10)
    except ValueError:
        raise UsageError(
            f"--seed {text!r:.80} is no whole number", hint="give a number from 0 to 4294967295, or `random`"
        ) from None
    if number < SEEDS:
        return number
    if not quiet:
        say.note(f"--seed {number} is taken as {number % SEEDS}: seeds go up to {SEEDS - 1}")
    return number % SEEDS


def _size(said: Mapping[str, Any]) -> dict[str, int]:
    if "size" not in said:
        return {}
    sides = said["size"].casefold().replace("×", "x").split("x")
    if not (1 <= len(sides) <= 2 and all(side.strip().isascii() and side.strip().isdigit() for side in sides)):
        raise UsageError(f"--size {said['size']!r} is no size", hint="write --size 512 384 or --size 512x384")
    size = {"width": int(sides[0]), "height": int(sides[-1])}
    return {side: said.get(side, value) for side, value in size.items()}


def _noise(said: Mapping[str, Any]) -> dict[str, str]:
    if "init_noise" not in said:
        return {}
    if "init" in said or "init_image" in said:
        raise UsageError(
            "--init-noise is a start of its own", hint="leave out --init and --init-image, or --init-noise"
        )
    return {"init": {"pixels": "noise", "gradient": "gradient"}[said["init_noise"]]}


def _delivery(values: dict[str, Any]) -> Delivery:
    from pydantic import ValidationError

    try:
        return Delivery(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{name} {first['input']}: {first['msg'].lower()}") from error
