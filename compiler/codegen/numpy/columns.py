"""Convolution as one matrix product over columns: what each position of the kernel covers, row by row.

Columns are (C, kernel…, positions): laid out so that the product with the weights (O, C * kernel) lands where the
result lies, whether the batch is the innermost axis (`inner`: all copies are long runs) or stands after the channels.
They are made for a few rows of positions, or for some items of several, at a time, so that they stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...graph import Node
from .body import KernelText, stored_dtype
from .movement import contiguous, full, strided
from .ref import Ints, Ref, is_matrix, order_of, reshaped, strides_of

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
    def padded(self) -> Ints:
        """The shape of the data with its padding."""
        return (self.n, self.channels, *(a + 2 * p for a, p in zip(self.size, self.pad, strict=True)))

    @property
    def depth(self) -> int:
        return self.channels // self.groups * math.prod(self.kernel)

    @property
    def matrix(self) -> Ints:
        """The shape of the weights as a matrix, or as one a group."""
        return (self.groups, self.outputs // self.groups, self.depth) if self.groups > 1 else (self.outputs, self.depth)

    @property
    def swap(self) -> str:
        """What turns rows and columns of a matrix."""
        return ".transpose(0, 2, 1)" if self.groups > 1 else ".T"

    @property
    def item_axis(self) -> int:
        """The axis of the items in columns."""
        return 1 + len(self.kernel) + (len(self.out) if self.inner else 0)

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
    def at_once(self) -> bool:
        """Whether columns are made for all rows and items at a time."""
        return not (self.blocked or self.parted)

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
        n=n,
        groups=attrs["groups"],
        channels=channels,
        outputs=int(w[0]),
        size=size,
        kernel=tuple(map(int, w[2:])),
        stride=attrs["stride"],
        pad=attrs["pad"],
        dilation=attrs["dilation"],
        out=positions,
        inner=inner,
        items=items,
        rows=rows,
        dtype=stored_dtype(node),
    )


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def columns(body: KernelText, s: Shape, tiled: int | None) -> Ref:
    """Scratch for the columns of a block. tiled: the tiled axis of the data."""
    shape = (s.channels, *s.kernel, *s.block, s.n) if s.inner else (s.channels, *s.kernel, s.items, *s.block)
    return body.scratch(shape, s.dtype, tiled=None if tiled is None or s.parted else s.item_axis)


def matrix(s: Shape, made: Ref) -> str:
    """Columns as (groups, depth, positions), or (depth, positions) of one group."""
    lead = f"{s.groups}, {s.depth}" if s.groups > 1 else f"{s.depth}"
    return f"{made}.reshape({lead}, -1)"


def as_matrix(body: KernelText, s: Shape, ref: Ref) -> Ref | None:
    """(N, O, *out) as (groups, O / groups, positions) in the order of the columns, if that is a view."""
    moved = s.order
    shape, strides = tuple(ref.shape[a] for a in moved), tuple(ref.strides[a] for a in moved)
    lead = (s.groups, s.outputs // s.groups) if s.groups > 1 else (s.outputs,)
    target = (*lead, math.prod(shape[1:]))
    tiled = None if ref.tiled is None else moved.index(ref.tiled)
    steps = body.reshaped(shape, strides, target, tiled, len(lead))
    if steps is None or (steps[-1] != 1 and target[-1] > 1):
        return None
    dims = ", ".join(map(str, lead))
    text = f"{ref}.transpose{moved}.reshape({dims}, -1)"
    return body.view(ref, text, target, steps, None)


def as_input(body: KernelText, s: Shape, data: Ref) -> Ref | None:
    """The data of a 1 x 1 convolution as a matrix like its result; None of any other, and where that is no view."""
    return as_matrix(body, replace(s, outputs=s.channels), data) if s.plain else None


def rows_of(s: Shape, matrix: Ref) -> str:
    """The part of a matrix of all positions that belongs to the block at item m and row r."""
    if s.at_once:
        return matrix.text
    row = math.prod(s.out[1:]) * (s.n if s.inner else 1)
    item = row * (s.out[0] if s.out else 1)
    start = " + ".join(([f"m * {item}"] if s.parted else []) + ([f"r * {row}"] if s.blocked else []))
    length = s.rows * row if s.blocked else s.items * item
    return f"{matrix}[..., {start}:{start} + {length}]"


def weights(body: KernelText, s: Shape, w: Ref, node: Node) -> Ref:
    """(O, C / groups, *kernel) as a matrix, or one a group."""
    w = full(body, w, node)
    target = s.matrix
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
    made = body.scratch(s.padded, s.dtype, order, tiled=ref.tiled, kept=body.repeats)
    body.put(f"{made}.fill(0)", once=body.repeats and not body.ragged)
    body.put(f"np.copyto({interior(s, made.text)}, {ref})")
    return made


def interior(s: Shape, text: str) -> str:
    parts = ", ".join(f"{p}:{p + n}" for p, n in zip(s.pad, s.size, strict=True))
    return f"{text}[:, :, {parts}]"


def covered(body: KernelText, s: Shape, ref: Ref) -> Ref:
    """(C, *kernel, positions) of data that is staged, as a view with overlapping strides."""
    space = ref.strides[2:]
    windows = [(k, d * t) for k, d, t in zip(s.kernel, s.dilation, space, strict=True)]
    places = [(m, st * t) for m, st, t in zip(s.out, s.stride, space, strict=True)]
    item = (s.n, ref.strides[0])
    axes = [(s.channels, ref.strides[1]), *windows, *([*places, item] if s.inner else [item, *places])]
    shape, steps = tuple(n for n, _ in axes), tuple(t for _, t in axes)
    return strided(body, ref, shape, steps, None if ref.tiled is None else s.item_axis)


def gathered(body: KernelText, s: Shape, data: Ref, made: Ref) -> str:
    """The line that fills the columns of the block at item m and row r."""
    view = covered(body, s, data)
    if s.at_once:
        return f"np.copyto({made}, {view})"
    parts = [":"] * (1 + len(s.kernel))
    if not s.inner:
        parts.append(f"m:m + {s.items}" if s.parted else ":")
    if s.blocked:
        parts.append(f"r:r + {s.rows}")
    return f"np.copyto({made}, {view}[{', '.join(parts)}])"


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
