"""From a shot list to frames: a chain of film loops, one for each scene, each going on from the last one's state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from vqclip.engine.canvas import State
from vqclip.engine.film import Shot, film
from vqclip.engine.paint import Look
from vqclip.engine.thrift import Thrift
from vqclip.errors import DivergedError
from vqclip.events import Frame
from vqclip.films import FilmSettings, renewals
from vqclip.ops.camera import Move, camera
from vqclip.ops.fade import fade, weighted
from vqclip.ops.losses import TotalVariation
from vqclip.prompts import parse_prompts
from vqclip.runs.parts import Note, Parts, make_looks, wrap_of
from vqclip.runs.shots import frame_course, make_carry, make_showing, renewed, sketched_anew
from vqclip.settings import Settings
from vqclip.shotlist import SceneShots, Script, ShotList

Coming = Literal["another", "again"] | None


def planned_frames(
    parts: Parts,
    settings: FilmSettings,
    shots: ShotList,
    state: State,
    *,
    device: torch.device,
    offline: bool,
    note: Note,
    thrift: Thrift | None = None,
) -> Iterator[Frame]:
    """Films a shot list: yields the frames still to come after `state`, as `engine.film.film` does.

    Each scene is a loop of its own from the state that the one before left, with the scene's own seed; memory is spent
    by all of them as one `thrift` says.
    Raises: as `film`; before the first frame ModelError, PictureError for what a scene wants to see.
    """
    thrift = thrift or Thrift(parts.settings.micro_batch, bool(parts.settings.lean))
    shot = _Shots(parts, settings, shots, device=device, offline=offline, note=note, thrift=thrift)
    ends = [*(scene.first for scene in shots.scenes[1:]), settings.painted]
    for scene, end in zip(shots.scenes, ends, strict=True):
        if state.get("frame", -1) + 1 >= end:
            continue
        if state.get("frame", -1) < scene.first:
            seed = parts.settings.seed if scene.seed is None else scene.seed
            state = {**state, "seeds": [seed or 0]}
        how = {"carry": make_carry(settings), "showing": make_showing(settings), "thrift": thrift}
        loop = film(parts.vqgan, parts.vqgan, state, shots=shot, frames=end, **how)
        try:
            for frame in loop:
                if frame.is_last:
                    state = frame.state()
                yield replace(frame, frames=settings.painted)
        except DivergedError as error:
            raise DivergedError(error.message, hint="give [paint] a smaller learning_rate") from error


def script_values(script: Script) -> dict[str, Any]:
    """A script as plain data, from which `read_script` makes the same one."""
    sound = str(script.sound) if script.sound else None
    return {"shots": script.shots.model_dump(mode="json"), "text": script.text, "sound": sound}


def read_script(values: Mapping[str, Any]) -> Script:
    """A script of plain data. Raises: ValueError, KeyError, TypeError if it is none."""
    shots = ShotList.model_validate_json(json.dumps(values["shots"]))
    return Script(shots, str(values["text"]), Path(values["sound"]) if values["sound"] else None)


def script_facts(script: Script) -> dict[str, Any]:
    """What a film's recipe says of its script: the film file or the story's prompts, name and sha256 of the sound."""
    prompts = [scene.prompt for scene in script.shots.scenes]
    facts: dict[str, Any] = {"timeline": script.text} if script.text else {"scenes": prompts}
    if script.sound is not None and script.sound.is_file():
        with script.sound.open("rb") as file:
            facts["sound"] = {script.sound.name: hashlib.file_digest(file, "sha256").hexdigest()}
    return facts


@dataclass(frozen=True)
class _Wanted:
    """The CLIPs with what a scene wants to see; texts is how many of its targets are text, those come first."""

    looks: Sequence[Look]
    texts: int


class _Shots:
    """What is done for frame n, n = 0, 1, ...; frame 0 is the first picture as it was painted.

    What all scenes want to see is embedded at once, so that nothing is found wrong after hours.
    """

    def __init__(
        self,
        parts: Parts,
        settings: FilmSettings,
        shots: ShotList,
        *,
        device: torch.device,
        offline: bool,
        note: Note,
        thrift: Thrift,
    ) -> None:
        self._parts, self._film, self._shots, self._thrift = parts, settings, shots, thrift
        dtype = torch.bfloat16 if parts.settings.dtype == "bfloat16" else torch.float32
        made: dict[tuple, Sequence[Look]] = {_words(parts.settings): parts.looks}

        def looks(scene: SceneShots) -> Sequence[Look]:
            if _words(scene) not in made:
                told = _told(parts.settings, scene)
                made[_words(scene)] = make_looks(
                    told, parts.cutouts, dtype=dtype, device=device, offline=offline, note=note
                )
            return made[_words(scene)]

        self._came = [one for number in range(len(shots.scenes)) for one in self._comings(number)]
        self._scenes = [
            _Wanted(looks(scene), len(parse_prompts(scene.prompt, scene.negative))) for scene in shots.scenes
        ]

    def __call__(self, index: int) -> Shot:
        at, settings = self._reader(index), self._parts.settings
        move = Move(
            at("zoom"),
            (at("pan_x"), at("pan_y")),
            at("rotate"),
            (at("shear_x"), at("shear_y")),
            (at("tilt_x"), at("tilt_y")),
        )
        matrix = camera(move, width=settings.width or 0, height=settings.height or 0)
        course = frame_course(self._parts, self._film, steps=int(at("steps")) if index else 0)
        extras = [extra for extra in self._parts.extras if extra[0] != "tv"]
        extras += [("tv", at("tv"), TotalVariation(wrap_of(settings)))] if at("tv") else []
        cutouts = replace(self._parts.cutouts, count=int(at("cutouts")))
        course = replace(course, learning_rate=at("learning_rate"))
        return Shot(matrix, self._looks(index), course, cutouts, extras, self._anew(index))

    def _comings(self, number: int) -> list[tuple[Coming, int]]:
        """For each frame of a scene how its prompt has come by a sketch the last time, and how many frames ago.

        Another prompt than before comes where more than half of it is there, any once more as the camera goes in.
        """
        scenes, shares = self._shots.scenes, self._shots.shares
        first = scenes[number].first
        end = scenes[number + 1].first if number + 1 < len(scenes) else len(shares)
        there = next((n for n in range(first, end) if shares[n] >= 0.5), end)
        another = number > 0 and scenes[number].prompt != scenes[number - 1].prompt
        later = renewals(self._shots.curves["zoom"][there:end], self._film.renew or 0.0)
        comes: Coming = "another" if another else None
        return [(None, 0)] * (there - first) + [("again" if times else comes, ago) for times, ago in later]

    def _anew(self, index: int) -> Callable[[Tensor], Tensor] | None:
        """What makes a frame anew for its prompt, where that comes for the first time or once more."""
        (coming, since), number = self._came[index], self._shots.scene_at(index)
        if coming is None:
            return None
        told, looks = _told(self._parts.settings, self._shots.scenes[number]), self._scenes[number].looks
        make = renewed if coming == "again" else sketched_anew
        return make(self._parts, self._film, told, looks, index=index, since=since, thrift=self._thrift)

    def _reader(self, index: int) -> Callable[[str], float]:
        return lambda name: self._shots.curves[name][index]

    def _looks(self, index: int) -> Sequence[Look]:
        """What is wanted at a frame: while a scene fades in, something between it and the one before."""
        number, share = self._shots.scene_at(index), self._shots.shares[index]
        now = self._weighted(number, index)
        if share >= 1:
            return now
        pairs = min(self._scenes[number].texts, self._scenes[number - 1].texts)
        return [
            replace(after, targets=fade(before.targets, after.targets, share, pairs=pairs))
            for before, after in zip(self._weighted(number - 1, index), now, strict=True)
        ]

    def _weighted(self, number: int, index: int) -> list[Look]:
        factors = self._shots.weights(number, index)
        return [replace(look, targets=weighted(look.targets, factors)) for look in self._scenes[number].looks]


def _words(scene: SceneShots | Settings) -> tuple[str, str, tuple[str, ...]]:
    return scene.prompt, scene.negative, scene.image_prompts


def _told(settings: Settings, scene: SceneShots) -> Settings:
    prompt, negative, images = _words(scene)
    return settings.changed(prompt=prompt, negative=negative, image_prompts=images)
