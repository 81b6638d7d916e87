"""Constant folding of a model: operators on what is known, and on the shapes of tensors, computed as they stand.

These are what exporters leave of `x.view(x.size(0), -1)`: chains of Shape, Gather, Concat. Values have a number for
each of the batches for which the model is read, so what follows the batch may be computed too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..runtime.onnx.model import TYPES, ModelNode
from .import_values import Known, Tensor, Untranslated
from .translating import Translator

Array = np.ndarray[Any, Any]
Fold = Callable[[ModelNode, Sequence[Any], int], Any]
MAX_FOLDED = 1 << 22  # elements of a result that is made from nothing
MAX_PLACES = 1 << 20


def whole_numbers(value: Any) -> list[int]:
    """A vector of whole numbers; Untranslated for what is none, or too long to be sizes or places."""
    array = np.asarray(value)
    if (array.dtype.kind not in "iub" and array.size) or array.size > MAX_PLACES:
        raise Untranslated(f"{array.size} numbers of {array.dtype.name} are no sizes")
    return [int(n) for n in array.reshape(-1)]


def broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """The shape to which both broadcast."""
    try:
        if max(len(a), len(b)) <= 32:
            return np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        pass
    raise Untranslated(f"{list(a)[:33]} does not broadcast to {list(b)[:33]}")


def _axes(node: ModelNode, xs: Sequence[Any], rank: int) -> tuple[int, ...]:
    given = xs[1] if len(xs) > 1 and xs[1] is not None else node.attrs.get("axes")
    return tuple(int(axis) % rank for axis in np.asarray(given).reshape(-1)) if given is not None else ()


def _squeeze(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    axes = _axes(node, xs, max(xs[0].ndim, 1)) or tuple(i for i, n in enumerate(xs[0].shape) if n == 1)
    return np.asarray(np.squeeze(xs[0], axes))


def _unsqueeze(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    given = xs[1] if len(xs) > 1 else node.attrs.get("axes", ())
    return np.expand_dims(xs[0], tuple(int(axis) for axis in np.asarray(given).reshape(-1)))


def slices(node: ModelNode, xs: Sequence[Any], rank: int) -> list[tuple[int, int, int, int]]:
    """(axis, start, stop, step) of a Slice, as ONNX counts: ends beyond an axis are not cut off yet."""
    attrs = node.attrs
    get = [xs[i] if len(xs) > i and xs[i] is not None else None for i in range(5)]
    starts = get[1] if get[1] is not None else attrs.get("starts", ())
    stops = get[2] if get[2] is not None else attrs.get("ends", ())
    axes = get[3] if get[3] is not None else attrs.get("axes", range(len(np.asarray(starts).reshape(-1))))
    steps = get[4] if get[4] is not None else [1] * len(np.asarray(starts).reshape(-1))
    lists = [whole_numbers(list(part) if isinstance(part, range) else part) for part in (axes, starts, stops, steps)]
    if len({len(one) for one in lists}) != 1:
        raise Untranslated("its starts, ends, axes and steps are not as many")
    if any(not -rank <= axis < rank for axis in lists[0]):
        raise Untranslated(f"axes {lists[0][:40]} of {rank}")
    return [(axis % rank, start, stop, step) for axis, start, stop, step in zip(*lists, strict=True)]


def _slice(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    index: list[slice] = [slice(None)] * xs[0].ndim
    for axis, start, stop, step in slices(node, xs, xs[0].ndim):
        end: int | None = stop
        if step < 0 and stop < -xs[0].shape[axis]:
            end = None
        index[axis] = slice(start, end, step)
    return np.asarray(xs[0][tuple(index)])


def _reshape(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    return np.asarray(xs[0]).reshape(resolved(xs[0].shape, xs[1], bool(node.attrs.get("allowzero", 0))))


def resolved(shape: Sequence[int], wanted: Any, zero: bool = False) -> tuple[int, ...]:
    """The shape that a Reshape asks for: 0 keeps a size, -1 is what is left."""
    sizes = whole_numbers(wanted)
    if len(sizes) > 32 or sum(n == -1 for n in sizes) > 1 or any(n < -1 for n in sizes):
        raise Untranslated(f"{sizes[:40]} is no shape")
    if not zero and any(n == 0 and i >= len(shape) for i, n in enumerate(sizes)):
        raise Untranslated(f"{sizes} keeps more axes than there are")
    sizes = [int(shape[i]) if n == 0 and not zero else n for i, n in enumerate(sizes)]
    count, rest = math.prod(int(n) for n in shape), math.prod(n for n in sizes if n != -1)
    if (-1 in sizes and (rest == 0 or count % rest)) or (-1 not in sizes and rest != count):
        raise Untranslated(f"{list(shape)} does not become {sizes}")
    return tuple(count // rest if n == -1 else n for n in sizes)


def _cast(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    to = node.attrs.get("to")
    if to not in TYPES:
        raise Untranslated(f"element type {to}")
    return np.asarray(xs[0]).astype(TYPES[to])


def _constant_of_shape(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    value = node.attrs.get("value")
    value = np.zeros(1, np.float32) if value is None else np.asarray(value)
    return np.full(_bounded(xs[0]), value.reshape(-1)[0], value.dtype)


def _bounded(shape: Any) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in np.asarray(shape).reshape(-1))
    if len(sizes) > 32 or any(n < 0 for n in sizes) or math.prod(sizes) > MAX_FOLDED:
        raise Untranslated(f"a constant of {list(sizes)[:40]} is too large")
    return sizes


def _expand(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    shape = np.broadcast_shapes(xs[0].shape, tuple(int(n) for n in np.asarray(xs[1]).reshape(-1)))
    return np.broadcast_to(xs[0], _bounded(shape))


def _range(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    start, stop, step = (np.asarray(x).reshape(-1)[0] for x in xs[:3])
    if step == 0 or abs((float(stop) - float(start)) / float(step)) > MAX_FOLDED:
        raise Untranslated("a range is too long")
    return np.asarray(np.arange(float(start), float(stop), float(step))).astype(np.asarray(xs[0]).dtype)


def _gather(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    axis, index = int(node.attrs.get("axis", 0)), np.asarray(xs[1])
    others = math.prod(n for i, n in enumerate(xs[0].shape) if i != axis % max(xs[0].ndim, 1))
    _bounded((index.size, others))
    return np.asarray(np.take(xs[0], index, axis))


def _div(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    if np.asarray(xs[0]).dtype.kind in "iu":
        if not np.all(xs[1]):
            raise Untranslated("a division by 0")
        return _whole(np.asarray(xs[0]), np.asarray(xs[1]))
    return np.asarray(xs[0] / xs[1])


def _whole(a: Array, b: Array) -> Array:
    """Division of whole numbers towards 0."""
    down = np.floor_divide(a, b)
    return np.asarray(np.where((down < 0) & (down * b != a), down + 1, down), a.dtype)


def _two(function: Callable[[Any, Any], Any]) -> Fold:
    def fold(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
        _bounded(np.broadcast_shapes(np.shape(xs[0]), np.shape(xs[1])))
        return np.asarray(function(xs[0], xs[1]))

    return fold


def _one(function: Callable[[Any], Any]) -> Fold:
    return lambda node, xs, opset: np.asarray(function(xs[0]))


def _concat(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    _bounded((sum(np.size(x) for x in xs),))
    return np.concatenate(xs, int(node.attrs.get("axis", 0)))


def _reduce(function: Callable[..., Any]) -> Fold:
    def fold(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
        axes = _axes(node, xs, max(xs[0].ndim, 1)) or None
        return np.asarray(function(xs[0], axis=axes, keepdims=bool(node.attrs.get("keepdims", 1))), xs[0].dtype)

    return fold


def _where(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    _bounded(np.broadcast_shapes(*(np.shape(x) for x in xs[:3])))
    return np.asarray(np.where(*xs[:3]))


def _transpose(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    return np.asarray(np.transpose(xs[0], node.attrs.get("perm") or None))


def _scatter(node: ModelNode, xs: Sequence[Any], opset: int) -> Array:
    if node.attrs.get("reduction", "none") not in ("none", ""):
        raise Untranslated("constants are scattered by a reduction")
    index = np.asarray(xs[1])
    found = np.array(xs[0])
    found[tuple(np.moveaxis(index, -1, 0))] = xs[2]
    return found


FOLDS: dict[str, Fold] = {
    "ScatterND": _scatter,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Reshape": _reshape,
    "Cast": _cast,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Range": _range,
    "Gather": _gather,
    "Div": _div,
    "Concat": _concat,
    "Where": _where,
    "Transpose": _transpose,
    "Add": _two(np.add),
    "Sub": _two(np.subtract),
    "Mul": _two(np.multiply),
    "Mod": _two(lambda a, b: np.mod(a, np.where(b == 0, 1, b))),
    "Pow": _two(lambda a, b: np.asarray(np.power(np.float64(a), b), np.asarray(a).dtype)),
    "Min": _two(np.minimum),
    "Max": _two(np.maximum),
    "Equal": _two(np.equal),
    "Less": _two(np.less),
    "Greater": _two(np.greater),
    "And": _two(np.logical_and),
    "Or": _two(np.logical_or),
    "Not": _one(np.logical_not),
    "Neg": _one(np.negative),
    "Abs": _one(np.abs),
    "Floor": _one(np.floor),
    "Ceil": _one(np.ceil),
    "Sqrt": _one(np.sqrt),
    "Exp": _one(np.exp),
    "Reciprocal": _one(lambda x: (1 / x).astype(x.dtype)),
    "Identity": _one(lambda x: x),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "Flatten": lambda node, xs, opset: xs[0].reshape(
        math.prod(xs[0].shape[: int(node.attrs.get("axis", 1)) % (xs[0].ndim + 1)]), -1
    ),
}


def folded(t: Translator) -> Known | None:
    """The value of the node at hand, where it follows from what is known."""
    node = t.node
    if node.op in ("Shape", "Size"):
        return _shape(t)
    if node.op == "Constant":
        return _constant(t)
    operands = [t.values[name] if name else None for name in node.inputs]
    if node.op not in FOLDS or any(isinstance(x, Tensor) for x in operands) or not operands:
        return None
    found: list[Array] = []
    known = [x for x in operands if isinstance(x, Known)]
    same = all(x.arrays[0] is array for x in known for array in x.arrays)
    for k in range(1 if same else len(t.batches)):
        xs = [x.arrays[k] if isinstance(x, Known) else None for x in operands]
        try:
            with np.errstate(all="ignore"):
                found.append(np.asarray(FOLDS[node.op](node, xs, t.opset)))
            t.budget -= found[-1].size if found[-1].base is None else 0
            if t.budget < 0:
                raise Untranslated("too much would be computed of its constants")
        except (ValueError, TypeError, IndexError, OverflowError, AttributeError, ZeroDivisionError) as error:
            reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
            raise Untranslated(f"its constants do not fit: {reason}") from None
    if node.op == "Expand" and len({array.shape for array in found}) > 1:
        return None  # to the size of the batch, which no constant has
    source = known[0].source if node.op in ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Identity") else ""
    return Known(tuple(found) * (len(t.batches) if same else 1), source)


def _shape(t: Translator) -> Known:
    x = t.operand(0)
    shapes = x.shapes if isinstance(x, Tensor) else tuple(array.shape for array in x.arrays)
    if t.node.op == "Size":
        return Known(tuple(np.asarray(math.prod(shape), np.int64) for shape in shapes))
    cut = slice(t.integer("start", 0), t.attr("end"))
    return Known(tuple(np.asarray(shape[cut], np.int64) for shape in shapes))


def _constant(t: Translator) -> Known:
    attrs = t.node.attrs
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64), ("value_floats", np.float32)):
        if name in attrs:
            return Known((np.asarray(attrs[name], dtype),) * len(t.batches))
    if "value_ints" in attrs:
        return Known((np.asarray(attrs["value_ints"], np.int64),) * len(t.batches))
    if not isinstance(attrs.get("value"), np.ndarray):
        raise Untranslated("a constant that is neither a tensor nor numbers")
    return Known((attrs["value"],) * len(t.batches))
