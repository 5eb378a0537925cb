"""The one error that set-up steps raise."""

from __future__ import annotations


class Problem(Exception):
    """A step cannot go on: the message names what is missing or went wrong and what to do about it.

    ``reason`` is the shortest form, for a line that says why the next best way is taken.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message
