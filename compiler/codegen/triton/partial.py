"""Where a product whose K is cut in parts keeps its sums until the finishing launch adds them."""

from __future__ import annotations

import math

from ...loops.contraction import Contraction, size_of
from ...loops.view import Expr
from ..loops.place import Place
from ..strides import strides_of


def partial_sums(form: Contraction, split: int, wide: int, dtype: str) -> tuple[Place, bool]:
    """A place for each part of a result, and whether a tile that hangs over the columns has room there.

    Sums lie as tiles of `wide` columns are written, so that neighbours lie together. A store of f32 under a mask takes
    more registers than there are to a large tile: rows get as many columns as the tiles have, where the columns are
    axes of the result for themselves.
    """
    shape = (split, *map(int, form.root.shape))
    strides = strides_of(shape, [0, *(1 + a for a in _order(form))])
    columns, axes = size_of(form.columns), frozenset(form.columns)
    inner = [not i.vars.isdisjoint(axes) for i in (Expr.of(0), *form.result)]
    alone = all(i.vars <= axes for i, found in zip(form.result, inner[1:], strict=True) if found)
    room = columns > 1 and alone and math.prod(n for n, found in zip(shape, inner, strict=True) if found) == columns
    count = math.prod(shape)
    if room:
        padded = math.ceil(columns / wide) * wide
        strides = tuple(s if found else s // columns * padded for s, found in zip(strides, inner, strict=True))
        count = count // columns * padded
    return Place("partial", shape, strides, dtype, count=count, memory="partial"), room


def _order(form: Contraction) -> list[int]:
    """The axes of the result so that those of the columns are innermost."""
    position = {v: i for i, v in enumerate((*form.batch, *form.rows, *form.columns))}
    last = [max((position.get(v, -1) for v in i.vars), default=-1) for i in form.result]
    return sorted(range(len(last)), key=lambda a: last[a])
