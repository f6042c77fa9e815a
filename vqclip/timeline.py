"""What a film file says: scenes and curves, as strict models. Each default of a film file stands here."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from vqclip.films import MOST_FRAMES, Carrying, Change, RimKind
from vqclip.settings import Checked

# A number, a formula in quotes, or keyframes: `keyframes.parse_curve` reads it, with the variables that there are.
Given = Any


class Motion(Checked):
    """Curves of the camera, for each frame: zoom above 1 goes in, pan in pixels, rotate in degrees, the rest shares."""

    zoom: Given = None
    pan_x: Given = None
    pan_y: Given = None
    rotate: Given = None
    shear_x: Given = None
    shear_y: Given = None
    tilt_x: Given = None
    tilt_y: Given = None


class Camera(Motion):
    """The camera of the whole film: its curves, and how the painting follows it (as in `films.FilmSettings`)."""

    rim: RimKind = "mirror"
    carry: Carrying = "cells"
    hold: float = Field(0.95, ge=0, lt=1)
    sharpen: float = Field(0.3, ge=0, le=1)


class Brush(Checked):
    """Curves of the painting, for each frame: steps, learning rate, cutouts, and the weight of smoothness."""

    steps: Given = None
    learning_rate: Given = None
    cutouts: Given = None
    tv: Given = None


class Paint(Brush):
    """How the whole film is painted: its curves, how frames are smoothed and shown, and how prompts come."""

    frame_average: float = Field(0.9, ge=0, lt=1)
    clarity: float = Field(1.2, ge=0, le=2)
    calm: float = Field(1.0, ge=0, le=10)
    change: Change = "sketch"
    renew: float | None = Field(None, ge=0, le=1000)


class Scene(Checked):
    """A part of the film with prompts of its own.

    seconds is how long it lasts; scenes that do not say share what is left. fade is how many seconds the change from
    the scene before takes, eased by easing. weights are curves, one for each part of the prompt, by which that part's
    weight is multiplied. What camera and paint say holds for this scene, with keyframes timed from its start.
    """

    prompt: str = ""
    negative: str = ""
    image_prompts: tuple[str, ...] = ()
    seed: int | None = Field(None, ge=0, le=2**32 - 1)
    seconds: float | None = Field(None, gt=0, le=36_000)
    fade: float = Field(0.0, ge=0, le=36_000)
    easing: str = "smooth"
    weights: tuple[Given, ...] = ()
    camera: Motion = Motion()
    paint: Brush = Brush()


class Timeline(Checked):
    """A film file.

    seconds or frames is its length; without them that of its scenes, else of its sound, else 10 seconds. sound is a
    file beside it, heard in the film and by its formulas; bpm sets beats where there is no sound, or its own are
    wrong. picture holds settings as a preset does, preset the name of one to lay them over.
    """

    seconds: float | None = Field(None, gt=0, le=36_000)
    frames: int | None = Field(None, ge=1, le=MOST_FRAMES)
    fps: float = Field(24.0, ge=1, le=240)
    sound: str | None = None
    bpm: float | None = Field(None, ge=20, le=400)
    loop: bool = False
    preset: str | None = None
    picture: dict[str, Any] = Field(default_factory=dict)
    camera: Camera = Camera()
    paint: Paint = Paint()
    scene: tuple[Scene, ...] = Field(min_length=1)
