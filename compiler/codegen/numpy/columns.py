"""Convolution as one matrix product over columns: what each position of the kernel covers, row by row.

Columns are (C, kernel…, positions): laid out so that the product with the weights (O, C * kernel) lands where the
result lies, whether the batch is the innermost axis (`inner`: all copies are long runs) or stands after the channels.
They are made for a few rows of positions, or for some items of several, at a time, so that they stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...graph import Node
from .body import KernelText, stored_dtype
from .movement import contiguous, full
from .ref import SIZES, Ints, Ref, is_matrix, order_of, reshaped, strides_of

# Bytes of one block of columns: about what a core finds in its nearer caches.
COLUMNS = 1 << 20
# Positions that a block has at least, if need be beyond that: a product with fewer columns is slow, and where the rows
# of an image are a prime number (13 in CaffeNet) the only smaller block is one row.
POSITIONS = 128


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
    items: int
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
        return (self.rows, *self.out[1:]) if self.out else ()

    @property
    def blocked(self) -> bool:
        """Whether columns are made for some of the rows at a time."""
        return bool(self.out) and self.rows != self.out[0]

    @property
    def parted(self) -> bool:
        """Whether columns are made for some of the items at a time."""
        return self.items != self.n

    @property
    def plain(self) -> bool:
        """Whether the columns are the data itself."""
        ones = math.prod(self.kernel) == 1 and all(s == 1 for s in self.stride)
        return ones and not any(self.pad)


def shape_of(
    body: KernelText,
    node: Node,
    n: int,
    x: Node | None,
    w: Sequence[int],
    out: Sequence[int],
    *,
    least: int = POSITIONS,
) -> Shape:
    """The numbers of a convolution in a tile of n items. least: positions of a block of some of the items."""
    attrs = node.attrs
    size = tuple(map(int, x.shape[2:] if x is not None else attrs["size"]))
    positions = tuple(map(int, out))
    channels = int(w[1]) * attrs["groups"]
    inner = body.inner
    items, most = n, positions[0] if positions else 1
    row = channels * math.prod(map(int, w[2:])) * math.prod(positions[1:]) * 4
    if not inner and n > 1:
        # The length of a ragged tile has no divisors that are known.
        parts = [1, n] if body.ragged else _divisors(n)
        enough = next((d for d in parts if d * math.prod(positions) >= least), n)
        items = max(enough, *(d for d in parts if d * most * row <= COLUMNS), 1)
    rows = most
    if inner or items == 1:
        blocks = _divisors(most)
        wide = next((d for d in blocks if d * math.prod(positions[1:]) * items >= POSITIONS), most)
        rows = max(wide, *(d for d in blocks if d * row * items <= COLUMNS), 1)
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
        items,
        rows,
        stored_dtype(node),
    )


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


class Columns:
    """The columns of a convolution: scratch, and the lines that fill it or add it back."""

    def __init__(self, body: KernelText, s: Shape, tiled: int | None) -> None:
        self.body, self.s, self.tiled = body, s, tiled
        kernel, block = s.kernel, s.block
        shape = (s.channels, *kernel, *block, s.n) if s.inner else (s.channels, *kernel, s.items, *block)
        axis = None if tiled is None or s.parted else (len(shape) - 1 if s.inner else 1 + len(kernel))
        self.full = body.scratch(shape, s.dtype, tiled=axis)
        self.axis = axis

    def matrix(self) -> str:
        """The columns as (groups, depth, positions), or (depth, positions) of one group."""
        s = self.s
        lead = f"{s.groups}, {s.depth}" if s.groups > 1 else f"{s.depth}"
        return f"{self.full.text}.reshape({lead}, -1)"


def as_matrix(body: KernelText, s: Shape, ref: Ref) -> Ref | None:
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
    if steps is None or (steps[-1] != 1 and target[-1] > 1):
        return None
    dims = ", ".join(map(str, lead))
    text = f"{ref}.transpose{moved}.reshape({dims}, -1)"
    return body.view(ref, text, target, steps, None)


def rows_of(s: Shape, matrix: str) -> str:
    """The part of a matrix of all positions that belongs to the block at item m and row r."""
    if not (s.blocked or s.parted):
        return matrix
    row = math.prod(s.out[1:]) * (s.n if s.inner else 1)
    item = row * (s.out[0] if s.out else 1)
    start = " + ".join(([f"m * {item}"] if s.parted else []) + ([f"r * {row}"] if s.blocked else []))
    length = s.rows * row if s.blocked else s.items * item
    return f"{matrix}[..., {start}:{start} + {length}]"


def weights(body: KernelText, s: Shape, w: Ref, node: Node) -> Ref:
    """(O, C / groups, *kernel) as a matrix, or one a group."""
    w = full(body, w, node)
    target = (s.groups, s.outputs // s.groups, s.depth) if s.groups > 1 else (s.outputs, s.depth)
    strides = reshaped(w.shape, w.strides, target)
    if strides is None or not is_matrix(target, strides):
        w = contiguous(body, w)
        strides = strides_of(target)
    return body.view(w, f"{w}.reshape{target}", target, strides, None)


def staged(body: KernelText, s: Shape, ref: Ref) -> Ref:
    """The data of a tile with its padding, and with the batch innermost where columns want that."""
    order = s.order
    if not any(s.pad):
        lies = order_of(ref.shape, ref.strides) == order
        if not s.inner or s.plain or (lies and ref.strides == strides_of(ref.shape, order)):
            return ref
        return contiguous(body, ref, order)
    shape = (s.n, s.channels, *(a + 2 * p for a, p in zip(s.size, s.pad, strict=True)))
    made = body.scratch(shape, s.dtype, order, tiled=ref.tiled, kept=body.repeats)
    body.put(f"{made}.fill(0)", once=body.repeats and not body.ragged)
    body.put(f"np.copyto({interior(s, made.text)}, {ref})")
    return made


def interior(s: Shape, text: str) -> str:
    parts = ", ".join(f"{p}:{p + n}" for p, n in zip(s.pad, s.size, strict=True))
    return f"{text}[:, :, {parts}]"


def covered(body: KernelText, s: Shape, ref: Ref) -> Ref:
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
    text = f"as_strided({ref}, {body.dims(shape, tiled)}, {tuple(t * unit for t in steps)})"
    return body.view(ref, text, shape, steps, tiled)


def rows_index(s: Shape, text: str) -> str:
    """The block at item m and row r of a view like the columns."""
    if not (s.blocked or s.parted):
        return text
    parts = [":"] * (1 + len(s.kernel))
    if not s.inner:
        parts.append(f"m:m + {s.items}" if s.parted else ":")
    if s.blocked:
        parts.append(f"r:r + {s.rows}")
    return f"{text}[{', '.join(parts)}]"


def blocks(body: KernelText, s: Shape, lines: Sequence[str], tiled: int | None) -> None:
    """Lines for each block of items and rows. tiled: whether the items are those of a tile."""
    lead = ""
    if s.parted:
        count = "n" if body.ragged and tiled is not None else str(s.n)
        body.put(f"for m in range(0, {count}, {s.items}):" if s.items > 1 else f"for m in range({count}):")
        lead += "    "
    if s.blocked:
        body.put(f"{lead}for r in range(0, {s.out[0]}, {s.rows}):")
        lead += "    "
    for line in lines:
        body.put(lead + line, once=False)


def as_input(s: Shape) -> Shape:
    """The shape under which the data of a 1 x 1 convolution is a matrix like its result."""
    return Shape(**{**s.__dict__, "outputs": s.channels})
