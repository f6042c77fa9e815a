"""From a film file to its shot list: every formula read, and worked out for every frame, before anything runs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from vqclip.errors import UsageError
from vqclip.filmfile import FilmFile
from vqclip.films import FilmSettings, film_values, frame_count, loop_frames
from vqclip.keyframes import Curve, ease, parse_curve
from vqclip.shotlist import BEATS, LEVELS, LIMITS, TIME, WHOLE, Heard, SceneShots, ShotList
from vqclip.timeline import Motion

_STILL = {**dict.fromkeys(Motion.model_fields, 0.0), "zoom": 1.0}
_WEIGHT = (-100.0, 100.0)


def plan_film(
    file: FilmFile, *, defaults: Mapping[str, float], heard: Heard | None = None
) -> tuple[ShotList, FilmSettings]:
    """Works out every curve of a film file at every frame, and the settings of the film.

    defaults holds the value of each curve of the painting (steps, learning_rate, cutouts, tv) that the file leaves
    open; the camera then stands still.
    Raises: UsageError naming file, line, key, and the frame at which a value goes wrong.
    """
    timeline = file.timeline
    frames = _length(file, heard)
    firsts = _firsts(file, frames)
    own = {key: getattr(timeline.camera, key) for key in ("rim", "carry", "hold", "sharpen")}
    own |= {"frames": frames, "fps": timeline.fps, "zoom": 1.0}
    own |= {key: getattr(timeline.paint, key) for key in ("frame_average", "clarity", "calm", "change", "renew")}
    film = film_values({**own, "loop": loop_frames(frames, timeline.fps) if timeline.loop else 0})
    return _Planner(file, {**_STILL, **defaults}, heard, firsts, frames).plan(film.painted), film


class _Planner:
    """The curves of one film, read, and the variables of each frame."""

    def __init__(
        self, file: FilmFile, defaults: Mapping[str, float], heard: Heard | None, firsts: list[int], frames: int
    ) -> None:
        self.file, self.firsts, self.frames = file, firsts, frames
        self.ends = [*firsts[1:], frames]
        self.fps, bpm = file.timeline.fps, file.timeline.bpm
        self.levels = dict(heard.levels) if heard else {}
        beats = heard.beats if heard else ()
        if bpm:
            beats = [n * 60 / bpm for n in range(int(2 * frames / self.fps * bpm / 60) + 2)]
        self.beats = beats
        self.known = (*TIME, *(BEATS if heard or bpm else ()), *self.levels)
        scenes = range(len(firsts))
        self.curves = {name: [self._curve(name, n, value) for n in scenes] for name, value in defaults.items()}

    def plan(self, count: int) -> ShotList:
        shares = [self._share(n) for n in range(count)]
        names = list(self.curves)
        rows = [self._row(n, share) for n, share in enumerate(shares)]
        curves = {name: tuple(row[at] for row in rows) for at, name in enumerate(names)}
        for number, scene in enumerate(self.file.timeline.scene):
            for part, given in enumerate(scene.weights):
                curves[f"weight {number + 1}.{part + 1}"] = self._weight(number, part, given, count)
        scenes = tuple(
            SceneShots(first=first, **{key: getattr(scene, key) for key in SceneShots.model_fields if key != "first"})
            for first, scene in zip(self.firsts, self.file.timeline.scene, strict=True)
        )
        # the first scene's seed is the film's own, which a flag may have changed
        scenes = (scenes[0].changed(seed=None), *scenes[1:])
        return ShotList(fps=self.fps, scenes=scenes, shares=tuple(shares), curves=curves)

    def _curve(self, name: str, scene: int, default: float) -> tuple[Curve, str]:
        """What a scene says of a curve, or the film, or the default; and where it says so."""
        table = "camera" if name in Motion.model_fields else "paint"
        timeline = self.file.timeline
        for owner, place, clock in ((timeline.scene[scene], ("scene", scene), "s"), (timeline, (), "t")):
            given = getattr(getattr(owner, table), name)
            if given is not None:
                where = f"{self.file.where(*place, table, name)}: {name}"
                return self._read(given, where, clock), where
        return parse_curve(float(default), ()), name

    def _read(self, given: object, where: str, clock: str) -> Curve:
        try:
            return parse_curve(given, self.known, clock=clock)
        except UsageError as error:
            hint = error.hint
            if not self.beats and any(f"reads {name!r}" in error.message for name in (*BEATS, *LEVELS)):
                hint = 'give the film a sound = "FILE" (or, for beats alone, bpm = 120)'
            raise UsageError(f"{where}: {error.message}", hint=hint) from error

    def _scene_at(self, frame: int) -> int:
        return bisect_right(self.firsts, frame) - 1

    def _share(self, frame: int) -> float:
        number = self._scene_at(frame)
        scene, done = self.file.timeline.scene[number], frame - self.firsts[number]
        length = round(scene.fade * self.fps)
        return ease(scene.easing, (done + 1) / (length + 1)) if done < length else 1.0

    def _row(self, frame: int, share: float) -> list[float]:
        """The value of every curve at a frame; while a scene fades in, between its value and that of the one before."""
        number = self._scene_at(frame)
        now = self._variables(frame, number)
        before = self._variables(frame, number - 1) if share < 1 else now
        row = []
        for name, curves in self.curves.items():
            value = self._value(curves[number], now, frame)
            if share < 1:
                old = self._value(curves[number - 1], before, frame)
                value = old + (value - old) * share
            if name in WHOLE:
                value = float(round(value))
            row.append(self._within(value, LIMITS[name], curves[number][1], frame))
        return row

    def _weight(self, number: int, part: int, given: object, count: int) -> tuple[float, ...]:
        """A weight at every frame; where its scene is not to be seen it keeps the value of its nearest frame there."""
        where = f"{self.file.where('scene', number, 'weights')}: weight {part + 1}"
        curve = self._read(given, where, "s")
        first, end = self.firsts[number], min(self.ends[number], count)
        if number + 1 < len(self.firsts):
            end = min(end + round(self.file.timeline.scene[number + 1].fade * self.fps), count)
        else:
            end = count
        values = [self._value((curve, where), self._variables(n, number), n) for n in range(first, end)]
        values = [self._within(value, _WEIGHT, where, first + n) for n, value in enumerate(values)]
        return (*values[:1] * first, *values, *values[-1:] * (count - end))

    def _variables(self, frame: int, scene: int) -> dict[str, float]:
        first, end, time = self.firsts[scene], self.ends[scene], frame / self.fps
        values = {"t": time, "frame": frame, "frames": self.frames, "fps": self.fps, "scene": scene}
        values |= {"seconds": self.frames / self.fps, "s": (frame - first) / self.fps}
        values["p"] = min((frame - first) / max(end - first, 1), 1.0)
        values |= {name: track[frame] if frame < len(track) else 0.0 for name, track in self.levels.items()}
        return {**values, **beat_at(self.beats, time)}

    def _value(self, curve: tuple[Curve, str], values: Mapping[str, float], frame: int) -> float:
        try:
            return curve[0].at(values)
        except UsageError as error:
            raise UsageError(f"{curve[1]}: {error.message} (frame {frame}, {frame / self.fps:.2f} s)") from error

    def _within(self, value: float, limits: tuple[float, float], where: str, frame: int) -> float:
        if not limits[0] <= value <= limits[1]:
            raise UsageError(
                f"{where} is {value:g} at frame {frame} ({frame / self.fps:.2f} s)",
                hint=f"it has to lie between {limits[0]:g} and {limits[1]:g}; clamp(x, low, high) keeps it there",
            )
        return value


def beat_at(beats: Sequence[float], time: float) -> dict[str, float]:
    """beat: 1 at a beat, falling in a straight line to 0 at the next; beats: how many there were. By their times."""
    count = bisect_right(beats, time + 1e-6)
    if not count:
        return {"beat": 0.0, "beats": 0.0}
    last = beats[count - 1]
    length = beats[count] - last if count < len(beats) else (last - beats[count - 2] if count > 1 else 0.5)
    return {"beat": max(0.0, 1 - (time - last) / length), "beats": float(count)}


def _length(file: FilmFile, heard: Heard | None) -> int:
    """How many frames the film has. Raises: UsageError."""
    timeline = file.timeline
    own = [scene.seconds for scene in timeline.scene]
    if timeline.seconds is None and timeline.frames is None and None not in own:
        return frame_count(None, sum(seconds for seconds in own if seconds is not None), timeline.fps)
    seconds = timeline.seconds
    if seconds is None and timeline.frames is None and heard:
        seconds = heard.seconds
    try:
        return frame_count(timeline.frames, seconds, timeline.fps)
    except UsageError as error:
        raise UsageError(f"{file.where('seconds')}: {error.message}", hint=error.hint) from error


def _firsts(file: FilmFile, frames: int) -> list[int]:
    """The first frame of each scene; those without a length share what is left. Raises: UsageError."""
    timeline, fps = file.timeline, file.timeline.fps
    own = [scene.seconds for scene in timeline.scene]
    said, open_ = sum(seconds or 0.0 for seconds in own), own.count(None)
    left = frames / fps - said
    if (open_ and left * fps < open_) or (not open_ and abs(left * fps) > 1):
        raise UsageError(
            f"{file.where('seconds')}: the scenes take {said:g} s{' and more' if open_ else ''}, but the film "
            f"lasts {frames / fps:g} s",
            hint="leave out the film's seconds, or those of a scene",
        )
    lengths = [left / open_ if seconds is None else seconds for seconds in own]
    ends = [sum(lengths[:n]) for n in range(len(lengths))]
    firsts = [round(end * fps) for end in ends]
    for number, (first, after) in enumerate(zip(firsts, [*firsts[1:], frames], strict=True)):
        if after <= first:
            raise UsageError(f"{file.where('scene', number)}: it is shorter than a frame")
        if round(timeline.scene[number].fade * fps) > after - first:
            fade = f"the fade of {timeline.scene[number].fade:g} s"
            raise UsageError(f"{file.where('scene', number, 'fade')}: {fade} is longer than its scene")
    return firsts
