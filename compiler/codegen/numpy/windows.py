"""Sums and maxima over plain sliding windows, axis by axis: pooling and LRN as a few strided slices in fixed order.

No array has the axes of a window. The number of the largest element is kept beside it. Elements that a `pad` would add
are never read: positions that fall on them are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ... import ops
from ...graph import Node
from .body import KernelText
from .movement import full, picked, with_ones
from .positions import by_position
from .ref import Ref, number, order_of


@dataclass(frozen=True)
class Pass:
    """Windows along one axis: `out` positions of a window of `size`, `low` elements before the first real one."""

    axis: int
    size: int
    stride: int
    dilation: int
    low: int
    length: int
    out: int

    def valid(self, k: int) -> tuple[int, int]:
        """The positions [first, last) whose k-th element is a real one."""
        shift = k * self.dilation - self.low
        first = max(0, -(shift // self.stride))
        last = min(self.out, (self.length - 1 - shift) // self.stride + 1)
        return first, max(first, last)

    def taps(self) -> dict[int, tuple[int, int]]:
        """Of each element of a window that is a real one anywhere: the positions. A window may be far longer."""
        first = -((self.stride * (self.out - 1) - self.low) // self.dilation)
        last = (self.length - 1 + self.low) // self.dilation
        spans = {k: self.valid(k) for k in range(max(0, first), min(self.size, last + 1))}
        return {k: span for k, span in spans.items() if span[0] < span[1]}

    def take(self, k: int, first: int, last: int) -> str:
        """The slice of the k-th elements of positions [first, last)."""
        shift = k * self.dilation - self.low
        start, stop = first * self.stride + shift, (last - 1) * self.stride + shift + 1
        return f"{start}:{stop}" + (f":{self.stride}" if self.stride != 1 else "")


def indexed(text: str, rank: int, axis: int, part: str) -> str:
    """`text[:, part]`, with the slice at `axis`."""
    return f"{text}[{', '.join(part if i == axis else ':' for i in range(axis + 1))}]" if rank else text


def reduce_windows(body: KernelText, node: Node) -> None:
    """A reduction over windows: axis by axis where the windows are plain, else position by position."""
    plain = _plain(node)
    if plain is None or (body.ragged and body.tiled_axis(node) is None):
        by_position(body, node)
        return
    source, passes = plain
    ref = full(body, body.value(source), source)
    if node.op is ops.sum_:
        _separable(body, node, ref, passes, "np.add", 0.0)
        return
    largest = _sibling(body, node, ops.max_reduce)
    choice = _sibling(body, node, ops.argmax)
    if choice is None:
        _separable(body, node, ref, passes, "np.fmax", -math.inf)
    else:
        _largest(body, largest, choice, ref, passes)


def _sibling(body: KernelText, node: Node, op: ops.Op) -> Node | None:
    """The node itself, or that of another op over the same windows."""
    if node.op is op:
        return node
    users = body.graph.users[node.inputs[0]]
    return next((u for u in users if u.op is op and u.attrs["axes"] == node.attrs["axes"]), None)


def _plain(node: Node) -> tuple[Node, list[Pass]] | None:
    """The array below windows that nothing is computed in, and the passes over it."""
    window = node.inputs[0]
    if window.op is not ops.window:
        return None
    source, attrs = window.inputs[0], window.attrs
    if source.type.dtype not in ("f32", "f64", "f16", "bf16"):
        return None
    low = (0,) * len(source.shape)
    if source.op is ops.pad and not any(source.attrs["interior"]):
        value = source.attrs["value"]
        outside = {a for a, (p, q) in enumerate(zip(source.attrs["low"], source.attrs["high"], strict=True)) if p or q}
        if value == (0.0 if node.op is ops.sum_ else -math.inf) and outside <= set(attrs["axes"]):
            low = source.attrs["low"]
            source = source.inputs[0]
    passes = []
    for a, k, s, d in zip(attrs["axes"], attrs["sizes"], attrs["strides"], attrs["dilations"], strict=True):
        passes.append(Pass(a, k, s, d, low[a], int(source.shape[a]), int(window.shape[a])))
    return source, passes


def _separable(body: KernelText, node: Node, ref: Ref, passes: Sequence[Pass], ufunc: str, empty: float) -> None:
    """One pass for each axis of the window, outer axes first: their rows are contiguous."""
    rank = len(ref.shape)
    todo = [p for p in passes if p.size > 1 or p.stride > 1 or p.low or p.out != p.length]
    order = order_of(ref.shape, ref.strides)
    final = (*order, *range(rank, len(node.shape)))
    for p in todo:
        out = _result_of(body, ref, p, ref.dtype, body.result(node, final) if p is todo[-1] else None)
        _one_axis(body, ref, out, p, ufunc, empty, rank)
        ref = out
    if todo:
        _enter(body, node, ref, final, len(passes))
        return
    body.finish(node, with_ones(body, ref, len(passes)))


def _result_of(body: KernelText, ref: Ref, p: Pass, dtype: str, end: Ref | None) -> Ref:
    """What a pass over an array is written to: scratch, or where the node ends, without the window's axes."""
    rank = len(ref.shape)
    if end is not None:
        return picked(body, end, (0,) * (len(end.shape) - rank), rank)
    shape = tuple(p.out if i == p.axis else n for i, n in enumerate(ref.shape))
    return body.scratch(shape, dtype, order_of(ref.shape, ref.strides), tiled=ref.tiled)


