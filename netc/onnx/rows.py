"""ONNX of every primitive: a row says which nodes compute it, for any operands.

Elementwise rows take operands in the shapes that they were written in, others in their own. ONNX Runtime has arithmetic
for few element types; others are computed in a wider one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..compiler.graph import Node
from ..compiler.ops.source import splat
from ..compiler.types import FLOATS
from .free_batch import ONE, Size
from .library import onnx
from .writer import Row, Value, Writer, refused

ELEMENTS = {"f32": "FLOAT", "f64": "DOUBLE", "f16": "FLOAT16", "bf16": "BFLOAT16", "i32": "INT32", "i64": "INT64"}
ELEMENTS |= {"u8": "UINT8", "u32": "UINT32", "bool": "BOOL"}
# What all operators of a runtime compute in; other whole numbers are computed in i64, other floats in f32.
COMPUTED = frozenset({"f32", "f64", "i32", "i64"})


def element(dtype: str) -> int:
    """ONNX's number of an element type."""
    return int(getattr(onnx().TensorProto, ELEMENTS[dtype]))


def _cast(w: Writer, value: Value, dtype: str) -> Value:
    return w.node("Cast", [value[0]], to=element(dtype)), value[1]


def _elementwise(op: str, *, result: str = "") -> Row:
    """The row of an op that ONNX has as well. result: the type of what it gives, where that is not the operands'."""

    def row(w: Writer, node: Node) -> Value:
        operands = [w.loose(x) for x in node.inputs]
        dtype = node.inputs[-1].dtype
        if dtype in COMPUTED:
            return w.elementwise(op, operands)
        wide = "f32" if dtype in FLOATS else "i64"
        operands = [value if op == "Where" and i == 0 else _cast(w, value, wide) for i, value in enumerate(operands)]
        found = w.elementwise(op, operands)
        return found if result else _cast(w, found, dtype)

    return row


def _const(w: Writer, node: Node) -> Value:
    value = splat(node)
    if value is None:
        return w.constant(node.attrs["value"].array()), w.sizes.shape(node)
    if node.dtype == "bf16":
        return _cast(w, (w.constant(value, "float32"), ()), node.dtype)
    return w.number(value if node.dtype in FLOATS else int(value), node)


def _iota(w: Writer, node: Node) -> Value:
    inner = tuple(size if axis in node.attrs["axes"] else ONE for axis, size in enumerate(w.sizes.attr(node, "shape")))
    if all(not size.slope for size in inner):
        shape = [size.base for size in inner]
        return w.constant(np.arange(math.prod(shape)).reshape(shape), node.type.numpy_dtype.str), inner
    shape_ = w.shape(inner)
    count = w.node("ReduceProd", [shape_, w.integers([0])], keepdims=0)
    numbers = w.node("Range", [w.constant(np.int64(0)), count, w.constant(np.int64(1))])
    return _cast(w, (w.node("Reshape", [numbers, shape_]), inner), node.dtype)


def _to_type(w: Writer, node: Node) -> Value:
    return _cast(w, w.loose(node.inputs[0]), node.dtype)


def _same(w: Writer, node: Node) -> Value:
    return w.loose(node.inputs[0])


def _neg(w: Writer, node: Node) -> Value:
    if node.dtype in COMPUTED:
        return w.elementwise("Neg", [w.loose(node.inputs[0])])
    wide = _cast(w, w.loose(node.inputs[0]), "f32" if node.dtype in FLOATS else "i64")
    return _cast(w, w.elementwise("Neg", [wide]), node.dtype)


def _reduce(op: str) -> Row:
    def row(w: Writer, node: Node) -> Value:
        return reduce_(w, node, op, keep=True), w.sizes.shape(node)

    return row


def reduce_(w: Writer, node: Node, op: str, *, keep: bool) -> str:
    """A reduction over the axes of a node; keep: these stay, with size 1."""
    x, dtype = w.full(node.inputs[0]), node.inputs[0].dtype
    if not node.attrs["axes"]:
        return x
    wide = dtype if dtype in COMPUTED else "f32" if dtype in FLOATS else "i64"
    x = x if wide == dtype else w.node("Cast", [x], to=element(wide))
    found = w.node(op, [x, w.integers(node.attrs["axes"])], keepdims=int(keep))
    return found if wide == dtype else w.node("Cast", [found], to=element(dtype))


