"""What a measurement prints: a table for people, one line per target for programs, and the record in RESULTS.md."""

from __future__ import annotations

import datetime
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
_TITLE = "# Results\n\nThe latest run of each measurement on record, written by `python -m bench.NAME --record`.\n"


@dataclass(frozen=True)
class Target:
    """A ratio, and what it must be at most (or less than, when ``below``)."""

    name: str
    ratio: float
    limit: float
    below: bool = False

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio < self.limit if self.below else self.ratio <= self.limit

    def __str__(self) -> str:
        sign, verdict = "<" if self.below else "<=", "ok" if self.met else "short"
        return f"{self.name} ratio={self.ratio:.2f} target{sign}{self.limit:.2f} {verdict}"


def median_and_range(seconds: Sequence[float]) -> str:
    """``3.52 s (3.40 to 3.71)``."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with even columns."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )


def publish(name: str, text: str, targets: Sequence[Target], machine: str, *, record: bool) -> int:
    """Print the result, put it into RESULTS.md when ``record``; return the exit code, 1 when a target is missed."""
    lines = "\n".join(map(str, targets))
    print(f"\n{text}\n\n{lines}")
    if record:
        today = datetime.datetime.now().astimezone().date().isoformat()
        _record(name, f"## {name}\n\n{today}, {machine}\n\n{text}\n\n```\n{lines}\n```\n")
    return 0 if all(target.met for target in targets) else 1


def _record(name: str, section: str) -> None:
    """Replace the section of that name, or add it."""
    text = RESULTS.read_text() if RESULTS.exists() else _TITLE
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    kept = [each.strip() + "\n" for each in sections if not each.startswith(f"## {name}\n")]
    RESULTS.write_text("\n".join([kept[0], *sorted([*kept[1:], section])]))