def _one_axis(body: KernelText, ref: Ref, out: Ref, p: Pass, ufunc: str, empty: float, rank: int) -> None:
    spans = p.taps()
    whole = [k for k, span in spans.items() if span == (0, p.out)]

    def part(k: int, first: int, last: int) -> str:
        return indexed(ref.text, rank, p.axis, p.take(k, first, last))

    rest = list(spans)
    if len(whole) >= 2:
        a, b = whole[:2]
        body.put(f"{ufunc}({part(a, 0, p.out)}, {part(b, 0, p.out)}, out={out})")
        rest = [k for k in rest if k not in (a, b)]
    elif whole:
        body.put(f"np.copyto({out}, {part(whole[0], 0, p.out)})")
        rest = [k for k in rest if k != whole[0]]
    else:
        body.put(f"{out}.fill({number(empty, out.dtype)})")
    for k in rest:
        first, last = spans[k]
        to = out.text if (first, last) == (0, p.out) else indexed(out.text, rank, p.axis, f"{first}:{last}")
        body.put(f"{ufunc}({to}, {part(k, first, last)}, out={to})")


def _largest(body: KernelText, largest: Node | None, choice: Node, ref: Ref, passes: Sequence[Pass]) -> None:
    """The maximum over windows and the row-major number of the first largest element.

    The innermost axis goes first: of equal elements the one in the first row, then the first column, wins.
    """
    rank, order = len(ref.shape), order_of(ref.shape, ref.strides)
    final = (*order, *range(rank, rank + len(passes)))
    code = "uint8" if math.prod(p.size for p in passes) <= 256 else "int32"
    best, index, weight = ref, None, 1
    for p in reversed(passes):
        ends = [body.result(n, final) if n and p is passes[0] else None for n in (largest, choice)]
        top, at = (_result_of(body, best, p, dtype, end) for end, dtype in zip(ends, (ref.dtype, code), strict=True))
        _step(body, best, index, top, at, p, weight, rank)
        best, index = top, at
        weight *= p.size
    assert index is not None
    for node, got in ((largest, best), (choice, index)):
        if node is not None:
            _enter(body, node, got, final, len(passes))


def _enter(body: KernelText, node: Node, got: Ref, order: Sequence[int], count: int) -> None:
    """Enter a value that lacks the axes of the window, which have size 1 in the node's result."""
    body.finish(node, body.result(node, order) or with_ones(body, got, count))


def _step(body: KernelText, best: Ref, index: Ref | None, top: Ref, at: Ref, p: Pass, weight: int, rank: int) -> None:
    """One axis of a window: from the best of the rows to the best of all, with numbers."""
    mask, change = body.like(top, "bool"), body.like(top, at.dtype)
    everywhere = (0, p.out)
    taps = list(p.taps().items())
    if not taps:
        return

    def of(ref: Ref, k: int, span: tuple[int, int]) -> str:
        return indexed(ref.text, rank, p.axis, p.take(k, *span))

    def to(ref: Ref, span: tuple[int, int]) -> str:
        return ref.text if span == everywhere else indexed(ref.text, rank, p.axis, f"{span[0]}:{span[1]}")

    def add(text: str, number: int) -> None:
        if number:
            body.put(f"np.add({text}, {number}, out={text})")

    # The first tap is compared with nothing. Where it is read everywhere, as the second is, it is read with that one.
    (lead, begin), *rest = taps
    both = lead == 0 and begin == everywhere and rest[:1] == [(1, everywhere)]
    if begin != everywhere:
        body.put(f"{top}.fill(-np.inf)")
        body.put(f"{at}.fill(0)")
        body.put(f"np.fmax({of(best, lead, begin)}, -np.inf, out={to(top, begin)})")
    elif not both:
        body.put(f"np.copyto({top}, {of(best, lead, begin)})")
    if index is not None:
        body.put(f"np.copyto({to(at, begin)}, {of(index, lead, begin)})")
        add(to(at, begin), lead * weight)
    elif not both and (lead or begin == everywhere):
        body.put(f"{to(at, begin)}.fill({lead})")
    for k, span in rest:
        here, there, number, changed = of(best, k, span), to(top, span), to(at, span), to(change, span)
        before = of(best, lead, begin) if both and k == 1 else there
        body.put(f"np.greater({here}, {before}, out={to(mask, span)})")
        body.put(f"np.fmax({here}, {before}, out={there})")
        flag = f"{to(mask, span)}.view(np.uint8)" if at.dtype == "uint8" else to(mask, span)
        if index is not None:
            body.put(f"np.subtract({of(index, k, span)}, {number}, out={changed})")
            add(changed, k * weight)
            body.put(f"np.multiply({changed}, {flag}, out={changed})")
            body.put(f"np.add({number}, {changed}, out={number})")
        elif both and k == 1:
            body.put(f"np.copyto({at}, {flag})")
        else:
            body.put(f"np.multiply({flag}, {k}, out={changed})")
            body.put(f"np.maximum({number}, {changed}, out={number})")
