"""Tells what a run did when memory ran out: each sentence once, to the user and into the recipe."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from vqclip.engine.thrift import Thrift


class Spending:
    """A sink that says what its thrift has done since the last event, and keeps it under `memory` in the facts."""

    def __init__(self, thrift: Thrift, facts: MutableMapping[str, Any], note: Callable[[str], None]) -> None:
        self._thrift, self._facts, self._note = thrift, facts, note

    def __call__(self, event: object = None) -> None:
        """Says what is new."""
        for text in self._thrift.said[len(self._facts.get("memory", ())) :]:
            self._note(text)
            self._facts["memory"] = [*self._facts.get("memory", ()), text]
