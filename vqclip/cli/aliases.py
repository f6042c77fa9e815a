"""Old spellings: rewrites the flags of nerdyrodent's VQGAN-CLIP to ours, so that shell scripts from then still run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from vqclip.cli.filmaliases import FILM_FLAGS, FILM_VALUES, film_arguments
from vqclip.errors import UsageError


@dataclass
class Rewritten:
    """Arguments in our own spelling, and what a person should be told about the change.

    command is the command they belong to, where an old flag made another one of it; film what old flags said of a film.
    """

    args: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    command: str | None = None
    film: dict[str, str] = field(default_factory=dict)


def rewrite(args: Sequence[str], *, take_values: frozenset[str]) -> Rewritten:
    """Rewrites old flags to ours, and `-s 512 384` to one value. Values and all that follows `--` stay as they are.

    take_values names our own flags that are followed by a value.
    Raises: UsageError for an old flag that has no counterpart yet, saying what to use.
    """
    done = Rewritten()
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            done.args += [arg, *rest]
            break
        flag, equals, value = arg.partition("=") if arg.startswith("-") else (arg, "", "")
        if flag in _REFUSED:
            raise UsageError(f"{flag}: {_REFUSED[flag][0]}", hint=_REFUSED[flag][1])
        if equals:
            rest.insert(0, value)
        if flag in FILM_VALUES and rest:
            done.film[FILM_VALUES[flag]] = rest.pop(0)
        elif flag in FILM_FLAGS:
            done.film[FILM_FLAGS[flag]] = "yes"
        elif flag in _OLD and (rest or flag == "-d"):
            done.args += _OLD[flag](rest, done)
        elif flag in ("-s", "--size") and rest:
            done.args.append(f"--size={_size(rest)}")
        elif equals and flag in take_values and not flag.startswith("--"):
            done.args += [flag, rest.pop(0)]  # after one dash the parser would keep the equals sign in the value
        elif equals:
            done.args.append(f"{flag}={rest.pop(0)}")
        else:
            done.args += [arg, *([rest.pop(0)] if flag in take_values and rest else [])]
    if done.film:
        done.command, done.args = film_arguments(done.film, done.args, done.notes)
    return done


def old_spellings() -> Iterator[str]:
    """Every old flag that is rewritten or refused."""
    yield from (*_OLD, *FILM_VALUES, *FILM_FLAGS)
    yield from _REFUSED


Rule = Callable[[list[str], Rewritten], list[str]]


def _size(rest: list[str]) -> str:
    first = rest.pop(0)
    if first.isdigit() and rest and rest[0].isdigit():
        return f"{first}x{rest.pop(0)}"
    return first


def _to(flag: str) -> Rule:
    return lambda rest, done: [f"{flag}={rest.pop(0)}"]


def _prompts(rest: list[str], done: Rewritten) -> list[str]:
    first, *story = (part.strip() for part in rest.pop(0).split("^"))
    if story:
        done.film["story"] = "^".join(part for part in story if part)
    return [f"--prompt={first}"]


def _image_prompts(rest: list[str], done: Rewritten) -> list[str]:
    return [f"--image-prompt={part.strip()}" for part in rest.pop(0).split("|") if part.strip()]


def _clip(rest: list[str], done: Rewritten) -> list[str]:
    from vqclip.store.clips import clip_name

    return [f"--clip={clip_name(rest.pop(0))}"]


def _init_noise(rest: list[str], done: Rewritten) -> list[str]:
    kind = rest.pop(0).casefold()
    if kind in ("pixels", "gradient"):
        return [f"--init-noise={kind}"]
    if kind not in ("", "none"):
        done.notes.append(f"-in {kind}: neither pixels nor gradient; painted from --init codes")
    return ["--init=codes"]


def _optimizer(rest: list[str], done: Rewritten) -> list[str]:
    name = rest.pop(0)
    if name.casefold() in ("diffgrad", "adamp"):
        raise UsageError(f"the optimizer {name} is not there", hint="the nearest is --optimizer adam")
    return [f"--optimizer={name.casefold()}"]


def _cut_method(rest: list[str], done: Rewritten) -> list[str]:
    name = rest.pop(0)
    ours = {"latest": "pooled", "updatedpooling": "pooled", "original": "crops"}.get(name.casefold(), "views")
    if name.casefold() not in ("latest", "original"):
        done.notes.append(f"-cutm {name}: painted as --cutout-method {ours}, which comes close")
    return [f"--cutout-method={ours}"]


def _augments(rest: list[str], done: Rewritten) -> list[str]:
    codes: list[str] = []
    while rest and rest[0] in _AUGMENTS:
        codes.append(rest.pop(0))
    if not codes:
        raise UsageError("-aug is followed by none of its codes", hint=f"known: {', '.join(_AUGMENTS)}")
    chosen = {name: value for code in codes for name, value in _AUGMENTS[code].items()}
    missing = [code for code in codes if not _AUGMENTS[code]]
    if missing:
        done.notes.append(f"-aug {' '.join(missing)}: there is no such change of the views; left out")
    return [f"--{name}={chosen.get(name, '0')}" for name in ("jitter", "rotation", "perspective")]


def _deterministic(rest: list[str], done: Rewritten) -> list[str]:
    return ["--deterministic"]


_AUGMENTS: dict[str, dict[str, str]] = {
    "Ji": {"jitter": "0.1"},
    "Pe": {"perspective": "0.7"},
    "Ro": {"rotation": "15"},
    "Af": {"rotation": "15"},
    **{code: {} for code in ("Sh", "Gn", "Et", "Ts", "Cr", "Er", "Re")},
}
_OLD: dict[str, Rule] = {
    **dict.fromkeys(("-p", "--prompts"), _prompts),
    **dict.fromkeys(("-ip", "--image_prompts"), _image_prompts),
    **dict.fromkeys(("-i", "--iterations", "--max_iterations"), _to("--steps")),
    **dict.fromkeys(("-se", "--save_every"), _to("--save-every")),
    **dict.fromkeys(("-ii", "--init_image"), _to("--init-image")),
    **dict.fromkeys(("-in", "--init_noise"), _init_noise),
    **dict.fromkeys(("-iw", "--init_weight"), _to("--init-weight")),
    **dict.fromkeys(("-m", "--clip_model"), _clip),
    **dict.fromkeys(("-conf", "--vqgan_config"), _to("--vqgan-config")),
    **dict.fromkeys(("-ckpt", "--vqgan_checkpoint"), _to("--vqgan")),
    **dict.fromkeys(("-lr", "--learning_rate"), _to("--lr")),
    **dict.fromkeys(("-cuts", "--num_cuts"), _to("--cutouts")),
    **dict.fromkeys(("-cutp", "--cut_power"), _to("--cutout-power")),
    **dict.fromkeys(("-cutm", "--cut_method"), _cut_method),
    "-sd": _to("--seed"),
    **dict.fromkeys(("-opt", "--optimiser"), _optimizer),
    **dict.fromkeys(("-aug", "--augments"), _augments),
    **dict.fromkeys(("-cd", "--cuda_device"), _to("--device")),
    "-d": _deterministic,
}

_NOISE = ("noise prompts are not there", "to vary a picture, use --count 4 or --seed random")
_REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("-nps", "--noise_prompt_seeds", "-npw", "--noise_prompt_weights"), _NOISE),
}
