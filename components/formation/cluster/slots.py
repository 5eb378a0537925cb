"""Hash slots: what they are called, how many each shard should have, and the fewest that must move. Pure.

Redis Cluster spreads all keys over 16384 slots (Redis documentation: "Redis Cluster specification", key distribution
model). A shard is named as the caller likes: by the shard's own name or by its primary's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from redis.crc import key_slot

SLOT_COUNT = 16384


@dataclass(frozen=True)
class SlotMove:
    """Slots, ascending, that go from one shard to another."""

    source: str
    target: str
    slots: tuple[int, ...]


def slot_of(key: str | bytes) -> int:
    """The slot of a key: of what is between the first ``{`` and the next ``}`` if that is not empty, else of it all."""
    return int(key_slot(key.encode() if isinstance(key, str) else key))


def slot_ranges(slots: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """The ranges, first and last slot of each, that the slots make up; ascending, as few as possible."""
    ranges: list[tuple[int, int]] = []
    for slot in sorted(set(slots)):
        if ranges and ranges[-1][1] == slot - 1:
            ranges[-1] = (ranges[-1][0], slot)
        else:
            ranges.append((slot, slot))
    return tuple(ranges)


def format_slots(slots: Iterable[int]) -> str:
    """``0-5460,5462``."""
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in slot_ranges(slots))


def parse_slots(text: str) -> tuple[int, ...]:
    """The slots, ascending, of what `format_slots` writes or of the slots in a line of CLUSTER NODES (``0-5460 5462``).

    Raises ValueError for what is not a slot or a range of slots.
    """
    slots: set[int] = set()
    for word in re.split(r"[\s,]+", text.strip()) if text.strip() else []:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
        if match is None:
            raise ValueError(f"not a range of slots: {word}")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < SLOT_COUNT:
            raise ValueError(f"not a range of slots between 0 and {SLOT_COUNT - 1}: {word}")
        slots.update(range(first, last + 1))
    return tuple(sorted(slots))


def wanted_counts(weights: Mapping[str, int]) -> dict[str, int]:
    """How many of all slots each shard gets: in proportion to its weight, rounded by the largest remainder.

    Among equal remainders the earlier shard gets more. Raises ValueError for a negative weight, or without any weight.
    """
    return _shares(SLOT_COUNT, weights, dict.fromkeys(weights, 0))


def fewest_moves(owned: Mapping[str, Collection[int]], weights: Mapping[str, int]) -> tuple[SlotMove, ...]:
    """The fewest slots that have to move until each shard has its share; none if counts differ by rounding only.

    ``owned``: what each shard has now. ``weights``: what its share is in proportion to; a shard with weight 0, or that
    is not in it, ends without slots. Which of several equal shards gets a slot more is decided so that the least moves.
    What moves is in as few ranges as possible. The same input always gives the same moves. Raises ValueError for a
    negative weight, or when there are slots but nobody to have them.
    """
    have = {shard: len(slots) for shard, slots in owned.items()}
    wanted = _shares(sum(have.values()), weights, have) if any(have.values()) else {}
    surplus = {shard: count - wanted.get(shard, 0) for shard, count in have.items() if count > wanted.get(shard, 0)}
    lacking = {shard: count - have.get(shard, 0) for shard, count in wanted.items() if count > have.get(shard, 0)}
    givers = {shard: list(slot_ranges(owned[shard])) for shard in surplus}
    moves = []
    # The most wanted from who has most to give: that makes few pairs of shards, and so few ranges.
    sources = sorted(surplus, key=lambda shard: -surplus[shard])
    for target in sorted(lacking, key=lambda shard: -lacking[shard]):
        while lacking[target]:
            source = sources[0]
            count = min(surplus[source], lacking[target])
            moves.append(SlotMove(source, target, _take(givers[source], count)))
            lacking[target] -= count
            surplus[source] -= count
            if not surplus[source]:
                sources.pop(0)
    return tuple(moves)


def _shares(total: int, weights: Mapping[str, int], have: Mapping[str, int]) -> dict[str, int]:
    """``total`` in proportion to the weights, rounded down or up: up where more is there already, then by remainder."""
    if any(weight < 0 for weight in weights.values()):
        raise ValueError("a shard's weight cannot be negative")
    sum_of_weights = sum(weights.values())
    if not sum_of_weights:
        raise ValueError("no shard has a weight: nobody could have the slots")
    shares = {shard: total * weight // sum_of_weights for shard, weight in weights.items()}
    remainders = {shard: total * weight % sum_of_weights for shard, weight in weights.items()}
    rounded = [shard for shard, remainder in remainders.items() if remainder]
    rounded.sort(key=lambda shard: (have.get(shard, 0) <= shares[shard], -remainders[shard]))
    for shard in rounded[: total - sum(shares.values())]:
        shares[shard] += 1
    return shares


def _take(ranges: list[tuple[int, int]], count: int) -> tuple[int, ...]:
    """Takes ``count`` slots out of ``ranges``: the end of the shortest range that is long enough, else long ranges."""
    taken: list[int] = []
    while len(taken) < count:
        missing = count - len(taken)
        enough = [each for each in ranges if each[1] - each[0] + 1 >= missing]
        if enough:
            first, last = min(enough, key=lambda each: (each[1] - each[0], each))
        else:
            first, last = max(ranges, key=lambda each: (each[1] - each[0], each))
        begin = max(first, last - missing + 1)
        taken.extend(range(begin, last + 1))
        place = ranges.index((first, last))
        ranges[place : place + 1] = [(first, begin - 1)] if begin > first else []
    return tuple(sorted(taken))
