"""What is noted of a launch's accesses, against all pairs of them; and the elements that a part of a buffer has."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from support.sanitizer.shadow import Lanes, Now, Shadow
from support.sanitizer.spans import Elements

CELLS = 6
# (cell, program, turn, whether it writes, lane)
Event = tuple[int, int, int, bool, int]


def pairs(events: list[Event]) -> dict[str, set[int]]:
    """The cells with accesses that have no order, from the definition."""
    found: dict[str, set[int]] = {"race": set(), "order": set()}
    for one, other in combinations(events, 2):
        if one[0] != other[0] or not (one[3] or other[3]):
            continue
        if one[1] != other[1]:
            found["race"].add(one[0])
        elif one[2] == other[2]:
            updated = other[3] and not one[3] and one[4] == other[4]  # read, then written by the same lane
            if not updated:
                found["order"].add(one[0])
    return found


@pytest.mark.parametrize("seed", range(40))
def test_all_conflicts_of_random_launches_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lanes_of = Lanes()
    shadow = Shadow("arena", 64, 64 + 4 * CELLS, 4, lanes_of)
    events: list[Event] = []
    found: dict[str, set[int]] = {"race": set(), "order": set()}
    turn = 0
    for program in range(3):
        first = turn = turn + 1
        for _ in range(rng.integers(0, 5)):
            turn += int(rng.integers(0, 4) == 0)  # a barrier
            cells = np.sort(rng.choice(CELLS, rng.integers(1, 4), replace=False))
            if rng.integers(0, 2):
                rng.shuffle(cells)
            # Two lanes at least: of one element the threads are told apart elsewhere.
            lanes = rng.integers(0, 3, cells.size) + 1
            writes = bool(rng.integers(0, 2))
            units, each = shadow.places(64 + 4 * cells, 4)
            assert each is None
            note = shadow.write if writes else shadow.read
            for conflict in note(units, lanes_of.numbers((4,), lanes), Now(turn, first)):
                if conflict.what != "shared":
                    found[conflict.kind] |= set(map(int, units[conflict.where]))
            events += [(int(c), program, turn, writes, int(n)) for c, n in zip(cells, lanes, strict=True)]
    assert found == pairs(events)


def test_lanes_of_blocks_with_fewer_rows() -> None:
    """What one row holds for all is in the threads of each of them."""
    lanes = Lanes()
    rows, row, one = (lanes.numbers(shape, np.arange(size)) for shape, size in (((2, 4), 8), ((1, 4), 4), ((1,), 1)))
    column, other = lanes.numbers((2, 1), np.arange(2)), lanes.numbers((4, 2), np.arange(8))
    assert lanes.same(rows, rows).all()
    assert lanes.same(row[[0, 1, 2, 3] * 2], rows).all()
    assert lanes.same(column[[0] * 4 + [1] * 4], rows).all()
    assert lanes.same(one[[0] * 8], rows).all()
    assert lanes.same(row[[0, 0, 2, 3] * 2], rows).tolist() == [True, False, True, True] * 2
    assert not lanes.same(rows[:4], row).any()
    assert not lanes.same(other, rows).any()
    assert lanes.size(int(rows[5])) == 8


def test_elements_larger_than_the_units_cover_several() -> None:
    shadow = Shadow("arena", 8, 24, 2, Lanes())
    units, each = shadow.places(np.array([4, 8, 20]), 4)
    assert each is not None
    assert units.tolist() == [0, 1, 6, 7]  # the first ends where the piece begins
    assert each.tolist() == [1, 1, 2, 2]


def test_the_last_of_those_that_name_a_unit() -> None:
    last, repeated = Shadow("arena", 0, 16, 4, Lanes()).repeated(np.array([1, 2, 1, 3]))
    assert last.tolist() == [2, 1, 2, 3]
    assert repeated.tolist() == [True, False, False, False]


def span(
    name: str, start: int, shape: tuple[int, ...], strides: tuple[int, ...], item: int = 4, **more: bool
) -> Elements:
    return Elements(name, name, "arena", start, item, shape, strides, more.get("written", False))


def test_the_elements_of_a_part() -> None:
    part = span("part", 16, (2, 3, 2), (12, 1, 6))
    assert (part.count, part.reach, part.stop) == (12, 21, 100)
    assert part.own is not None
    assert np.flatnonzero(part.own).tolist() == [0, 1, 2, 6, 7, 8, 12, 13, 14, 18, 19, 20]
    assert part.element(0) == "part[0, 0, 0]"
    assert part.element(19) == "part[1, 1, 1]"
    assert span("whole", 0, (2, 3), (1, 2)).own is None
    assert span("whole", 0, (2, 3), (1, 2)).element(3) == "whole[1, 1]"
    assert span("number", 0, (), ()).element(0) == "number"
    assert span("nothing", 0, (0, 4), (4, 1)).stop == 0
