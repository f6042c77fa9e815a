"""Jobs: what a batch is to paint becomes settings without gaps, each with an id that any machine finds again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vqclip.errors import ModelError, PictureError, UsageError, VqclipError
from vqclip.presets import merge
from vqclip.prompts import ClipChoice, parse_clip, parse_image_prompt
from vqclip.prompttable import Problem
from vqclip.runs.inputs import check_inputs
from vqclip.runs.plan import needs_encoder, resolve
from vqclip.runs.recipe import plain_name
from vqclip.settings import SEEDS, Settings
from vqclip.store.clips import clip_name
from vqclip.store.folder import digest, in_folder, locate
from vqclip.store.registry import WEIGHT_SUFFIXES
from vqclip.store.starter import STARTER
from vqclip.wildcards import Template, Wildcards, count, draw, every, picker
from vqclip.words import counted

Expand = Literal["no", "all", "random"]


@dataclass(frozen=True)
class Ask:
    """What one line asks for, with all flags and one combination of the sweeps laid over it.

    seeds are the numbers to paint it with; none means one that follows from the prompt, always the same.
    """

    line: int
    settings: Mapping[str, Any]
    seeds: tuple[int, ...] = ()
    count: int = 1


@dataclass(frozen=True)
class Job:
    """One picture to paint. models maps each model's name, as the recipe writes it, to the digest of its file."""

    id: str
    settings: Settings
    line: int
    models: Mapping[str, str]

    @property
    def group(self) -> tuple[object, ...]:
        """Equal for jobs that are painted with the same models in memory."""
        settings = self.settings
        reads = needs_encoder(settings)
        models = settings.vqgan, settings.vqgan_config, settings.clip, settings.prior
        return *models, settings.dtype, settings.tile, reads


@dataclass
class Jobs:
    """All jobs of a batch in the order they are painted in, how many were asked for twice, and what is wrong.

    missing holds, for each line that names a model or picture that is not there, what is wrong and its error.
    """

    jobs: list[Job] = field(default_factory=list)
    repeated: int = 0
    problems: list[Problem] = field(default_factory=list)
    missing: list[tuple[Problem, ModelError | PictureError]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make_jobs(asks: Sequence[Ask], *, expand: Expand, wildcards: Wildcards, most: int) -> Jobs:
    """Expands, numbers and checks all that is asked for; a job that is asked for twice is one.

    Jobs that share models come one after another. Nothing is painted and no torch is loaded.
    Raises: UsageError if there would be more than `most` jobs.
    """
    made, found = Jobs(), {}
    templates = [_parsed(ask, expand, wildcards, made.problems) for ask in asks]
    wanted = sum(
        _copies(ask) * (count(one[0]) * count(one[1]) if expand == "all" else 1)
        for ask, one in zip(asks, templates, strict=True)
    )
    if wanted > most:
        hint = f"raise the limit with --max-jobs {wanted}, or draw with --expand random"
        raise UsageError(f"this would be {counted(wanted, 'picture')}, more than {most}", hint=hint)
    for ask, template in zip(asks, templates, strict=True):
        try:
            for settings in _filled(ask, template, expand):
                job = make_job(settings, ask.line, made.notes.append)
                made.repeated += job.id in found
                found.setdefault(job.id, job)
        except (ModelError, PictureError) as error:
            made.missing.append((Problem(ask.line, None, error.message), error))
        except VqclipError as error:
            made.problems.append(Problem(ask.line, None, error.message))
    order: dict[tuple[object, ...], int] = {}
    for job in found.values():
        order.setdefault(job.group, len(order))
    made.jobs = sorted(found.values(), key=lambda job: order[job.group])
    made.notes = list(dict.fromkeys(made.notes))
    return made


def look_at_inputs(made: Jobs, device: str) -> None:
    """Looks, once for all jobs that name the same, whether pictures, background, models and device can be had.

    What cannot joins the problems; a note says which models are not here yet. Loads no model.
    """
    names = ("init_image", "image_prompts", "background", "vqgan", "vqgan_config", "clip", "prior")
    seen = set()
    for job in made.jobs:
        named = tuple(getattr(job.settings, name) for name in names)
        if named in seen:
            continue
        seen.add(named)
        try:
            made.notes += [note for note in check_inputs(job.settings, device=device) if note not in made.notes]
        except (ModelError, PictureError) as error:
            made.missing.append((Problem(job.line, None, error.message), error))
        except VqclipError as error:
            made.problems.append(Problem(job.line, None, error.message))


def make_job(settings: Settings, line: int, note: Callable[[str], None]) -> Job:
    """Fills every open setting and finds the job's id. Raises: UsageError, ModelError, PictureError."""
    resolved, notes = resolve(settings.check())
    for text in notes:
        note(text)
    found, models = identify(resolved)
    return Job(found, resolved, line, models)


def identify(settings: Settings) -> tuple[str, dict[str, str]]:
    """(the id of a job, the digests of its models). settings come from `resolve`.

    The id is a hash of every setting that is not the default and of the content of every file, whatever its name, so it
    is the same on every machine, and stays when later versions know more settings.
    Raises: ModelError, PictureError if a file is missing.
    """
    own = {"vqgan", "clip", "prior", "vqgan_config", "init_image", "image_prompts"}
    fields = Settings.model_fields
    values: dict[str, Any] = {
        key: value for key, value in settings.model_dump().items() if key not in own and value != fields[key].default
    }
    models = _models(settings)
    values["models"] = [found for _, found in models]
    values["clip"] = [_pull(parse_clip(text)) for text in settings.clip or ()]
    if settings.vqgan_config:
        values["vqgan_config"] = digest(Path(settings.vqgan_config).expanduser())
    if settings.init_image:
        values["init_image"] = _picture(settings.init_image)
    likes = [parse_image_prompt(text) for text in settings.image_prompts]
    values["image_prompts"] = [[_picture(one.text), one.weight, str(one.stop)] for one in likes]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16], dict(models)