def _argmax(w: Writer, node: Node) -> Value:
    """The axes become one, the last, as the number counts through all of them."""
    (x,), axes = node.inputs, node.attrs["axes"]
    shape, name = w.sizes.shape(x), w.full(x)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    if len(axes) == 1:
        found = w.node("ArgMax", [name], axis=axes[0], keepdims=1)
    else:
        rows = w.node("Transpose", [name], perm=[*kept, *axes])
        count = math.prod(shape[axis].base for axis in axes)
        if any(shape[axis].slope for axis in axes):
            raise refused(node, "ONNX has no argmax over several axes, one of which is the batch")
        flat = w.node("Reshape", [rows, w.shape((*(shape[axis] for axis in kept), Size(count)), rest=True)])
        best = w.node("ArgMax", [flat], axis=len(kept), keepdims=0)
        found = w.node("Reshape", [best, w.shape(w.sizes.shape(node), rest=True)])
    return w.node("Cast", [found], to=element(node.dtype)), w.sizes.shape(node)


def _moved(move: Callable[[Writer, Node], str]) -> Row:
    """The row of an op that moves elements; where all are one number there is nothing to move."""

    def row(w: Writer, node: Node) -> Value:
        value = w.loose(node.inputs[0])
        return value if value[1] == () else (move(w, node), w.sizes.shape(node))

    return row


def _reshape(w: Writer, node: Node) -> str:
    x, shape = node.inputs[0], w.sizes.attr(node, "shape")
    before = w.sizes.shape(x)
    if shape == before:
        return w.full(x)
    if len(shape) == 2 and len(before) > 1 and shape[0] == before[0]:
        return w.node("Flatten", [w.full(x)], axis=1)
    return w.node("Reshape", [w.full(x), w.shape(shape, rest=True)])


def _transpose(w: Writer, node: Node) -> str:
    return w.node("Transpose", [w.full(node.inputs[0])], perm=list(node.attrs["perm"]))


def _pad(w: Writer, node: Node) -> Value:
    x, attrs = node.inputs[0], node.attrs
    name, shape = w.full(x), [*w.sizes.shape(x)]
    for axis, between in enumerate(attrs["interior"]):
        if between and shape[axis] != ONE:
            name = _spread(w, name, shape, axis, between, node)
    low, high = attrs["low"], attrs["high"]
    if any(low) or any(high):
        name = padded(w, name, low, high, node)
    return name, w.sizes.shape(node)


def padded(w: Writer, name: str, low: Sequence[int], high: Sequence[int], node: Node) -> str:
    """A tensor with elements of `node.attrs["value"]` around it."""
    dtype = node.dtype
    wide = dtype if dtype in COMPUTED else "f32" if dtype in FLOATS else "i64"
    name = name if wide == dtype else w.node("Cast", [name], to=element(wide))
    value = node.attrs["value"]
    fill = w.constant(value, {"f32": "float32", "f64": "float64", "i32": "int32", "i64": "int64"}[wide])
    name = w.node("Pad", [name, w.integers([*low, *high]), fill], mode="constant")
    return name if wide == dtype else w.node("Cast", [name], to=element(dtype))


def _spread(w: Writer, name: str, shape: list[Size], axis: int, between: int, node: Node) -> str:
    """`between` elements between neighbours along an axis: each is followed by them, and those after the last go."""
    if shape[axis].slope:
        raise refused(node, "there is padding between the records of a batch")
    wide = (*shape[: axis + 1], ONE, *shape[axis + 1 :])
    apart = w.node("Reshape", [name, w.shape(wide, rest=True)])
    after = [0] * len(wide)
    after[axis + 1] = between
    filled = padded(w, apart, [0] * len(wide), after, node)
    count = shape[axis].base
    joined = (*shape[:axis], Size(count * (between + 1)), *shape[axis + 1 :])
    flat = w.node("Reshape", [filled, w.shape(joined, rest=True)])
    shape[axis] = Size(count * (between + 1) - between)
    return w.node("Slice", [flat, w.integers([0]), w.integers([shape[axis].base]), w.integers([axis])])


def _slice(w: Writer, node: Node) -> str:
    shape, name = w.sizes.shape(node.inputs[0]), w.full(node.inputs[0])
    start, stop, step = w.sizes.attr(node, "start"), w.sizes.attr(node, "stop"), node.attrs["step"]
    axes = [axis for axis, size in enumerate(shape) if (start[axis], stop[axis], step[axis]) != (Size(0), size, 1)]
    if not axes:
        return name
    ends = [w.shape(tuple(of[axis] for axis in axes)) for of in (start, stop)]
    return w.node("Slice", [name, *ends, w.integers(axes), w.integers([step[axis] for axis in axes])])


def _concat(w: Writer, node: Node) -> Value:
    return w.node("Concat", [w.full(x) for x in node.inputs], axis=node.attrs["axis"]), w.sizes.shape(node)


