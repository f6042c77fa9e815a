"""Our own CLIP files: open_clip's weights with only the token rows that were trained, and a header that says it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqclip.errors import ModelError
from vqclip.store.checkpoint import read_header, read_weights, require_finite, write_own
from vqclip.store.clipconfig import VOCABULARY, checked_clip_config
from vqclip.store.lookalikes import looks_like
from vqclip.words import clean, counted

FORMAT = "vqclip-clip"
SCHEMA = 1
ELSE = -1
_TABLE, _ROWS, _IDS = "token_embedding.weight", "token_embedding.rows", "token_embedding.ids"


@dataclass(frozen=True)
class ClipFile:
    """What one of our CLIP files holds: open_clip's config, full float32 weights, and the words it knows."""

    config: dict[str, Any]
    weights: dict[str, Tensor]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    words: tuple[str, ...]


def write_clip(
    path: str | Path,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    ids: Sequence[int],
    words: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    recipe: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Writes a trained CLIP. `ids` are the ids of open_clip's vocabulary whose token rows are kept, one of them -1.

    The row of -1 is what every other id will get. `state` holds open_clip's weights; its token table has either one
    row for each entry of `ids`, in that order, or the full vocabulary, and then -1 gets the mean of the kept rows.
    Raises: ValueError if ids and rows do not fit; OutputError if it cannot be written.
    """
    if list(ids).count(ELSE) != 1 or len(set(ids)) != len(ids):
        raise ValueError("ids must be distinct and hold -1 once")
    kept = torch.tensor(list(ids), dtype=torch.int32)
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in state.items() if name != _TABLE}
    tensors[_ROWS] = _rows(state[_TABLE].detach().cpu().float(), kept).to(dtype).contiguous()
    tensors[_IDS] = kept
    header = {
        "format": FORMAT,
        "schema": SCHEMA,
        "config": dict(config),
        "recipe": dict(recipe or {}),
        "mean": [float(value) for value in mean],
        "std": [float(value) for value in std],
        "words": list(words),
    }
    return write_own(path, tensors, header)


def read_clip(path: Path) -> ClipFile:
    """Reads one of our CLIP files and expands its token table to the full vocabulary.

    Raises: ModelError if it is another kind of file, damaged, or its header is out of bounds.
    """
    header = read_header(path)
    if header.get("format") != FORMAT:
        kind = repr(header["format"])[:40] if "format" in header else looks_like(read_weights(path))
        raise ModelError(
            f"{path.name} does not say which CLIP it is; it looks like {clean(kind)}",
            hint=f"for a CLIP, say which architecture and tag it has: ViT-B-32/openai={path}",
        )
    if header.get("schema") != SCHEMA:
        raise ModelError(f"{path.name} was written by a newer version of vqclip", hint="update vqclip")
    config, words = checked_clip_config(header.get("config"), path.name), header.get("words", [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ModelError(f"{path.name}: its list of words is damaged")
    stored = read_weights(path)
    weights = {name: tensor.float() for name, tensor in stored.items() if name not in (_ROWS, _IDS)}
    weights[_TABLE] = _expanded(stored, path.name)
    require_finite(weights, path.name)
    mean, std = (_three(header.get(name), name, path.name) for name in ("mean", "std"))
    if min(std) <= 0:
        raise ModelError(f"{path.name}: its std is not positive")
    return ClipFile(config, weights, mean, std, tuple(words))


def _rows(table: Tensor, ids: Tensor) -> Tensor:
    if table.shape[0] == len(ids):
        return table
    if table.shape[0] != VOCABULARY:
        raise ValueError(
            f"the token table has {counted(table.shape[0], 'row')}: neither one for each id nor the vocabulary's"
        )
    own = ids != ELSE
    rows = table.new_empty(len(ids), table.shape[1])
    rows[own] = table[ids[own].long()]
    rows[~own] = rows[own].mean(0)
    return rows


def _expanded(stored: Mapping[str, Tensor], label: str) -> Tensor:
    rows, ids = stored.get(_ROWS), stored.get(_IDS)
    if rows is None or ids is None or rows.ndim != 2 or ids.shape != rows.shape[:1] or ids.is_floating_point():
        raise ModelError(f"{label}: its token rows are missing or do not fit together")
    own = ids != ELSE
    if int((~own).sum()) != 1 or int(ids.min()) < ELSE or int(ids.max()) >= VOCABULARY:
        raise ModelError(f"{label}: its token ids are out of range")
    table = rows[~own].float().repeat(VOCABULARY, 1)
    table[ids[own].long()] = rows[own].float()
    return table


def _three(value: Any, name: str, label: str) -> tuple[float, float, float]:
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(part, int | float) for part in value):
        raise ModelError(f"{label}: its {name} is not three numbers")
    return float(value[0]), float(value[1]), float(value[2])
