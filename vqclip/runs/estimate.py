"""Memory and time of a picture before any model is loaded, and settings that fit into what is free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vqclip.errors import MemoryFullError
from vqclip.prompts import parse_clip, share_of
from vqclip.runs.cores import usual_threads
from vqclip.runs.free import device_of, free_on, probable_itemsize
from vqclip.runs.plan import again, needs_encoder
from vqclip.runs.rates import GUESS, Measured, predict, rate_key, recall
from vqclip.runs.workload import clip_cost, decoder_cost, piece_bytes
from vqclip.settings import Delivery, Settings
from vqclip.store.outline import clip_outline, vqgan_outline
from vqclip.store.registry import find
from vqclip.words import counted

BASE = 400 * 2**20  # Python, torch and open_clip before any model
LOADED = 100 * 2**20  # of that, what is loaded with the models
HEAP = 250 * 2**20  # the most that the allocator keeps of what a step gives back
MARGIN = 0.9
SMALLEST = 64
SKETCH = 1.6  # steps of the smallest size that one sketch takes, as measured with the starter
SHRINK = 0.8


@dataclass(frozen=True)
class Work:
    """What one step of a picture takes: GFLOP forward and back, and bytes beside the models; still is GFLOP of a
    decoding alone."""

    still: float
    decode: float
    look: float
    step_bytes: float
    model_bytes: float

    @property
    def bytes(self) -> float:
        """All that models and step hold at their largest, in the step or while the models are read and cast."""
        return self.model_bytes + max(self.model_bytes, self.step_bytes + min(self.step_bytes, HEAP))


@dataclass(frozen=True)
class Estimate:
    """Bytes of the whole process at its largest, seconds of a step at full size and of all steps.

    measured says whether the seconds come from this machine; else they are a guess.
    """

    memory: float
    step: float
    total: float
    measured: bool


def work_of(settings: Settings, *, level: int = 0, encoder: bool = False) -> Work | None:
    """The work of a step at the size that is halved `level` times, or None if a model's shape shows only once loaded.

    encoder counts the VQGAN's encoder even where the start does not need it: films do.
    Where the number of cutouts grows the work is that of their mean while that size is painted, the bytes those of all.
    """
    config = vqgan_outline(settings.vqgan)
    chosen = [parse_clip(text) for text in settings.clip or ()]
    clips = [clip_outline(one.name) for one in chosen]
    if config is None or any(clip is None for clip in clips):
        return None
    itemsize = itemsize_of(settings)
    sides = (settings.height or 256), (settings.width or 256)
    grid = tuple(max(1, round(side * 0.5**level / config.stride)) for side in sides)
    reads = encoder or needs_encoder(settings)
    lean = bool(settings.lean)
    decoder = decoder_cost(config, (grid[0], grid[1]), itemsize=itemsize, lean=lean, encoder=reads)
    costs = [clip_cost(clip, itemsize=itemsize) for clip in clips if clip]
    counts = [share_of(settings.cutouts or 1, one.share) for one in chosen]
    pieces = [count * piece_bytes(clip) for count, clip in zip(counts, clips, strict=True) if clip]
    held = [min(settings.micro_batch or count, count) * cost.held for count, cost in zip(counts, costs, strict=True)]
    looking = max((one + piece for one, piece in zip(held, pieces, strict=True)), default=0.0)
    return Work(
        still=decoder.gflop,
        decode=decoder.gflop * 2 + decoder.again,
        look=_seen(settings, level) * sum(count * cost.gflop * 2 for count, cost in zip(counts, costs, strict=True)),
        step_bytes=max(decoder.peak, decoder.held + looking),
        model_bytes=decoder.weights + sum(cost.weights for cost in costs),
    )


def _seen(settings: Settings, level: int) -> float:
    """The mean share of the cutouts that are looked at while the size halved `level` times is painted."""
    count = settings.cutouts or 1
    first = settings.cutouts_start or count
    coarse, halvings = settings.coarse or 0.0, settings.halvings or 1
    begin, end = (coarse, 1.0) if not level else (coarse * (halvings - at) / halvings for at in (level, level - 1))
    return (first + (count - first) * (begin + end) / 2) / count


def estimate(settings: Settings, delivery: Delivery, *, encoder: bool = False) -> Estimate | None:
    """What a picture will take here; settings come from `resolve`. None if a model's shape is not known yet."""
    works = [work_of(settings, level=level, encoder=encoder) for level in range((settings.halvings or 1) + 1)]
    full = works[0]
    if full is None:
        return None
    rates, measured = rates_of(settings, delivery)
    step, *coarse = (predict(work.decode, work.look, rates) for work in works if work)
    share, steps = settings.coarse or 0.0, settings.steps or 0
    total = steps * (share * sum(coarse) / len(coarse) + (1 - share) * step)
    return Estimate(BASE + full.bytes, step, total + _sketching(settings) * coarse[-1], measured)


