"""A CLIP of any kind, made alike: pictures and words in, embeddings of length one out."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqclip.models.towers import quicken
from vqclip.store.folder import digest
from vqclip.words import clean

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


class ClipPerceptor:
    """A frozen CLIP with its own size, mean, std and tokenizer.

    It takes the model over: freezes it and quickens its picture tower in place. The picture tower computes in `dtype`;
    the text tower, which works once for each prompt, stays float32.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Callable[[list[str]], Tensor],
        *,
        name: str,
        path: Path,
        mean: Sequence[float],
        std: Sequence[float],
        words: Iterable[str] = (),
        notice: str | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name = name
        self.path = path
        self.dtype = dtype
        self.device = torch.device(device)
        self.model = model.eval().requires_grad_(False)
        quicken(self.model.visual).to(dtype=dtype, memory_format=torch.channels_last)
        self.model.to(self.device)
        self.tokenizer = tokenizer
        self.words = tuple(words)
        self._notice = notice
        self._mean = torch.tensor(tuple(mean), device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(tuple(std), device=self.device).view(1, 3, 1, 1)

    @property
    def image_size(self) -> int:
        """Side in pixels of the square pictures it looks at."""
        size = self.model.visual.image_size
        return int(size if isinstance(size, int) else size[0])

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean of each color channel that it was trained with."""
        return tuple(self._mean.flatten().tolist())

    @property
    def std(self) -> tuple[float, ...]:
        """The standard deviation of each color channel that it was trained with."""
        return tuple(self._std.flatten().tolist())

    @cached_property
    def digest(self) -> str:
        """The sha256 of its weight file."""
        return digest(self.path)

    def take_notice(self) -> str | None:
        """What people should be told of its file, once; None for nothing, or when it was told."""
        said, self._notice = self._notice, None
        return said

    def embed_image(self, image: Tensor) -> Tensor:
        """Images [B, 3, S, S] in [0, 1] -> embeddings [B, D] of length one, float32; gradients reach the images.

        Raises: ValueError if the images are not of its size.
        """
        if image.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(f"{self.name} looks at {self.image_size} px squares, not {tuple(image.shape)}")
        normalized = ((image.float() - self._mean) / self._std).to(self.dtype)
        return F.normalize(self.model.encode_image(normalized).float(), dim=-1)

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> embeddings [len(texts), D] of length one, float32."""
        tokens = self.tokenizer(list(texts)).to(self.device)
        return F.normalize(self.model.encode_text(tokens).float(), dim=-1)

    def copy_to(self, device: torch.device) -> ClipPerceptor:
        """The same perceptor with a picture tower of its own on another device, where it looks at pictures.

        All else is shared with this one, so it reads texts where this one does.
        """
        shared = {id(part): part for part in self.model.children() if part is not self.model.visual}
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model, shared)
        twin.model.visual.to(device)
        twin._mean, twin._std = self._mean.to(device), self._std.to(device)
        return twin

    def window_warning(self, text: str) -> str | None:
        """A sentence if the text is longer than what the model reads, or None. (None also for foreign tokenizers.)"""
        encode = getattr(self.tokenizer, "encode", None)
        if encode is None:
            return None
        tokens, limit = encode(text), self.tokenizer.context_length - 2
        if len(tokens) <= limit:
            return None
        seen = clean(self.tokenizer.decode(tokens[max(0, limit - 5) : limit]).strip())
        return f"{self.name} reads only the first {limit} of the prompt's {len(tokens)} tokens, up to '… {seen}'"

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the model has never seen, in order; [] where it keeps no list of its words."""
        if not self.words:
            return []
        known = {part for word in self.words for part in _words(word)}
        return list(dict.fromkeys(word for word in _words(text) if word not in known))


def _words(text: Any) -> list[str]:
    return _WORD.findall(str(text).casefold())