def _models(settings: Settings) -> list[tuple[str, str]]:
    models = [(plain_name(settings.vqgan), digest(locate(settings.vqgan, "vqgan")))]
    names = [parse_clip(text).name for text in settings.clip or ()]
    models += [(f"clip:{plain_name(name)}", _clip(name)) for name in names]
    if settings.prior:
        models.append((f"prior:{plain_name(settings.prior)}", digest(locate(settings.prior, "prior"))))
    if settings.prior == STARTER:  # any other prior's file says itself through which CLIP it reads the prompt
        models.append(("clip:starter", digest(locate("starter", "clip"))))
    return models


def _pull(clip: ClipChoice) -> float | list[float]:
    return clip.weight if clip.share == 1 else [clip.weight, clip.share]


def _clip(name: str) -> str:
    """The digest of a CLIP that is a file; the published name of one that open_clip knows, which says as much."""
    text = clip_name(name)
    head, _, local = text.partition("=")
    if local:
        return f"{head}={digest(Path(local).expanduser())}"
    if text == "starter" or text.lower().endswith(WEIGHT_SUFFIXES):
        return digest(locate(text, "clip"))
    found = None if "/" in text else in_folder(text)
    return digest(found) if found else text


def _picture(path: str) -> str:
    try:
        return digest(Path(path).expanduser())
    except ModelError as error:
        raise PictureError(error.message, hint="check the path") from error


def _copies(ask: Ask) -> int:
    return len(ask.seeds) if len(ask.seeds) > 1 else ask.count


def _parsed(ask: Ask, expand: Expand, wildcards: Wildcards, problems: list[Problem]) -> tuple[Template, Template]:
    """The templates of prompt and negative prompt; plain texts where nothing is to be expanded."""
    texts = [ask.settings.get("prompt") or "", ask.settings.get("negative") or ""]
    if expand == "no":
        return (texts[0],), (texts[1],)
    try:
        return wildcards.parse(texts[0]), wildcards.parse(texts[1])
    except UsageError as error:
        problems.append(Problem(ask.line, None, error.message + (f" ({error.hint})" if error.hint else "")))
        return (), ()


def _filled(ask: Ask, templates: tuple[Template, Template], expand: Expand) -> Iterator[Settings]:
    """The settings of every picture that one line asks for."""
    if not templates[0] and not templates[1] and expand != "no":
        return  # its problem is noted
    for seed in _seeds(ask):
        for prompt, negative in _texts(templates, expand, seed):
            words = {"prompt": prompt, "negative": negative or None, "seed": seed}
            yield Settings.make(merge(ask.settings, words), source="its settings")


def _texts(templates: tuple[Template, Template], expand: Expand, seed: int) -> Iterator[tuple[str, str]]:
    if expand == "random":
        pick = picker(seed)
        yield draw(templates[0], pick), draw(templates[1], pick)
        return
    for prompt in every(templates[0]):
        for negative in every(templates[1]):
            yield prompt, negative


def _seeds(ask: Ask) -> Sequence[int]:
    if len(ask.seeds) > 1:
        if ask.count > 1:
            raise UsageError("several seeds and a count", hint="say one of them")
        return ask.seeds
    text = f"{ask.settings.get('prompt', '')}"
    first = ask.seeds[0] if ask.seeds else int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:4])
    return [(first + n) % SEEDS for n in range(ask.count)]
