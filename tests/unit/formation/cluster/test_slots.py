"""Slots: names of ranges, shares by weight, and the fewest moves."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.formation.cluster.slots import (
    SLOT_COUNT,
    SlotMove,
    fewest_moves,
    format_slots,
    parse_slots,
    slot_of,
    slot_ranges,
    wanted_counts,
)

slots = st.integers(0, SLOT_COUNT - 1)
weights = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 5), min_size=1).filter(
    lambda values: any(values.values())
)


@st.composite
def owned_slots(draw: st.DrawFn, shards: str = "abcdefgh", most: int = 60) -> dict[str, list[int]]:
    """Some slots, spread over some shards in any way."""
    owners = draw(st.lists(st.sampled_from(shards), max_size=most))
    found: dict[str, list[int]] = {shard: [] for shard in draw(st.sets(st.sampled_from(shards)))}
    for slot, owner in enumerate(owners):
        found.setdefault(owner, []).append(slot)
    return found


def after(owned: Mapping[str, list[int]], moves: tuple[SlotMove, ...]) -> dict[str, set[int]]:
    result = {shard: set(slots) for shard, slots in owned.items()}
    for move in moves:
        assert set(move.slots) <= result[move.source], "a shard can only give what it has"
        result[move.source] -= set(move.slots)
        result.setdefault(move.target, set()).update(move.slots)
    return result


def evenly(shards: int) -> dict[str, range]:
    borders = [index * SLOT_COUNT // shards for index in range(shards + 1)]
    return {f"shard-{index}": range(borders[index], borders[index + 1]) for index in range(shards)}


@given(st.sets(slots))
def test_ranges_name_the_slots_they_were_made_of(chosen: set[int]) -> None:
    assert parse_slots(format_slots(chosen)) == tuple(sorted(chosen))
    assert parse_slots(format_slots(chosen).replace(",", " ")) == tuple(sorted(chosen))
    ranges = slot_ranges(chosen)
    assert all(next_first > last + 1 for (_, last), (next_first, _) in itertools.pairwise(ranges))


def test_ranges_are_written_as_redis_writes_them() -> None:
    assert format_slots([5462, 0, 1, 2]) == "0-2,5462"
    assert format_slots([]) == ""
    assert parse_slots("") == ()


@pytest.mark.parametrize("text", ["5-3", "16384", "a", "1-", "-1", "[93-<-67ed", "1--2"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="range of slots"):
        parse_slots(text)


def test_the_slot_of_a_key_follows_hash_tags() -> None:
    # The values are those of the specification and of CLUSTER KEYSLOT.
    assert slot_of("foo") == 12182
    assert slot_of(b"somekey{foo}bar") == 12182
    assert slot_of("{}foo") != slot_of("")


@given(weights)
def test_shares_are_in_proportion_to_the_weights(chosen: dict[str, int]) -> None:
    counts = wanted_counts(chosen)
    assert sum(counts.values()) == SLOT_COUNT
    for shard, weight in chosen.items():
        exact = SLOT_COUNT * weight / sum(chosen.values())
        assert exact - 1 < counts[shard] < exact + 1
        assert weight or not counts[shard]


def test_shares_of_equal_shards() -> None:
    assert wanted_counts({"a": 1, "b": 1, "c": 1}) == {"a": 5462, "b": 5461, "c": 5461}
    assert wanted_counts({"a": 1, "b": 2, "c": 0}) == {"a": 5461, "b": 10923, "c": 0}


@pytest.mark.parametrize("wrong", [{}, {"a": 0}, {"a": 2, "b": -1}])
def test_impossible_weights_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="weight"):
        wanted_counts(wrong)
    with pytest.raises(ValueError, match="weight"):
        fewest_moves({"a": [1]}, wrong)


@given(owned_slots(), weights)
def test_moves_restore_balance_once_and_for_all(owned: dict[str, list[int]], chosen: dict[str, int]) -> None:
    moves = fewest_moves(owned, chosen)
    result = after(owned, moves)
    total = sum(map(len, owned.values()))
    assert sum(map(len, result.values())) == total
    for shard, has in result.items():
        exact = total * chosen.get(shard, 0) / sum(chosen.values())
        assert exact - 1 < len(has) < exact + 1
    moved = Counter(slot for move in moves for slot in move.slots)
    assert all(count == 1 for count in moved.values()), "no slot moves twice"
    assert all(move.source != move.target and move.slots == tuple(sorted(move.slots)) for move in moves)
    assert len({(move.source, move.target) for move in moves}) == len(moves), "one move for a pair"
    assert not fewest_moves({shard: sorted(has) for shard, has in result.items()}, chosen)
    assert moves == fewest_moves(owned, chosen)


@given(owned_slots("abcd", 20), st.dictionaries(st.sampled_from("abcd"), st.integers(1, 4), min_size=1))
def test_no_other_way_of_rounding_moves_fewer(owned: dict[str, list[int]], chosen: dict[str, int]) -> None:
    total = sum(map(len, owned.values()))
    exact = {shard: total * weight / sum(chosen.values()) for shard, weight in chosen.items()}
    ways = itertools.product(*({int(share), -int(-share // 1)} for share in exact.values()))
    fewest = min(
        sum(max(0, len(has) - wanted.get(shard, 0)) for shard, has in owned.items())
        for way in ways
        if sum(way) == total
        for wanted in [dict(zip(exact, way, strict=True))]
    )
    assert sum(len(move.slots) for move in fewest_moves(owned, chosen)) == fewest


def test_out_by_one_shard_takes_one_range_of_each() -> None:
    moves = fewest_moves(evenly(3), {f"shard-{index}": 1 for index in range(4)})
    assert sum(len(move.slots) for move in moves) == 4096
    assert {move.target for move in moves} == {"shard-3"}
    assert [len(slot_ranges(move.slots)) for move in moves] == [1, 1, 1]


def test_in_by_one_shard_drains_it_and_touches_nothing_else() -> None:
    four = evenly(4)
    moves = fewest_moves(four, {f"shard-{index}": 1 for index in range(3)})
    assert {move.source for move in moves} == {"shard-3"}
    assert sorted(slot for move in moves for slot in move.slots) == list(four["shard-3"])


def test_a_thousand_shards_become_half_as_many() -> None:
    moves = fewest_moves(evenly(1000), {f"shard-{index}": 1 for index in range(0, 1000, 2)})
    assert sum(len(move.slots) for move in moves) == sum(
        len(has) for index, has in enumerate(evenly(1000).values()) if index % 2
    )
