"""Layered graph layout: boxes of a directed graph from top to bottom, so that edges run down and cross little.

Sugiyama's method: a row for each box by the longest way to it, a point for every row that an edge passes, a few sweeps
that order each row by the mean place of its neighbours, then places along the row that keep their distance.
Source: Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system structures", 1981.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)
SWEEPS = 8
Point = tuple[int, Hashable]  # (0, key) is a box; (1, (edge, row)) the place where an edge passes a row


@dataclass(frozen=True)
class BoxLayout:
    """x is the middle of each box, row counts from 0; ways are the (x, row) points of each edge, ends included."""

    x: Mapping[Any, float]
    row: Mapping[Any, int]
    ways: Mapping[tuple[Any, Any], tuple[tuple[float, int], ...]]
    width: float
    rows: int


def layout(widths: Mapping[K, float], edges: Sequence[tuple[K, K]], gap: float) -> BoxLayout:
    """Places for boxes of the given widths, `gap` apart. The keys must be in an order in which every edge leads on."""
    row = _rows(widths, edges)
    ends: dict[tuple[K, K], list[Point]] = {}
    lines: list[list[Point]] = [[] for _ in range(1 + max(row.values(), default=0))]
    for key in widths:
        lines[row[key]].append((0, key))
    for edge in dict.fromkeys(edges):
        a, b = edge
        passing: list[Point] = [(1, (edge, r)) for r in range(row[a] + 1, row[b])]
        for point, r in zip(passing, range(row[a] + 1, row[b]), strict=True):
            lines[r].append(point)
        ends[edge] = [(0, a), *passing, (0, b)]
    above: dict[Point, list[Point]] = {}
    below: dict[Point, list[Point]] = {}
    for chain in ends.values():
        for p, q in pairwise(chain):
            above.setdefault(q, []).append(p)
            below.setdefault(p, []).append(q)
    size = {point: widths[point[1]] if point[0] == 0 else gap / 2 for line in lines for point in line}  # type: ignore[index]
    x = _places(lines, above, below, size, gap)
    left = min((x[p] - size[p] / 2 for p in x), default=0.0)
    right = max((x[p] + size[p] / 2 for p in x), default=0.0)
    return BoxLayout(
        x={key: x[0, key] - left for key in widths},
        row=row,
        ways={
            edge: tuple((x[p] - left, row[edge[0]] + i) for i, p in enumerate(chain)) for edge, chain in ends.items()
        },
        width=right - left,
        rows=len(lines),
    )


def _rows(keys: Mapping[K, float], edges: Sequence[tuple[K, K]]) -> dict[K, int]:
    """The longest way from any start; a start stands just above the first that reads it."""
    before: dict[K, list[K]] = {key: [] for key in keys}
    after: dict[K, list[K]] = {key: [] for key in keys}
    for a, b in edges:
        before[b].append(a)
        after[a].append(b)
    row: dict[K, int] = {}
    for key in keys:
        row[key] = 1 + max((row[a] for a in before[key]), default=-1)
    for key in keys:
        if not before[key] and after[key]:
            row[key] = min(row[b] for b in after[key]) - 1
    return row


def _places(
    lines: list[list[Point]],
    above: Mapping[Point, list[Point]],
    below: Mapping[Point, list[Point]],
    size: Mapping[Point, float],
    gap: float,
) -> dict[Point, float]:
    """Order the rows in sweeps down and up, then pull each point to the middle of its neighbours."""
    order = {point: float(i) for line in lines for i, point in enumerate(line)}
    for sweep in range(SWEEPS):
        near = above if sweep % 2 == 0 else below
        for line in lines if sweep % 2 == 0 else reversed(lines):
            line.sort(key=lambda p: _mean(near.get(p, []), order, order[p]))
            order.update((point, float(i)) for i, point in enumerate(line))
    x: dict[Point, float] = {}
    for line in lines:
        at = 0.0
        for point in line:
            x[point] = at + size[point] / 2
            at += size[point] + gap
    for sweep in range(SWEEPS):
        near = above if sweep % 2 == 0 else below
        for line in lines if sweep % 2 == 0 else reversed(lines):
            _spread(line, {p: _mean(near.get(p, []), x, x[p]) for p in line}, x, size, gap)
    return x


def _mean(near: Sequence[Point], at: Mapping[Point, float], otherwise: float) -> float:
    return sum(at[p] for p in near) / len(near) if near else otherwise


def _spread(
    line: list[Point], wish: Mapping[Point, float], x: dict[Point, float], size: Mapping[Point, float], gap: float
) -> None:
    """Each point as near to its wish as the order and the gaps allow: the mean of packing from the left and right."""
    left: list[float] = []
    for i, p in enumerate(line):
        least = left[-1] + (size[line[i - 1]] + size[p]) / 2 + gap if i else -float("inf")
        left.append(max(wish[p], least))
    right: list[float] = []
    for i, p in enumerate(reversed(line)):
        most = right[-1] - (size[line[len(line) - i]] + size[p]) / 2 - gap if i else float("inf")
        right.append(min(wish[p], most))
    for p, a, b in zip(line, left, reversed(right), strict=True):
        x[p] = (a + b) / 2