def _window(w: Writer, node: Node) -> str:
    """Along each axis the elements of all windows are gathered, whose axis is then moved to the end."""
    x, attrs = node.inputs[0], node.attrs
    name, rank = w.full(x), len(x.shape)
    for number, axis in enumerate(attrs["axes"]):
        size, stride, dilation = (attrs[key][number] for key in ("sizes", "strides", "dilations"))
        if w.sizes.shape(x)[axis].slope:
            raise refused(node, "windows lie across the batch")
        count = (int(x.shape[axis]) - dilation * (size - 1) - 1) // stride + 1
        places = np.arange(count)[:, None] * stride + np.arange(size) * dilation
        name = w.node("Gather", [name, w.constant(places.astype(np.int64))], axis=axis)
        order = [*range(axis + 1), *range(axis + 2, rank + number + 1), axis + 1]
        name = name if order == sorted(order) else w.node("Transpose", [name], perm=order)
    return name


def _unwindow(w: Writer, node: Node) -> str:
    """Along each axis a product with 0 and 1: which element of which window lies where."""
    x, attrs = node.inputs[0], node.attrs
    name, rank = w.full(x), len(node.shape)
    shape = [*w.sizes.shape(x)]
    for number in reversed(range(len(attrs["axes"]))):
        axis = attrs["axes"][number]
        size, stride, dilation = (attrs[key][number] for key in ("sizes", "strides", "dilations"))
        length, count = int(attrs["lengths"][number]), int(x.shape[axis])
        places = np.arange(count)[:, None] * stride + np.arange(size) * dilation
        matrix = np.zeros((count * size, length), node.type.numpy_dtype)
        matrix[np.arange(count * size), places.ravel()] = 1
        last = rank + number
        others = [i for i in range(last + 1) if i not in (axis, last)]
        rows = w.node("Transpose", [name], perm=[*others, axis, last])
        flat = w.node("Reshape", [rows, w.shape((*(shape[i] for i in others), Size(count * size)), rest=True)])
        sums = w.node("MatMul", [flat, w.constant(matrix)])
        name = w.node("Transpose", [sums], perm=[*range(axis), len(others), *range(axis, len(others))])
        shape = [*(shape[i] for i in others[:axis]), Size(length), *(shape[i] for i in others[axis:])]
    return name


def _dot(w: Writer, node: Node) -> Value:
    return w.node("MatMul", [w.full(x) for x in node.inputs]), w.sizes.shape(node)


def _conv(w: Writer, node: Node) -> Value:
    return conv(w, node, [w.full(x) for x in node.inputs]), w.sizes.shape(node)


def conv(w: Writer, node: Node, operands: Sequence[str], low: Sequence[int] = (), high: Sequence[int] = ()) -> str:
    """A convolution of data with weights, and with a bias where there are three operands; low, high: more padding."""
    attrs, rank = node.attrs, len(node.shape) - 2
    more = [*low, *high] if low or high else [0] * (2 * rank)
    pads = [a + b for a, b in zip(more, [*attrs["pad"], *attrs["pad"]], strict=True)]
    return _in_space(
        w,
        "Conv",
        operands,
        kernel_shape=[int(n) for n in node.inputs[1].shape[2:]],
        strides=list(attrs["stride"]),
        pads=pads,
        dilations=list(attrs["dilation"]),
        group=attrs["groups"],
    )


def _in_space(w: Writer, op: str, operands: Sequence[str], **attrs: Any) -> str:
    """A convolution; one without an axis of space gets one of size 1, which ONNX asks for."""
    if attrs["kernel_shape"]:
        return w.node(op, operands, **attrs)
    sides = {"kernel_shape": [1], "strides": [1], "dilations": [1], "pads": [0, 0]}
    last = w.integers([-1])
    wide = [*(w.node("Unsqueeze", [x, last]) for x in operands[:2]), *operands[2:]]
    sides |= {"output_padding": [0]} if "output_padding" in attrs else {}
    return w.node("Squeeze", [w.node(op, wide, **{**attrs, **sides}), last])


def _conv_data_grad(w: Writer, node: Node) -> Value:
    return conv_transpose(w, node, [w.full(x) for x in node.inputs]), w.sizes.shape(node)


def conv_transpose(w: Writer, node: Node, operands: Sequence[str]) -> str:
    """A transposed convolution; the result has so many more places as no window of the convolution reached."""
    attrs, (g, weights) = node.attrs, node.inputs
    kernel = [int(n) for n in weights.shape[2:]]
    rest = [
        int(size) - (s * (int(n) - 1) + d * (k - 1) + 1 - 2 * p)
        for size, n, k, s, p, d in zip(
            attrs["size"], g.shape[2:], kernel, attrs["stride"], attrs["pad"], attrs["dilation"], strict=True
        )
    ]
    return _in_space(
        w,
        "ConvTranspose",
        operands,
        kernel_shape=kernel,
        strides=list(attrs["stride"]),
        pads=[*attrs["pad"], *attrs["pad"]],
        dilations=list(attrs["dilation"]),
        group=attrs["groups"],
        output_padding=rest,
    )


