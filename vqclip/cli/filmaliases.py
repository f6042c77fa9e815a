"""Old spellings of films: what `-vid`, `-zvid` and the flags around them said, in the words of today."""

from __future__ import annotations

import math
from collections.abc import Mapping

from vqclip.errors import UsageError
from vqclip.words import counted

FILM_FLAGS = {"-vid": "video", "-zvid": "zoom_video", "--zoom_video": "zoom_video"}
FILM_VALUES = {
    **dict.fromkeys(("-zs", "--zoom_start"), "start"),
    **dict.fromkeys(("-zse", "--zoom_save_every"), "every"),
    **dict.fromkeys(("-zsc", "--zoom_scale"), "scale"),
    **dict.fromkeys(("-zsx", "--zoom_shift_x"), "x"),
    **dict.fromkeys(("-zsy", "--zoom_shift_y"), "y"),
    **dict.fromkeys(("-vl", "--video_length"), "length"),
    **dict.fromkeys(("-ofps", "--output_video_fps"), "fps"),
    **dict.fromkeys(("-ifps", "--input_video_fps"), "input_fps"),
    **dict.fromkeys(("-cpe", "--change_prompt_every"), "change"),
    **dict.fromkeys(("-vsd", "--video_style_dir"), "folder"),
}
# What the old program did when nothing was said.
_DEFAULTS = {
    "start": 0,
    "every": 10,
    "scale": 0.99,
    "x": 0,
    "y": 0,
    "length": 10,
    "fps": 0,
    "input_fps": 15,
    "change": 0,
}
_ITERATIONS = 500
_PICTURES = ("--prompt=", "--image-prompt=", "--init-image=", "--preview=")
_SLOWEST, _FASTEST = 10, 60


def film_arguments(film: Mapping[str, str], args: list[str], notes: list[str]) -> tuple[str | None, list[str]]:
    """The command, None if it stays, and its arguments: `args`, and what old flags said of a film in words of today.

    In the old program a zoom saved a frame every so many iterations and shifted the picture's pixels, so a shift to
    the right is a camera that goes left, and what leaves on one side comes in on the other.
    Raises: UsageError for a value that is no number, or a story without a zoom.
    """
    said = {name: _number(film, name) for name in _DEFAULTS}
    if "folder" in film:
        return "restyle", _restyle(film, said, args, notes)
    if "zoom_video" in film:
        return "zoom", _zoom(film, said, args, notes)
    if "story" in film:
        raise UsageError(
            "a story (prompts joined by ^) is told by a film", hint="add -zvid, or: vqclip zoom PROMPT --story PROMPT"
        )
    if "video" not in film and film.keys() & {"scale", "x", "y", "start", "every", "change"}:
        notes.append("the old flags of a zoom do nothing without -zvid")
    if "video" not in film:
        return None, args
    more = [f"--fps={said['fps']:g}"] if said["fps"] else []
    return None, [*args, "--video", f"--video-seconds={said['length']:g}", *more]


def _zoom(film: Mapping[str, str], said: Mapping[str, float], args: list[str], notes: list[str]) -> list[str]:
    iterations, every = _steps(args), max(1, round(said["every"]))
    frames = max(1, round(iterations - said["start"]) // every)
    kept = [_as_film(arg) for arg in args if not arg.startswith(("--steps=", "--save-every="))]
    fps = said["fps"] or min(max(frames / max(said["length"], 1e-3), _SLOWEST), _FASTEST)
    made = [f"--frames={frames}", f"--fps={fps:.6g}", f"--steps-per-frame={every}", f"--zoom={said['scale']:g}"]
    if said["start"]:
        made.append(f"--steps={round(said['start'])}")
    rates = [arg.replace("--lr=", "--frame-lr=") for arg in args if arg.startswith("--lr=")]
    if said["x"] or said["y"]:
        made += [f"--pan={-said['x']:g},{-said['y']:g}", "--rim=wrap"]
    if film.get("story"):
        made += [f"--story={part}" for part in film["story"].split("^")]
        change = round(said["change"]) or iterations // (film["story"].count("^") + 2)
        made.append(f"--change-every={max(1, change // every)}")
    notes.append(f"-zvid: filmed as vqclip zoom, {counted(frames, 'frame')} at {fps:.6g} in a second")
    return [*kept, *made, *rates]


def _restyle(film: Mapping[str, str], said: Mapping[str, float], args: list[str], notes: list[str]) -> list[str]:
    """The old program began every frame anew, with as many iterations as were said for one picture."""
    if "story" in film or "zoom_video" in film:
        raise UsageError("-vsd paints over frames: no story and no zoom goes with it", hint="leave out ^ and -zvid")
    flags = {"--init-weight=": "--source-weight=", "--lr=": "--frame-lr="}
    kept = [_as_film(arg) for arg in args if not arg.startswith(("--init-image=", "--save-every=", "--init-weight="))]
    made = [arg.replace(old, new) for old, new in flags.items() for arg in args if arg.startswith(old)]
    if any(arg.startswith("--steps=") for arg in args):
        made.append(f"--steps-per-frame={_steps(args)}")
    fps = said["fps"] or (said["input_fps"] if "input_fps" in film else 0)
    made += [f"--fps={fps:g}"] if fps else []
    folder = film["folder"]
    notes.append("-vsd: painted over as vqclip restyle, each frame going on from the one before")
    return [f"./{folder}" if folder.startswith("-") else folder, *kept, *made]


def _as_film(arg: str) -> str:
    """The old program called a film like its picture."""
    name = arg.removeprefix("--output=")
    return arg.removesuffix(".png") + ".mp4" if name.endswith(".png") and not arg.startswith(_PICTURES) else arg


def _steps(args: list[str]) -> int:
    found = [arg.removeprefix("--steps=") for arg in args if arg.startswith("--steps=")]
    if not found:
        return _ITERATIONS
    if not found[-1].isdecimal():
        raise _no_number(found[-1])
    return int(found[-1])


def _number(film: Mapping[str, str], name: str) -> float:
    try:
        value = float(film.get(name, _DEFAULTS[name]))
    except ValueError:
        raise _no_number(film[name]) from None
    if not math.isfinite(value):
        raise _no_number(film[name])
    return value


def _no_number(text: str) -> UsageError:
    return UsageError(f"{text!r} is no number (an old flag of a film)", hint="see docs/guides/films.md")
