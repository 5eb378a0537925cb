"""Checks of whole numbers against the range that they may have."""

from __future__ import annotations


def range_problem(setting: str, value: int, lowest: int, highest: int) -> list[str]:
    """One line when ``value`` is not between ``lowest`` and ``highest``, both included; else nothing."""
    if lowest <= value <= highest:
        return []
    return [f"{setting}: {value} is out of range; use {lowest} to {highest}"]