def _sketching(settings: Settings) -> float:
    """What the sketches of a prior take, in steps of the smallest size: those at the start, and over the painting."""
    if settings.init != "prior":
        return 0.0
    turns = again(settings.sketch_again or 0) if settings.steps else []
    return SKETCH * (settings.sketches or 1) * (1 + sum(1 - kept for kept in turns))


def estimate_all(jobs: Sequence[Settings], delivery: Delivery) -> Estimate | None:
    """What all pictures of a batch take, one after another: the most memory, the mean step, and the time of all."""
    alike = Counter(job.changed(prompt="", negative="", seed=None) for job in jobs)
    found = [(estimate(job, delivery), count) for job, count in alike.items()]
    known = [(one, count) for one, count in found if one is not None]
    if not known or len(known) < len(found):
        return None
    steps = sum((job.steps or 0) * count for job, count in alike.items())
    total = sum(one.total * count for one, count in known)
    most = max(one.memory for one, _ in known)
    return Estimate(most, total / max(steps, 1), total, all(one.measured for one, _ in known))


def rates_of(settings: Settings, delivery: Delivery) -> tuple[Sequence[Measured], bool]:
    """(how fast this machine is with these models, whether that was measured)."""
    measured = recall(key_of(settings, delivery))
    return measured or [_guess(settings, delivery)], bool(measured)


def key_of(settings: Settings, delivery: Delivery) -> str:
    """The name under which this machine's speed with these models is kept."""
    models = [Path(name).name for name in (settings.vqgan, *(settings.clip or ()))]
    dtype = "bfloat16" if itemsize_of(settings) == 2 else "float32"
    return rate_key(device_of(delivery.device), dtype, delivery.threads or usual_threads(), models)


def itemsize_of(settings: Settings) -> int:
    """Bytes of a number that the models will compute with."""
    return {"float32": 4, "bfloat16": 2}.get(settings.dtype) or probable_itemsize()


def fit(
    settings: Settings,
    delivery: Delivery,
    note: Callable[[str], None],
    *,
    free: int | None = None,
    encoder: bool = False,
) -> Settings:
    """Settings that fit into what is free: fewer views at a time, then a lean decoder, then a smaller picture.

    Only the last changes the picture. Each change is said. encoder is as in `work_of`.
    Raises: MemoryFullError if nothing fits.
    """
    free = free_on(delivery.device) if free is None else free
    if free is None or work_of(settings) is None:
        note("--fit: this system does not tell what is free" if free is None else "--fit: a model's shape is not known")
        return settings
    for candidate, says in _leaner(settings):
        work = work_of(candidate, encoder=encoder)
        if work is not None and LOADED + work.bytes <= MARGIN * free:
            for text in says:
                note(f"--fit: {text}")
            return candidate
    raise MemoryFullError(
        f"not even the smallest picture fits into the {free / 2**20:.0f} MB that are free",
        hint="close other programs, or choose smaller models with --vqgan and --clip",
    )


def _leaner(settings: Settings) -> Iterator[tuple[Settings, list[str]]]:
    """The settings, then ever thriftier ones, each with what was changed."""
    yield settings, []
    at_once = min(settings.micro_batch or settings.cutouts or 1, settings.cutouts or 1)
    says: list[str] = []
    while at_once > 1:
        at_once = (at_once + 1) // 2
        settings = settings.changed(micro_batch=at_once)
        says = [f"CLIP looks at {counted(at_once, 'view')} at a time (--micro-batch {at_once})"]
        yield settings, says
    if not settings.lean:
        settings = settings.changed(lean=True)
        says = [*says, "the decoder works again instead of remembering (--lean)"]
        yield settings, says
    stride = find(settings.vqgan).stride or 16
    while True:
        sides = [round((side or 256) * SHRINK / stride) * stride for side in (settings.width, settings.height)]
        if min(sides) < SMALLEST:
            return
        settings = settings.changed(width=sides[0], height=sides[1])
        yield settings, [*says, f"the picture is {sides[0]}x{sides[1]} pixels (--size {sides[0]} {sides[1]})"]


def _guess(settings: Settings, delivery: Delivery) -> Measured:
    rate = GUESS[itemsize_of(settings)] * min(delivery.threads or usual_threads(), 8)
    return Measured(rate / 2, rate / 2, 1.0)


def in_words(found: Estimate | None) -> dict[str, str]:
    """An estimate as two lines of a plan."""
    if found is None:
        return {"memory": "not known before the models are loaded", "time": "not known before the models are loaded"}
    source = "as measured on this machine" if found.measured else "a guess: nothing was measured on this machine yet"
    return {
        "memory": f"about {found.memory / 1e9:.1f} GB",
        "time": f"about {_duration(found.total)}, {found.step:.2g} s a step ({source})",
    }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{max(rest, 1)} s"
