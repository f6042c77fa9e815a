"""Runs all tests, the long ones too, and writes what came out to results/long.json: `scripts/check --long`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from machine import RESULTS, describe


class Counts:
    """A pytest plugin that counts outcomes and keeps how long the long tests took and what they measured."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.long: dict[str, float] = {}
        self.figures: dict[str, dict[str, Any]] = {}
        self._marked: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remembers which tests are long."""
        self._marked = {item.nodeid for item in items if item.get_closest_marker("long")}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts each test once: by its own part, or by what kept it from running."""
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.outcome] += 1
            if report.nodeid in self._marked:
                self.long[report.nodeid] = round(report.duration, 1)
            if report.user_properties:
                self.figures[report.nodeid] = dict(report.user_properties)


def main(arguments: list[str]) -> int:
    """Runs pytest with what is left of the arguments; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=RESULTS / "long.json", help="where the result goes")
    parser.add_argument("--add", action="store_true", help="keep what is there: all tests take long, parts do not")
    said, rest = parser.parse_known_args(arguments)
    counts, began = Counts(), time.monotonic()
    code = int(pytest.main(["-m", "long or not long", "-n", "0", *rest], plugins=[counts]))
    machine = {key: value for key, value in describe().items() if key != "date"}
    run = {"arguments": rest, "exit_code": code, **counts.outcomes, "seconds": round(time.monotonic() - began)}
    before = json.loads(said.to.read_text(encoding="utf-8")) if said.add and said.to.exists() else {}
    result: dict[str, Any] = {"machine": machine, "runs": [*before.get("runs", ()), run]}
    result["long"] = {**before.get("long", {}), **counts.long}
    result["figures"] = {**before.get("figures", {}), **counts.figures}
    said.to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
