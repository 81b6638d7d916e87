"""Operators that move elements, as layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..compiler.caffe import writer
from ..grammar import tree
from .folding import broadcast, resolved, slices, whole_numbers
from .import_values import Known, Tensor, Untranslated, Value
from .import_windows import padded
from .translating import Translator


def reshape(t: Translator) -> Tensor:
    x, wanted = t.tensor(0), t.known(1)
    if wanted is None:
        raise Untranslated("its shape is missing")
    zero = bool(t.integer("allowzero", 0))
    found = [resolved(shape, array, zero) for shape, array in zip(x.shapes, wanted.arrays, strict=True)]
    return t.reshaped(x, found)


def flatten(t: Translator) -> Tensor:
    x = t.tensor(0)
    axis = t.integer("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    if not 0 <= axis <= x.rank:
        raise Untranslated(f"axis {axis} of {x.rank}")
    if axis == 1 and x.rank > 1:
        return x if x.rank == 2 else t.call("flatten", [x])
    return t.reshaped(x, [(math.prod(shape[:axis]), math.prod(shape[axis:])) for shape in x.shapes])


def _axes(t: Translator, rank: int) -> list[int]:
    given = t.known(1)
    axes = whole_numbers(given.same) if given is not None else list(t.integers("axes", ()))
    if any(not isinstance(a, int) or not -rank <= a < rank for a in axes):
        raise Untranslated(f"axes {axes[:40]} of {rank}")
    return sorted({a % rank for a in axes})


def squeeze(t: Translator) -> Tensor:
    x = t.tensor(0)
    axes = _axes(t, x.rank) or [axis for axis in range(x.rank) if all(shape[axis] == 1 for shape in x.shapes)]
    if any(shape[axis] != 1 for axis in axes for shape in x.shapes):
        raise Untranslated(f"axes {axes} are not of size 1")
    return t.reshaped(x, [tuple(n for i, n in enumerate(shape) if i not in axes) for shape in x.shapes])


def unsqueeze(t: Translator) -> Tensor:
    x = t.tensor(0)
    given = t.known(1)
    count = given.same.size if given is not None else len(t.integers("axes", ()))
    axes = _axes(t, min(x.rank + count, 32))
    shapes = []
    for shape in x.shapes:
        rest = iter(shape)
        shapes.append(tuple(1 if axis in axes else next(rest) for axis in range(len(shape) + len(axes))))
    return t.reshaped(x, shapes)


def transpose(t: Translator) -> Tensor:
    x = t.tensor(0)
    order = t.integers("perm", range(x.rank)[::-1])
    return x if list(order) == list(range(x.rank)) else t.call("transpose", [x], [list(order)])


def concat(t: Translator) -> Tensor:
    xs = [t.tensor(index) for index in range(max(1, len(t.node.inputs)))]
    axis = t.integer("axis", 1) % max(xs[0].rank, 1)
    if len(xs) == 1:
        return xs[0]
    return t.call("concat", xs, axis=axis if axis != 1 else None)


def split(t: Translator) -> list[Tensor]:
    x = t.tensor(0)
    axis = t.integer("axis", 0) % x.rank
    count, size = len(t.node.outputs), x.size(axis)
    given = t.known(1)
    sizes = whole_numbers(given.same) if given is not None else list(t.integers("split", ()))
    if not sizes:
        each = -(-size // count)
        sizes = [each] * (count - 1) + [size - each * (count - 1)]
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 1:
        raise Untranslated(f"parts of {sizes[:40]} of an axis of {size}")
    cuts = np.cumsum(sizes)[:-1].tolist()
    if not cuts:
        return [x]
    return t.parts(x, axis, cuts, [name in t.uses or name in t.outputs for name in t.node.outputs])


def slice_(t: Translator) -> Tensor:
    x = t.tensor(0)
    given = [None, *(value.same if (value := t.known(i)) is not None else None for i in range(1, 5))]
    for axis, start, stop, step in slices(t.node, given, x.rank):
        x = _sliced(t, x, axis, start, stop, step)
    return x


def _sliced(t: Translator, x: Tensor, axis: int, start: int, stop: int, step: int) -> Tensor:
    if start == 0 and step == 1 and stop >= 2**31 - 1:
        return x  # all of it, also of the batch
    size = x.size(axis)
    if step < 1:
        raise Untranslated(f"a step of {step}")
    first = min(max(start + size if start < 0 else start, 0), size)
    last = min(max(stop + size if stop < 0 else stop, 0), size)
    if step == 1:
        return t.cut(x, axis, first, last)
    count = -(-(last - first) // step)
    whole = first + count * step
    if count < 1:
        raise Untranslated("it is empty")
    # Of each `step` elements the first: a row of them, cut after one; what lacks in the last row is padded on.
    if whole > size:
        edges = [0] * (x.rank - axis)
        edges[0] = whole - size
        x = padded(t, x, [0] * len(edges), edges)
    x = t.cut(x, axis, first, whole)
    rows = t.reshaped(x, [(*shape[:axis], count, step, *shape[axis + 1 :]) for shape in x.shapes])
    taken = t.cut(rows, axis + 1, 0, 1)
    return t.reshaped(taken, [(*shape[: axis + 1], *shape[axis + 2 :]) for shape in taken.shapes])


def gather(t: Translator) -> Value:
    """Rows of weights by number, or the places of an axis that are known."""
    table, index = t.operand(0), t.operand(1)
    rank = table.rank if isinstance(table, Tensor) else table.arrays[0].ndim
    axis = t.integer("axis", 0) % max(rank, 1)
    if isinstance(table, Known) and isinstance(index, Tensor):
        return _embedded(t, table, index, axis)
    if not isinstance(table, Tensor) or not isinstance(index, Known):
        raise Untranslated("places that the net computes, of what it computes")
    places = index.same
    size = table.size(axis)
    wanted = [n + size if n < 0 else n for n in whole_numbers(places)]
    if not wanted or min(wanted) < 0 or max(wanted) >= size:
        raise Untranslated("its places are outside of the axis")
    if wanted == list(range(wanted[0], wanted[0] + len(wanted))):
        y = t.cut(table, axis, wanted[0], wanted[-1] + 1)
    else:
        y = _picked(t, table, axis, np.asarray(wanted))
    shapes = [(*shape[:axis], *places.shape, *shape[axis + 1 :]) for shape in y.shapes]
    return t.reshaped(y, shapes)


def _picked(t: Translator, x: Tensor, axis: int, places: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Tensor:
    """Places of an axis, which is brought to the front."""
    order = [axis, *(i for i in range(x.rank) if i != axis)]
    front = x if axis == 0 else t.call("transpose", [x], [order])
    numbers = t.as_tensor(Known((places.astype(np.int64),) * len(t.batches), f"{t.node.outputs[0]}_places"))
    picked = t.call("batch_reindex", [front, numbers])
    back = [order.index(i) for i in range(x.rank)]
    return picked if axis == 0 else t.call("transpose", [picked], [back])


def _embedded(t: Translator, table: Known, index: Tensor, axis: int) -> Tensor:
    weight = table.same
    if weight.ndim != 2 or axis != 0:
        raise Untranslated("numbers that are no rows of a matrix")
    label = t.label(table.source)
    return t.call("embed", [index], list(weight.shape), label=label, weights={"weight": weight}, bias=False)


def pad(t: Translator) -> Tensor:
    """By a constant; the edges are an attribute before version 11, an operand since."""
    x = t.tensor(0)
    mode = t.attr("mode", "constant") or "constant"
    if mode != "constant":
        raise Untranslated(f"mode {mode}")
    given, filled, chosen = (t.known(index) if t.opset >= 11 else None for index in (1, 2, 3))
    edges = whole_numbers(given.same) if given is not None else list(t.integers("pads", ()))
    value = t.scalar(filled) if filled is not None else t.number("value", 0.0)
    axes = [a % x.rank for a in whole_numbers(chosen.same)] if chosen is not None else list(range(x.rank))
    if len(edges) != 2 * len(axes) or value is None or any(not isinstance(n, int) for n in edges):
        raise Untranslated(f"{len(edges)} edges for {len(axes)} axes")
    low, high = [0] * x.rank, [0] * x.rank
    for axis, before, after in zip(axes, edges[: len(axes)], edges[len(axes) :], strict=True):
        low[axis], high[axis] = before, after
    for axis in range(x.rank):
        if low[axis] < 0 or high[axis] < 0:
            x = t.cut(x, axis, max(-low[axis], 0), x.size(axis) - max(-high[axis], 0))
    low, high = ([max(n, 0) for n in edge] for edge in (low, high))
    first = next((axis for axis in range(x.rank) if low[axis] or high[axis]), x.rank)
    return padded(t, x, low[first:], high[first:], value)


def expand(t: Translator) -> Tensor:
    """x with axes repeated: a sum with zeros of the larger shape."""
    x, wanted = t.tensor(0), t.known(1)
    if wanted is None:
        raise Untranslated("its shape is missing")
    shapes = [broadcast(shape, whole_numbers(array)) for shape, array in zip(x.shapes, wanted.arrays, strict=True)]
    if all(shape == own for shape, own in zip(shapes, x.shapes, strict=True)):
        return x
    return t.zeros_added(x, [_size(t, found) for found in zip(*shapes, strict=True)], shapes)


def _size(t: Translator, found: Sequence[int]) -> object:
    """A size as the language writes it: a number, `N`, or so many times `N`."""
    first = int(found[0])
    if len(set(found)) == 1:
        return first
    times, rest = divmod(first, t.batches[0])
    if rest or any(times * n != size for n, size in zip(t.batches, found, strict=True)):
        raise Untranslated("a size that is no number and no multiple of the batch")
    symbol = writer.name("N", t.place)
    return symbol if times == 1 else tree.Binary(t.place, "*", writer.constant(times, t.place), symbol, t.place)
