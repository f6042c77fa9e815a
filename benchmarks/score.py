"""Counts what someone who saw only a numbered sheet read off it, against what the prompts had asked for.

    python benchmarks/score.py benchmarks/prompts100.csv answers.txt

A line of the answers is `number | subject | other subject | color | time | weather | style`, with `-` for none; the
words are those of the table. A prompt's subject is right if it is one of the two named.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

FIELDS = ("subject", "other", "color", "time", "weather", "style")
MOODS = ("time", "weather", "style")


def read_answers(path: Path) -> dict[int, dict[str, str]]:
    """The answers by number; what was not said is ''."""
    answers = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        number, *said = (part.strip().lower() for part in line.split("|"))
        if number.isdigit():
            values = ("" if value == "-" else value for value in said)
            answers[int(number)] = dict.fromkeys(FIELDS, "") | dict(zip(FIELDS, values, strict=False))
    return answers


def score(rows: list[dict[str, str]], answers: dict[int, dict[str, str]]) -> dict[str, tuple[int, int]]:
    """For each attribute: how many prompts' were named rightly, of how many that asked for it; and in all."""
    right, asked = dict.fromkeys((*FIELDS, "moods", "whole"), 0), dict.fromkeys((*FIELDS, "moods", "whole"), 0)
    for number, row in enumerate(rows, start=1):
        answer = answers.get(number)
        if answer is None:
            continue
        shown = {answer["subject"], answer["other"]}
        hits = {
            field: row[field] in shown if field in ("subject", "other") else row[field] == answer[field]
            for field in FIELDS
            if row[field]
        }
        for field, hit in hits.items():
            for name in (field, "moods") if field in MOODS else (field,):
                asked[name] += 1
                right[name] += hit
        asked["whole"] += 1
        right["whole"] += all(hits.values())
    return {name: (right[name], asked[name]) for name in right}


def main() -> None:
    """Reads both tables and prints the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("answers", type=Path)
    asked = parser.parse_args()
    with asked.prompts.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name, (right, of) in score(rows, read_answers(asked.answers)).items():
        print(f"{name:8} {right:3} of {of}")


if __name__ == "__main__":
    main()
