"""How moto is changed: one method at a time, with the original at hand."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def around(owner: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function in place of a method. It gets the original, bound, before the method's own arguments after self:

    ``replacement(self, original, *arguments)``.
    """

    def decorate(replacement: Callable[..., Any]) -> Callable[..., Any]:
        original = getattr(owner, name)

        @functools.wraps(original)
        def method(self: Any, *arguments: Any, **named: Any) -> Any:
            return replacement(self, functools.partial(original, self), *arguments, **named)

        setattr(owner, name, method)
        return replacement

    return decorate
