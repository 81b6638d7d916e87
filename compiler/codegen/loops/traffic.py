"""Memory traffic: the bytes that a kernel touches, counted from the accesses of its text; each element counts once.

What an access touches is the values of its index, axis by axis, where these lie in the place; so a slice is its
elements, and a window counts each element once though it is read by many. Rows that data choose are at most as many as
are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ...loops.index import REMEMBERED, Expr, Var
from ...loops.intervals import mesh_of
from ...loops.view import Index
from ...types import SIZES
from .place import MemRef

if TYPE_CHECKING:
    from .prove import Access

# So many values of variables are tried one by one; of more the bounds of an index are taken.
TRIED = 1 << 16
# Of places with more elements those that are touched are not marked one by one.
ELEMENTS = 1 << 24
Values = range | tuple[int, ...]


@dataclass(frozen=True)
class Touched:
    """What an access touches: values along each axis, and how many elements that is."""

    axes: tuple[Values, ...]
    count: int


def traffic(loads: Iterable[Access], stores: Iterable[Access], chosen: Mapping[Var, int]) -> int:
    """The bytes of all elements that are read, and of all that are written.

    chosen: variables whose values data give, with how often they are asked for.
    """
    total = 0
    for accesses in (loads, stores):
        places: dict[MemRef, dict[Touched, None]] = {}
        for one in accesses:
            places.setdefault(one.place, {})[_touched(one, chosen)] = None
        total += sum(_union(place, list(found)) * SIZES[place.dtype] for place, found in places.items())
    return total


def _touched(access: Access, chosen: Mapping[Var, int]) -> Touched:
    axes = tuple(_values(i, n) for i, n in zip(access.index, access.place.shape, strict=True))
    known = frozenset(v for i in access.index for v in i.vars)
    asked = [math.prod(chosen.get(v, v.size) for v in i.vars) for i in access.index]
    box = math.prod(min(len(values), most) for values, most in zip(axes, asked, strict=True))
    combined = math.prod(min(chosen.get(v, v.size), v.size) for v in known)
    shared = sum(len(i.vars) for i in access.index) > len(known)
    few = math.prod(v.size for v in known) <= TRIED and math.prod(access.place.shape) <= ELEMENTS
    if shared and few and not known & chosen.keys():
        mesh = mesh_of(known)
        shape = np.broadcast_shapes(*(v.shape for v in mesh.values()))
        index = [np.broadcast_to(i.value(mesh), shape).ravel() for i in access.index]
        inside = np.logical_and.reduce([(i >= 0) & (i < n) for i, n in zip(index, access.place.shape, strict=True)])
        within = [np.clip(i, 0, n - 1) for i, n in zip(index, access.place.shape, strict=True)]
        flat = np.ravel_multi_index(within, access.place.shape)
        seen = np.zeros(math.prod(access.place.shape), np.bool_)  # far quicker than to sort them
        seen[flat[inside]] = True
        return Touched(axes, int(np.count_nonzero(seen)))
    return Touched(axes, min(box, combined))


def values_of(index: Index, shape: Sequence[int]) -> int:
    """How many elements of a shape an index names."""
    return math.prod(len(_values(i, n)) for i, n in zip(index, shape, strict=True))


@lru_cache(REMEMBERED)
def _values(index: Expr, n: int) -> Values:
    """The values of an index that lie on its axis."""
    low, high = max(index.bounds[0], 0), min(index.bounds[1], n - 1)
    dense = not index.terms or (len(index.terms) == 1 and index.terms[0][0] == 1)
    if dense or math.prod(v.size for v in index.vars) > TRIED:
        return range(low, high + 1)
    mesh = mesh_of(index.vars)
    found = np.unique(index.value(mesh))
    found = found[(found >= 0) & (found < n)]
    if found.size and found.size == found[-1] - found[0] + 1:
        return range(int(found[0]), int(found[-1]) + 1)
    return tuple(found.tolist())


def _union(place: MemRef, found: list[Touched]) -> int:
    """Elements that are in any of these."""
    whole = math.prod(place.shape)
    if len(found) == 1:
        return found[0].count
    boxes = all(one.count == math.prod(map(len, one.axes)) for one in found)
    if boxes and whole <= TRIED:
        seen = np.zeros(place.shape, np.bool_)
        for one in found:
            seen[np.ix_(*one.axes)] = True
        return int(np.count_nonzero(seen))
    return min(sum(one.count for one in found), whole)