def _gather(w: Writer, node: Node) -> Value:
    """Rows by number, those outside clipped: ONNX counts negative ones from the end, and refuses others."""
    table, index = node.inputs
    size = w.sizes.shape(table)[0]
    if size.slope:
        last = w.node("Sub", [w.shape((size,)), w.integers([1])])
        last = w.node("Cast", [last], to=element(index.dtype))
    else:
        last = w.number(size.base - 1, index)[0]
    known = w.node("Min", [w.node("Max", [w.full(index), w.number(0, index)[0]]), last])
    return w.node("Gather", [w.full(table), known], axis=0), w.sizes.shape(node)


def _scatter_add(w: Writer, node: Node) -> Value:
    index, rows = node.inputs
    shape = w.sizes.shape(node)
    zeros = w.node("Expand", [w.number(0, node)[0], w.shape(shape)])
    known = w.node("Max", [w.full(index), w.number(0, index)[0]])
    known = w.node("Min", [known, w.number(int(node.attrs["size"]) - 1, index)[0]])
    places = w.node("Unsqueeze", [w.node("Cast", [known], to=element("i64")), w.integers([-1])])
    return w.node("ScatterND", [zeros, places, w.full(rows)], reduction="add"), shape


def _conv_weight_grad(w: Writer, node: Node) -> Value:
    """A convolution of the data, channels as batch, with the gradient, whose strides and dilations change places."""
    (x, g), attrs = node.inputs, node.attrs
    rank, groups = len(x.shape) - 2, attrs["groups"]
    swap = [1, 0, *range(2, rank + 2)]
    parts = []
    for group in range(groups):
        data, grad = (
            w.node("Transpose", [_share(w, w.full(one), int(one.shape[1]), group, groups)], perm=swap) for one in (x, g)
        )
        made = _in_space(
            w,
            "Conv",
            [data, grad],
            kernel_shape=[int(n) for n in g.shape[2:]],
            strides=list(attrs["dilation"]),
            pads=[*attrs["pad"], *attrs["pad"]],
            dilations=list(attrs["stride"]),
        )
        cut = [w.integers([0] * rank), w.integers(attrs["kernel"]), w.integers(range(2, rank + 2))]
        parts.append(w.node("Transpose", [w.node("Slice", [made, *cut]) if rank else made], perm=swap))
    return parts[0] if groups == 1 else w.node("Concat", parts, axis=0), w.sizes.shape(node)


def _share(w: Writer, name: str, channels: int, group: int, groups: int) -> str:
    """The channels of a group."""
    if groups == 1:
        return name
    size = channels // groups
    return w.node("Slice", [name, w.integers([group * size]), w.integers([(group + 1) * size]), w.integers([1])])


def _refuse(why: str) -> Row:
    def row(w: Writer, node: Node) -> Value:
        raise refused(node, why)

    return row


_LOWERED = _refuse("nodes of lowering are exported nowhere")
ROWS: dict[str, Row] = {
    **{op: _elementwise(op.capitalize()) for op in ("add", "mul", "div", "exp", "log", "sqrt", "tanh", "floor", "pow")},
    **{op: _elementwise(op.capitalize()) for op in ("abs", "max", "min", "where")},
    **{op: _elementwise(op.capitalize(), result="bool") for op in ("less", "equal")},
    "neg": _neg,
    "surrogate": _same,
    "after": _same,
    "broadcast": _same,
    "cast": _to_type,
    "const": _const,
    "iota": _iota,
    "sum": _reduce("ReduceSum"),
    "max_reduce": _reduce("ReduceMax"),
    "argmax": _argmax,
    "reshape": _moved(_reshape),
    "transpose": _moved(_transpose),
    "slice": _moved(_slice),
    "pad": _pad,
    "concat": _concat,
    "window": _moved(_window),
    "unwindow": lambda w, node: (_unwindow(w, node), w.sizes.shape(node)),
    "dot": _dot,
    "conv": _conv,
    "conv_data_grad": _conv_data_grad,
    "conv_weight_grad": _conv_weight_grad,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "random": _refuse("random numbers are not exported: ONNX has no generator whose numbers are known"),
    "host": _refuse("what Python computes is not exported"),
    "item": _refuse("what Python computes is not exported"),
    **dict.fromkeys(("kernel", "partial", "winograd_data", "winograd_weights", "winograd_product"), _LOWERED),
}
