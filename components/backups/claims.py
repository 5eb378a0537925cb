"""Of several hosts that want to do the same, exactly one does.

A claim is an object that says whose it is and when it ends. They are numbered: ``<name>.1`` is the first one, and
whoever finds that the one of the highest number has ended tries to write the next. Each is written only where there is
none, so that one gets it however many try at once; nobody takes another's claim away by deleting or overwriting it.

Whoever lost a claim may not know it yet, as its clock or its process stood still. So it asks :meth:`Claim.is_held`
before what cannot be undone, and what it writes besides must not be in the way of its successor's: the claim's
``number`` is for names that differ.

The hosts' clocks must agree to well within the time that claims are for.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass

from .errors import AlreadyThere, BackupError
from .store import Store


@dataclass(frozen=True)
class _Content:
    owner: str
    token: str
    expires_at: float

    def to_json(self) -> bytes:
        return json.dumps({"owner": self.owner, "token": self.token, "expires_at": self.expires_at}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> _Content:
        """One that cannot be read belongs to nobody and has ended."""
        try:
            values = json.loads(content)
            return cls(str(values["owner"]), str(values["token"]), float(values["expires_at"]))
        except (ValueError, TypeError, KeyError):
            return cls("", "", 0)


class Claim:
    """What one holder has.

    Attributes:
        number: 1, or more when others let it run out before.
    """

    def __init__(self, claims: Claims, name: str, number: int, owner: str, token: str) -> None:
        self.number = number
        self._claims = claims
        self._name = name
        self._owner = owner
        self._token = token

    def is_held(self, now: float) -> bool:
        """Whether it has not run out, and nobody took over."""
        latest = self._claims._latest(self._name)
        return latest is not None and latest[1].token == self._token and now < latest[1].expires_at

    def renew(self, seconds: float, now: float) -> bool:
        """Hold it so long from now on. False when it is lost: it ran out, or another took over.

        To be called when half of the time is over: at its very end another may just have seen it run out.
        """
        if not self.is_held(now):
            return False
        self._claims._store.put(
            self._claims._key(self._name, self.number), _Content(self._owner, self._token, now + seconds).to_json()
        )
        # Between looking and writing another may have seen it run out.
        return self.is_held(now)


class Held:
    """Renews a claim, in a thread, for as long as the context lasts.

    ``seconds`` and ``every_seconds``: for how long it is held each time, and how often.

    Attributes:
        lost: set when it ran out, or another took over.
    """

    def __init__(self, claim: Claim, seconds: float, every_seconds: float) -> None:
        self.lost = threading.Event()
        self._claim = claim
        self._seconds = seconds
        self._every_seconds = every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Held:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every_seconds):
            with suppress(BackupError):  # tried again before it ends
                if not self._claim.renew(self._seconds, time.time()):
                    self.lost.set()
                    return


class Claims:
    """All claims below one key of a store."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def claim(self, name: str, owner: str, seconds: float, now: float) -> Claim | None:
        """Hold ``name`` for so many seconds from ``now``; None when another does.

        Args:
            name: of what only one may do.
            owner: whoever reads the store should know, such as a host's name. One that died gets no claim back
                before it ends.
            seconds: longer than what is done under it, or renewed meanwhile.
            now: seconds since 1970.
        """
        latest = self._latest(name)
        if latest and now < latest[1].expires_at:
            return None
        number = latest[0] + 1 if latest else 1
        token = str(uuid.uuid4())
        try:
            content = _Content(owner, token, now + seconds).to_json()
            self._store.put(self._key(name, number), content, only_if_absent=True)
        except AlreadyThere:
            return None
        return Claim(self, name, number, owner, token)

    def is_claimed(self, name: str, now: float) -> bool:
        """Whether somebody holds it."""
        latest = self._latest(name)
        return latest is not None and now < latest[1].expires_at

    def remove_expired(self, before: float) -> None:
        """Remove all claims to names of which the latest ended before that: nobody is interested any more."""
        numbers: dict[str, list[int]] = {}
        for name, number in self._numbers(""):
            numbers.setdefault(name, []).append(number)
        for name, taken in numbers.items():
            latest = self._latest(name)
            if latest and latest[1].expires_at < before:
                # Lowest first: as long as any is there, the highest is.
                self._store.delete([self._key(name, number) for number in sorted(taken)])

    def _latest(self, name: str) -> tuple[int, _Content] | None:
        for number in sorted((number for found, number in self._numbers(name) if found == name), reverse=True):
            content = self._store.get(self._key(name, number))
            if content is not None:
                return number, _Content.from_json(content)
        return None

    def _numbers(self, name: str) -> list[tuple[str, int]]:
        begin = f"{self._prefix}/"
        found = []
        for entry in self._store.entries(f"{begin}{name}"):
            claimed, _, number = entry.key.removeprefix(begin).rpartition(".")
            if claimed and number.isdecimal():
                found.append((claimed, int(number)))
        return found

    def _key(self, name: str, number: int) -> str:
        return f"{self._prefix}/{name}.{number}"
