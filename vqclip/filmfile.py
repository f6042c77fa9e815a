"""Reads film files: TOML to a checked timeline, with the line of whatever is wrong; and stories in one line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from vqclip.errors import UsageError
from vqclip.films import frame_count, turns
from vqclip.keyframes import ease
from vqclip.presets import inside, is_model_name, load_preset, merge, read_text
from vqclip.prompts import parse_prompts
from vqclip.settings import Checked, Settings
from vqclip.timeline import Brush, Camera, Motion, Paint, Scene, Timeline
from vqclip.tomlplaces import Place, key_places
from vqclip.words import counted

_Model = TypeVar("_Model", bound=Checked)


@dataclass(frozen=True)
class FilmFile:
    """A film file that was read: its timeline, the settings of its picture, its text, and where each key stands."""

    timeline: Timeline
    settings: Mapping[str, Any]
    sound: Path | None = None
    text: str = ""
    name: str = "the story"
    lines: Mapping[Place, int] = field(default_factory=dict)

    def where(self, *place: str | int) -> str:
        """Where a key stands: the file, its line if known, and in which table. Scenes are counted from 0."""
        return _where(self.name, self.lines, *place)


def read_film_file(path: Path) -> FilmFile:
    """Reads and checks a film file; its formulas are read when the film is planned.

    Raises: UsageError naming the file, the line and the key.
    """
    text = read_text(path)
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}", hint="see docs/reference/film-files.md") from error
    lines = {place: line for place, (line, _) in key_places(text).items()}
    where = partial(_where, str(path), lines)
    timeline = _timeline(values, where)
    picture = {key: inside(key, value, path) for key, value in timeline.picture.items()}
    scenes = tuple(_with_files(scene, path) for scene in timeline.scene)
    timeline = timeline.model_copy(update={"scene": scenes, "picture": picture})
    sound = Path(inside("sound", timeline.sound, path)) if timeline.sound else None
    return FilmFile(timeline, _settings(timeline, where), sound, text, str(path), lines)


def tell_story(
    text: str, *, every: int | None, fade: float, frames: int | None, seconds: float | None, fps: float
) -> FilmFile:
    """A film of prompts joined by `^`, each for `every` frames, again from the first where the film is longer.

    Without frames or seconds each prompt has its turn once; without `every` they share the film's time.
    Raises: UsageError.
    """
    parts = turns(text)
    if every is not None and every < 1:
        raise UsageError(f"--change-every {every}: give at least one frame")
    said = frames is not None or seconds is not None
    count = len(parts) * every if every and not said else frame_count(frames, seconds, fps)
    if count < len(parts) and not every:
        raise UsageError(
            f"{counted(count, 'frame is', 'frames are')} too few for {len(parts)} prompts", hint="try --seconds 10"
        )
    each = every or -(-count // len(parts))
    starts = range(0, count, each)
    scenes = [_turn(parts[n % len(parts)], min(each, count - start), fps, fade) for n, start in enumerate(starts)]
    scenes[0]["fade"] = 0.0
    timeline = _timeline({"frames": count, "fps": fps, "scene": scenes}, lambda *_: "the story")
    return FilmFile(timeline, {"prompt": parts[0]})


def _where(name: str, lines: Mapping[Place, int], *place: str | int) -> str:
    """The file, the line of a key (or of the table it is missing in), and which table that is."""
    known = [lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines]
    at = f"{name}:{known[0]}" if known else name
    tables = [str(one + 1) if isinstance(one, int) else one for one in place]
    words = " ".join(tables if place and isinstance(place[-1], int) else tables[:-1])
    return f"{at}: {words}" if words else at


def _timeline(values: Mapping[str, Any], where: Any) -> Timeline:
    made = dict(values)
    for key, model in (("camera", Camera), ("paint", Paint)):
        if key in made:
            made[key] = _table(model, made[key], where, key)
    scenes = made.get("scene")
    if not isinstance(scenes, list) or not scenes:
        raise UsageError(f"{where()}: there are no scenes", hint='begin one with [[scene]] and prompt = "..."')
    made["scene"] = [_scene(one, where, number) for number, one in enumerate(scenes)]
    timeline = Timeline.make(made, source=where)
    if timeline.seconds is not None and timeline.frames is not None:
        raise UsageError(f"{where('frames')}: seconds and frames both say how long the film is", hint="leave one out")
    return timeline


def _scene(values: Any, where: Any, number: int) -> Scene:
    values = dict(_checked(values, where, "scene", number))
    for key, model in (("camera", Motion), ("paint", Brush)):
        if key in values:
            values[key] = _table(model, values[key], where, "scene", number, key)
    scene = Scene.make(values, source=partial(where, "scene", number))
    try:
        parts = parse_prompts(scene.prompt)
        ease(scene.easing, 0.5)
    except UsageError as error:
        raise UsageError(f"{where('scene', number, 'prompt')}: {error.message}", hint=error.hint) from error
    if not (parts or scene.image_prompts):
        raise UsageError(f"{where('scene', number)}: it has no prompt", hint='add prompt = "..."')
    if scene.weights and len(scene.weights) != len(parts):
        said = f"{counted(len(parts), 'part')} of the prompt, but weights: {len(scene.weights)}"
        hint = "give one for each part between the | of the prompt"
        raise UsageError(f"{where('scene', number, 'weights')}: {said}", hint=hint)
    if number == 0 and scene.fade:
        raise UsageError(f"{where('scene', 0, 'fade')}: there is nothing before the first scene to fade from")
    return scene


def _table(model: type[_Model], values: Any, where: Any, *place: str | int) -> _Model:
    return model.make(dict(_checked(values, where, *place)), source=partial(where, *place))


def _checked(values: Any, where: Any, *place: str | int) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        table = [one for one in place if isinstance(one, str)]
        cure = f"begin it with [{'.'.join(table)}]"
        raise UsageError(f"{where(*place)}: {table[-1]!r} is a table of keys", hint=cure)
    return values


def _settings(timeline: Timeline, where: Any) -> dict[str, Any]:
    """The settings of a film's first picture. Raises: UsageError."""
    own, first = dict(timeline.picture), timeline.scene[0]
    for key in ("prompt", "negative", "image_prompts"):
        if key in own:
            raise UsageError(f"{where('picture', key)}: {key} belongs into a [[scene]]")
    Settings.make(own, source=partial(where, "picture"))
    if timeline.preset is not None and not is_model_name(timeline.preset, tagged=False):
        raise UsageError(f"{where('preset')}: {timeline.preset!r} is no name of a preset", hint="see `vqclip presets`")
    look = load_preset(timeline.preset).settings if timeline.preset else {}
    seed = {"seed": first.seed} if first.seed is not None else {}
    words = {"prompt": first.prompt, "negative": first.negative, "image_prompts": first.image_prompts}
    return merge(look, own, seed, words)


def _with_files(scene: Scene, path: Path) -> Scene:
    images = inside("image_prompts", list(scene.image_prompts), path)
    return scene.model_copy(update={"image_prompts": tuple(images)})


def _turn(prompt: str, frames: int, fps: float, fade: float) -> dict[str, Any]:
    return {"prompt": prompt, "seconds": frames / fps, "fade": min(fade, frames / fps)}
