"""What the scanner may find fault with: the table in docs/aws.md, which says why."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path

from tests.aws_scan.checkov import Finding

_DOCUMENT = Path(__file__).parents[2] / "docs" / "aws.md"
_HEADING = "\n## Scanned\n"
_ROW = re.compile(r"^\| (?P<checks>CKV[^|]*) \| (?P<resources>[^|]*) \| (?P<why>[^|]+) \|$", re.MULTILINE)
_PATTERN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class AllowedException:
    """A rule that resources need not follow; ``resources`` is a pattern of their addresses."""

    check: str
    resources: str

    def covers(self, finding: Finding) -> bool:
        """Whether it is about this finding."""
        return finding.check == self.check and fnmatch.fnmatchcase(finding.resource, self.resources)


def documented_exceptions() -> list[AllowedException]:
    """One for each rule and pattern in the table."""
    section = _DOCUMENT.read_text().partition(_HEADING)[2].partition("\n## ")[0]
    return [
        AllowedException(check, resources)
        for row in _ROW.finditer(section)
        for check in row["checks"].split(", ")
        for resources in _PATTERN.findall(row["resources"])
    ]
