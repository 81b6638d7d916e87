"""Matrix products through BLAS, and convolution as one product over columns.

Columns are (C, kernel…, positions): laid out so that the product with the weights (O, C * kernel) lands where the result
lies, whether the batch is the innermost axis (`inner`: all copies are long runs) or stands after the channels. Columns
are made for a few rows of positions at a time, so that they stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...graph import Node
from ...kernel import TOTAL
from .body import SIZES, Body, spells, stored_dtype
from .movement import contiguous, full
from .reduction import accumulate
from .ref import Ints, Ref, is_matrix, order_of, reshaped, strides_of

# Columns of one block, in bytes: about the share of a core in the last-level cache's fast part.
COLUMNS = 1 << 20


def matrix(body: Body, ref: Ref) -> Ref:
    """A ref whose last two axes BLAS reads as they lie."""
    return ref if is_matrix(ref.shape, ref.strides) and _batch_apart(ref) else contiguous(body, ref)


def _batch_apart(ref: Ref) -> bool:
    return all(n == 1 or s > 0 for n, s in zip(ref.shape[-2:], ref.strides[-2:], strict=True))


@spells("dot")
def dot(body: Body, node: Node) -> None:
    a, b = (matrix(body, full(body, body.value(x), x)) for x in node.inputs)
    shape = body.tile_shape(node)
    rank = len(shape)
    order = tuple(range(rank))

    def line(out: Ref) -> tuple[str, tuple[Ref, ...]]:
        return f"np.matmul({a.text}, {b.text}, out={out.text})", (a, b, out)

    if body.axes[node] == TOTAL and body.tile:
        accumulate(body, node, shape, order, line)
        return
    target = body.result(node, order)
    written = target
    if target is None and (target := body.ahead(node, order)) is not None and is_matrix(target.shape, target.strides):
        text, refs = line(target)
        body.put(text, *refs)
        body.finish(node, target)
        return
    if target is None or body.overwrites(node) or not is_matrix(target.shape, target.strides):
        target, written = body.scratch(shape, stored_dtype(node), order, tiled=body.tiled_axis(node)), None
    text, refs = line(target)
    body.put(text, *refs)
    body.finish(node, target, written)


@dataclass(frozen=True)
class Shape:
    """The numbers of a convolution in a tile of n items."""

    n: int
    groups: int
    channels: int
    outputs: int
    size: Ints
    kernel: Ints
    stride: Ints
    pad: Ints
    dilation: Ints
    out: Ints
    inner: bool
    rows: int
    dtype: str

    @property
    def order(self) -> Ints:
        """The order of the axes of (N, C, *space)."""
        rank = len(self.size)
        return (1, *range(2, 2 + rank), 0) if self.inner else (1, 0, *range(2, 2 + rank))

    @property
    def depth(self) -> int:
        return self.channels // self.groups * math.prod(self.kernel)

    @property
    def block(self) -> Ints:
        """Positions of one block of columns."""
        return (self.rows, *self.out[1:])

    @property
    def plain(self) -> bool:
        """Whether the columns are the data itself."""
        ones = math.prod(self.kernel) == 1 and all(s == 1 for s in self.stride)
        return ones and not any(self.pad)


def shape_of(body: Body, node: Node, n: int, x: Node | None, w: Sequence[int], out: Sequence[int]) -> Shape:
    attrs = node.attrs
    size = tuple(map(int, x.shape[2:] if x is not None else attrs["size"]))
    positions = tuple(map(int, out))
    channels = int(w[1]) * attrs["groups"]
    inner = body.inner
    row = channels * math.prod(map(int, w[2:])) * math.prod(positions[1:]) * n * 4
    rows = max((d for d in range(1, positions[0] + 1) if positions[0] % d == 0 and d * row <= COLUMNS), default=1)
    if not inner and n > 1:
        rows = positions[0]
    return Shape(
        n,
        attrs["groups"],
        channels,
        int(w[0]),
        size,
        tuple(map(int, w[2:])),
        tuple(attrs["stride"]),
        tuple(attrs["pad"]),
        tuple(attrs["dilation"]),
        positions,
        inner,
        rows,
        stored_dtype(node),
    )


class Columns:
    """The columns of a convolution: scratch, and the lines that fill it or add it back."""

    def __init__(self, body: Body, s: Shape, tiled: int | None) -> None:
        self.body, self.s, self.tiled = body, s, tiled
        kernel, block = s.kernel, s.block
        shape = (s.channels, *kernel, *block, s.n) if s.inner else (s.channels, *kernel, s.n, *block)
        axis = None if tiled is None else (len(shape) - 1 if s.inner else 1 + len(kernel))
        self.full = body.scratch(shape, s.dtype, tiled=axis)
        self.axis = axis

    def matrix(self) -> str:
        """The columns as (groups, depth, positions), or (depth, positions) of one group."""
        s = self.s
        lead = f"{s.groups}, {s.depth}" if s.groups > 1 else f"{s.depth}"
        return f"{self.full.text}.reshape({lead}, -1)"


def as_matrix(body: Body, s: Shape, ref: Ref) -> Ref | None:
    """(N, O, *out) as (groups, O / groups, positions) in the order of the columns, if that is a view."""
    moved = s.order
    shape, strides = [ref.shape[a] for a in moved], [ref.strides[a] for a in moved]
    lead = (s.groups, s.outputs // s.groups) if s.groups > 1 else (s.outputs,)
    target = (*lead, math.prod(shape[1:]))
    steps = reshaped(shape, strides, target)
    if steps is not None and body.ragged and ref.tiled is not None:
        at = moved.index(ref.tiled)
        short = [n - 1 if i == at else n for i, n in enumerate(shape)]
        if 0 in short or reshaped(short, strides, (*lead, math.prod(short[1:]))) is None:
            steps = steps if 0 in short else None
    if steps is None or steps[-1] != 1 and target[-1] > 1:
        return None
    dims = ", ".join(map(str, lead))
    text = f"{ref.text}.transpose{moved}.reshape({dims}, -1)"
    return body.view(ref, text, target, steps, None)


def rows_of(s: Shape, matrix: str) -> str:
    """The part of a matrix of all positions that belongs to the block at row r."""
    if s.rows == s.out[0]:
        return matrix
    inner = math.prod(s.out[1:]) * (s.n if s.inner else 1)
    return f"{matrix}[..., r * {inner}:(r + {s.rows}) * {inner}]"


def weights(body: Body, s: Shape, w: Ref, node: Node) -> Ref:
    """(O, C / groups, *kernel) as a matrix, or one a group."""
    w = full(body, w, node)
    target = (s.groups, s.outputs // s.groups, s.depth) if s.groups > 1 else (s.outputs, s.depth)
    strides = reshaped(w.shape, w.strides, target)
    if strides is None or not is_matrix(target, strides):
        w = contiguous(body, w)
        strides = strides_of(target, range(len(target)))
    return body.view(w, f"{w.text}.reshape{target}", target, strides, None)


def staged(body: Body, s: Shape, ref: Ref) -> Ref:
    """The data of a tile with its padding, and with the batch innermost where columns want that."""
    order = s.order
    if not any(s.pad):
        lies = order_of(ref.shape, ref.strides) == order
        if not s.inner or s.plain or (lies and ref.strides == strides_of(ref.shape, order)):
            return ref
        return contiguous(body, ref, order)
    shape = (s.n, s.channels, *(a + 2 * p for a, p in zip(s.size, s.pad, strict=True)))
    made = body.scratch(shape, s.dtype, order, tiled=ref.tiled, kept=True)
    body.put(f"{made.text}.fill(0)", made, whole=bool(body.tile) and not body.ragged)
    body.put(f"np.copyto({interior(s, made.text)}, {ref.text})", ref, made)
    return made


def interior(s: Shape, text: str) -> str:
    parts = ", ".join(f"{p}:{p + n}" for p, n in zip(s.pad, s.size, strict=True))
    return f"{text}[:, :, {parts}]"


def covered(body: Body, s: Shape, ref: Ref) -> Ref:
    """(C, *kernel, positions) of data that is staged, as a view with overlapping strides."""
    unit = SIZES[s.dtype]
    space = ref.strides[2:]
    windows = [(k, d * t) for k, d, t in zip(s.kernel, s.dilation, space, strict=True)]
    places = [(m, st * t) for m, st, t in zip(s.out, s.stride, space, strict=True)]
    item = (s.n, ref.strides[0])
    axes = [(s.channels, ref.strides[1]), *windows, *([*places, item] if s.inner else [item, *places])]
    at = len(axes) - 1 if s.inner else 1 + len(windows)
    tiled = None if ref.tiled is None else at
    shape, steps = tuple(n for n, _ in axes), tuple(t for _, t in axes)
    text = f"as_strided({ref.text}, {body.dims(shape, tiled)}, {tuple(t * unit for t in steps)})"
    return body.view(ref, text, shape, steps, tiled)


def _rows_index(s: Shape, text: str) -> str:
    """A block of rows of a view whose first axis of positions is known."""
    if s.rows == s.out[0]:
        return text
    at = 1 + len(s.kernel) + (0 if s.inner else 1)
    return f"{text}[{':, ' * at}r:r + {s.rows}]"


def blocks(body: Body, s: Shape, lines: Sequence[str], *refs: Ref) -> None:
    """Lines for each block of rows."""
    if s.rows == s.out[0]:
        for line in lines:
            body.put(line, *refs)
        return
    body.put(f"for r in range(0, {s.out[0]}, {s.rows}):", *refs)
    for line in lines:
        body.put("    " + line, *refs)


@spells("conv")
def conv(body: Body, node: Node) -> None:
    x, w = node.inputs
    shape = body.tile_shape(node)
    s = shape_of(body, node, shape[0], x, (shape[1], *w.shape[1:]), node.shape[2:])
    ref, filters = full(body, body.value(x), x), weights(body, s, body.value(w), w)
    target = body.result(node, s.order)
    written = target
    flat = None
    if target is not None and not body.overwrites(node):
        flat = as_matrix(body, s, target)
    if flat is None:
        written = None
        target = body.scratch(shape, s.dtype, s.order, tiled=body.tiled_axis(node))
        flat = as_matrix(body, s, target)
    assert flat is not None
    assert target is not None
    data = staged(body, s, ref)
    plain = as_matrix(body, _as_input(s), data) if s.plain else None
    if plain is not None:
        body.put(f"np.matmul({filters.text}, {plain.text}, out={flat.text})", filters, plain, flat)
    else:
        columns = Columns(body, s, data.tiled)
        view = covered(body, s, data)
        lines = [
            f"np.copyto({columns.full.text}, {_rows_index(s, view.text)})",
            f"np.matmul({filters.text}, {columns.matrix()}, out={rows_of(s, flat.text)})",
        ]
        blocks(body, s, lines, filters, view, columns.full, flat)
    body.finish(node, target, written)


def _as_input(s: Shape) -> Shape:
    """The shape under which the data of a 1 x 1 convolution is a matrix like its result."""
    return Shape(**{**s.__dict__, "outputs": s.channels})


def _gradient(body: Body, s: Shape, g: Node) -> Ref:
    """The gradient of the result as a matrix in the order of the columns."""
    ref = full(body, body.value(g), g)
    flat = as_matrix(body, s, ref)
    if flat is None:
        flat = as_matrix(body, s, contiguous(body, ref, s.order))
    assert flat is not None
    return flat


@spells("conv_weight_grad")
def conv_weight_grad(body: Body, node: Node) -> None:
    x, g = node.inputs
    n = body.tile_shape(x)[0]
    outputs = body.tile_shape(g)[1]
    s = shape_of(body, node, n, x, (outputs, *node.shape[1:]), g.shape[2:])
    flat = _gradient(body, s, g)
    data = staged(body, s, full(body, body.value(x), x))
    plain = as_matrix(body, _as_input(s), data) if s.plain else None
    shape = (outputs, *map(int, node.shape[1:]))
    dims = (s.groups, s.outputs // s.groups, s.depth) if s.groups > 1 else (s.outputs, s.depth)
    swap = ".transpose(0, 2, 1)" if s.groups > 1 else ".T"
    once = s.rows == s.out[0] or plain is not None

    def emit(out: Ref) -> None:
        to = f"{out.text}.reshape{dims}"
        if plain is not None:
            body.put(f"np.matmul({flat.text}, {plain.text}{swap}, out={to})", flat, plain, out)
            return
        columns = Columns(body, s, data.tiled)
        view = covered(body, s, data)
        lines = [f"np.copyto({columns.full.text}, {_rows_index(s, view.text)})"]
        product = f"np.matmul({rows_of(s, flat.text)}, {columns.matrix()}{swap}, out={{}})"
        if once:
            lines.append(product.format(to))
            blocks(body, s, lines, flat, view, columns.full, out)
            return
        part = body.scratch(dims, s.dtype)
        body.put(f"{out.text}.fill(0)", out)
        lines += [product.format(part.text), f"np.add({to}, {part.text}, out={to})"]
        blocks(body, s, lines, flat, view, columns.full, out, part)

    if body.axes[node] == TOTAL and body.tile:

        def line(out: Ref) -> tuple[str, tuple[Ref, ...]]:
            emit(out)
            return "", ()

        accumulate(body, node, shape, range(len(shape)), line)
        return
    target = body.result(node, range(len(shape)))
    written = target
    if target is None or reshaped(target.shape, target.strides, dims) is None or body.overwrites(node):
        target, written = body.scratch(shape, s.dtype, tiled=body.tiled_axis(node)), None
    emit(target)
    body.finish(node, target, written)


@spells("conv_data_grad")
def conv_data_grad(body: Body, node: Node) -> None:
    g, w = node.inputs
    shape = body.tile_shape(node)
    s = shape_of(body, node, shape[0], None, w.shape, g.shape[2:])
    flat, filters = _gradient(body, s, g), weights(body, s, body.value(w), w)
    swap = ".transpose(0, 2, 1)" if s.groups > 1 else ".T"
    target = body.result(node, s.order)
    written = target
    direct = target is not None and not body.overwrites(node)
    if s.plain:
        like = _as_input(s)
        to = as_matrix(body, like, target) if direct and target is not None else None
        if to is None:
            target, written = body.scratch(shape, s.dtype, s.order, tiled=body.tiled_axis(node)), None
            to = as_matrix(body, like, target)
        assert to is not None
        assert target is not None
        body.put(f"np.matmul({filters.text}{swap}, {flat.text}, out={to.text})", filters, flat, to)
        body.finish(node, target, written)
        return
    padded = any(s.pad)
    if padded or not direct or target is None:
        written = None
        grown = (shape[0], shape[1], *(a + 2 * p for a, p in zip(s.size, s.pad, strict=True)))
        target = body.scratch(grown, s.dtype, s.order, tiled=body.tiled_axis(node))
    columns = Columns(body, s, body.tiled_axis(node))
    body.put(f"{target.text}.fill(0)", target)
    lines = [f"np.matmul({filters.text}{swap}, {rows_of(s, flat.text)}, out={columns.matrix()})"]
    back = _scatter(body, s, target, columns)
    blocks(body, s, [*lines, *back], filters, flat, columns.full, target)
    if padded:
        target = body.view(target, interior(s, target.text), shape, target.strides, target.tiled)
    body.finish(node, target, written)


def _scatter(body: Body, s: Shape, target: Ref, columns: Columns) -> list[str]:
    """Add each position of the kernel's share of the columns where it came from, in fixed order."""
    # (C, *positions, N) or (C, N, *positions), as the columns have it.
    rank = len(s.size)
    moved = (1, *range(2, 2 + rank), 0) if s.inner else (1, 0, *range(2, 2 + rank))
    name = body.view(
        target,
        f"{target.text}.transpose{moved}",
        [target.shape[a] for a in moved],
        [target.strides[a] for a in moved],
        None if target.tiled is None else moved.index(target.tiled),
    ).text
    lines = []
    for offset in _positions(s.kernel):
        parts = []
        for axis, (o, d, m, st) in enumerate(zip(offset, s.dilation, s.out, s.stride, strict=True)):
            step = f":{st}" if st > 1 else ""
            if axis == 0 and s.rows != s.out[0]:
                begin = f"r * {st} + {o * d}" if st > 1 or o * d else "r"
                parts.append(f"{begin}:{begin} + {(s.rows - 1) * st + 1}{step}")
            else:
                parts.append(f"{o * d}:{o * d + (m - 1) * st + 1}{step}")
        index = ", ".join((":", *parts) if s.inner else (":", ":", *parts))
        place = f"{name}[{index}]"
        share = f"{columns.full.text}[:, {', '.join(map(str, offset))}]"
        lines.append(f"np.add({place}, {share}, out={place})")
    return lines


def _positions(kernel: Ints) -> list[Ints]:
    found: list[Ints] = [()]
    for k in kernel:
        found = [(*f, i) for f in found for i in range(k)]
    return found
