"""Sliding windows, one position at a time: pooling, LRN and their gradients as a few strided slices in fixed order.

No array has the axes of a window. A sum or maximum over plain windows goes axis by axis; the largest element's number is
kept beside it. Elements that a `pad` would add are never read: positions that fall on them are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ... import ops
from ...graph import Node
from .body import Body, spells, stored_dtype
from .movement import full
from .pointwise import apply, common
from .ref import Ints, Ref, number, order_of


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

    def take(self, k: int, first: int, last: int) -> str:
        """The slice of the k-th elements of positions [first, last)."""
        shift = k * self.dilation - self.low
        start, stop = first * self.stride + shift, (last - 1) * self.stride + shift + 1
        return f"{start}:{stop}" + (f":{self.stride}" if self.stride != 1 else "")


def indexed(text: str, rank: int, axis: int, part: str) -> str:
    """`text[:, part]`, with the slice at `axis`."""
    return f"{text}[{', '.join(part if i == axis else ':' for i in range(axis + 1))}]" if rank else text


def reduce_windows(body: Body, node: Node) -> None:
    """A reduction over windows: axis by axis where the windows are plain, else position by position."""
    plain = _plain(node)
    if plain is None or body.ragged and body.tiled_axis(node) is None:
        _by_position(body, node)
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
    elif node.op is ops.argmax and largest is not None and body.position[largest] > body.position[node]:
        _largest(body, largest, choice, ref, passes)
    else:
        _largest(body, largest, choice, ref, passes)


def _sibling(body: Body, node: Node, op: ops.Op) -> Node | None:
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


def _separable(body: Body, node: Node, ref: Ref, passes: Sequence[Pass], ufunc: str, empty: float) -> None:
    """One pass for each axis of the window, outer axes first: their rows are contiguous."""
    rank = len(ref.shape)
    todo = [p for p in passes if p.size > 1 or p.stride > 1 or p.low or p.out != p.length]
    order = order_of(ref.shape, ref.strides)
    final = (*(p for p in order), *range(rank, len(node.shape)))
    target = body.result(node, final)
    written = target
    if not todo:
        shape = (*ref.shape, *(1,) * len(passes))
        body.finish(
            node,
            body.view(
                ref,
                f"{ref.text}.reshape{body.dims(shape, ref.tiled)}",
                shape,
                (*ref.strides, *(0,) * len(passes)),
                ref.tiled,
            ),
        )
        return
    for p in todo:
        last = p is todo[-1]
        shape = tuple(p.out if i == p.axis else n for i, n in enumerate(ref.shape))
        if last and target is not None:
            out = _dropped(body, target, rank)
        else:
            out = body.scratch(shape, ref.dtype, order, tiled=ref.tiled)
        _one_axis(body, ref, out, p, ufunc, empty, rank)
        ref = out
    if target is None:
        shape = (*ref.shape, *(1,) * len(passes))
        target = body.view(
            ref,
            f"{ref.text}.reshape{body.dims(shape, ref.tiled)}",
            shape,
            (*ref.strides, *(0,) * len(passes)),
            ref.tiled,
        )
    body.finish(node, target, written)


def _dropped(body: Body, ref: Ref, rank: int) -> Ref:
    """A ref without its last axes, which have size 1."""
    shape, strides = ref.shape[:rank], ref.strides[:rank]
    if len(ref.shape) == rank:
        return ref
    zeros = ", ".join("0" for _ in ref.shape[rank:])
    return body.view(ref, f"{ref.text}[..., {zeros}]", shape, strides, ref.tiled)


def _one_axis(body: Body, ref: Ref, out: Ref, p: Pass, ufunc: str, empty: float, rank: int) -> None:
    spans = {k: p.valid(k) for k in range(p.size)}
    whole = [k for k, span in spans.items() if span == (0, p.out)]

    def part(k: int, first: int, last: int) -> str:
        return indexed(ref.text, rank, p.axis, p.take(k, first, last))

    rest = list(spans)
    if len(whole) >= 2:
        a, b = whole[:2]
        body.put(f"{ufunc}({part(a, 0, p.out)}, {part(b, 0, p.out)}, out={out.text})", ref, out)
        rest = [k for k in rest if k not in (a, b)]
    elif whole:
        body.put(f"np.copyto({out.text}, {part(whole[0], 0, p.out)})", ref, out)
        rest = [k for k in rest if k != whole[0]]
    else:
        body.put(f"{out.text}.fill({number(empty, out.dtype)})", out)
    for k in rest:
        first, last = spans[k]
        if first == last:
            continue
        to = out.text if (first, last) == (0, p.out) else indexed(out.text, rank, p.axis, f"{first}:{last}")
        body.put(f"{ufunc}({to}, {part(k, first, last)}, out={to})", ref, out)


def _largest(body: Body, largest: Node | None, choice: Node, ref: Ref, passes: Sequence[Pass]) -> None:
    """The maximum over windows and the row-major number of the first largest element.

    The innermost axis goes first: of equal elements the one in the first row, then the first column, wins.
    """
    rank, order = len(ref.shape), order_of(ref.shape, ref.strides)
    final = (*order, *range(rank, rank + len(passes)))
    best, index = ref, None
    weight = 1
    for p in reversed(passes):
        shape = tuple(p.out if i == p.axis else n for i, n in enumerate(best.shape))
        last = p is passes[0]
        value = body.result(largest, final) if last and largest is not None else None
        number_ = body.result(choice, final) if last else None
        top = _dropped(body, value, rank) if value else body.scratch(shape, ref.dtype, order, tiled=ref.tiled)
        wide = number_ is None or number_.dtype == "uint8"
        code = "uint8" if wide and math.prod(q.size for q in passes) <= 256 else "int32"
        at = (
            _dropped(body, number_, rank)
            if number_ is not None and number_.dtype == code
            else body.scratch(shape, code, order, tiled=ref.tiled)
        )
        _step(body, best, index, top, at, p, weight, rank)
        best, index = top, at
        weight *= p.size
    assert index is not None
    ones = (1,) * len(passes)
    for node, got, dtype in ((largest, best, ref.dtype), (choice, index, index.dtype)):
        if node is None:
            continue
        target = body.result(node, final)
        written = target if target is not None and target.dtype == got.dtype else None
        if written is None:
            shape = (*got.shape, *ones)
            target = body.view(
                got,
                f"{got.text}.reshape{body.dims(shape, got.tiled)}",
                shape,
                (*got.strides, *(0 for _ in ones)),
                got.tiled,
            )
        body.finish(node, target, written)  # type: ignore[arg-type]
        del dtype


def _step(body: Body, best: Ref, index: Ref | None, top: Ref, at: Ref, p: Pass, weight: int, rank: int) -> None:
    """One axis of a window: from the best of the rows to the best of all, with numbers."""
    mask = body.scratch(top.shape, "bool", order_of(top.shape, top.strides), tiled=top.tiled)
    spans = [p.valid(k) for k in range(p.size)]
    lead = spans[0] == (0, p.out)

    def of(ref: Ref, k: int, first: int, last: int) -> str:
        return indexed(ref.text, rank, p.axis, p.take(k, first, last))

    if lead:
        if p.size == 1 or len(spans) > 1 and spans[1] != (0, p.out):
            body.put(f"np.copyto({top.text}, {of(best, 0, 0, p.out)})", best, top)
        if index is None:
            body.put(f"{at.text}.fill(0)", at)
        else:
            body.put(f"np.copyto({at.text}, {of(index, 0, 0, p.out)})", index, at)
    else:
        body.put(f"{top.text}.fill(-np.inf)", top)
        body.put(f"{at.text}.fill(0)", at)
    change = body.scratch(top.shape, at.dtype, order_of(top.shape, top.strides), tiled=top.tiled)
    for k in range(1 if lead else 0, p.size):
        first, last = spans[k]
        if first == last:
            continue
        all_ = (first, last) == (0, p.out)

        def to(ref: Ref, first: int = first, last: int = last, all_: bool = all_) -> str:
            return ref.text if all_ else indexed(ref.text, rank, p.axis, f"{first}:{last}")

        here = of(best, k, first, last)
        before = of(best, 0, 0, p.out) if k == 1 and lead and all_ else to(top)
        body.put(f"np.greater({here}, {before}, out={to(mask)})", best, top, mask)
        body.put(f"np.fmax({here}, {before}, out={to(top)})", best, top)
        flag = f"{to(mask)}.view(np.uint8)" if at.dtype == "uint8" else to(mask)
        if index is None:
            if k == 1 and lead and all_:
                body.put(f"np.copyto({at.text}, {flag})", mask, at)
            else:
                body.put(f"np.multiply({flag}, {k}, out={to(change)})", mask, change)
                body.put(f"np.maximum({to(at)}, {to(change)}, out={to(at)})", change, at)
        else:
            body.put(f"np.subtract({of(index, k, first, last)}, {to(at)}, out={to(change)})", index, at, change)
            body.put(f"np.add({to(change)}, {k * weight}, out={to(change)})", change)
            body.put(f"np.multiply({to(change)}, {flag}, out={to(change)})", change, mask)
            body.put(f"np.add({to(at)}, {to(change)}, out={to(at)})", at, change)


# Position by position.


def at_position(body: Body, node: Node, offset: Ints, sizes: Ints, target: Ref | None = None) -> Ref:
    """A node below windows at one position of the window: without the window's axes."""
    rank = len(node.shape) - len(offset)
    if node.op is ops.const:
        ref = body.value(node)
        return ref.but(shape=(1,) * rank, strides=(0,) * rank) if ref.number else _picked(body, ref, offset, rank)
    if node.op is ops.iota and node.attrs["axes"] == tuple(range(rank, len(node.shape))):
        return Ref(
            str(int(np.ravel_multi_index(offset, sizes))),
            (1,) * rank,
            (0,) * rank,
            node.type.numpy_dtype.name,
            None,
            True,
            number=True,
        )
    if node in body.windows and node.op is ops.window and len(node.attrs["axes"]) == len(offset):
        return _window_at(body, node, offset)
    if node in body.windows and node.op is ops.broadcast:
        return at_position(body, node.inputs[0], offset, sizes)
    if node in body.windows and node.op.family == "pointwise":
        refs = [at_position(body, x, offset, sizes) for x in node.inputs]
        shape = common(refs, rank)
        if target is None:
            like = max(refs, key=lambda r: r.count)
            tiled = next((r.tiled for r in refs if r.tiled is not None), None)
            target = body.scratch(shape, stored_dtype(node), order_of(like.shape, like.strides), tiled=tiled)
        apply(body, node, node.op.name, refs, target)
        return target
    return _picked(body, body.value(node), offset, rank)


def _picked(body: Body, ref: Ref, offset: Ints, rank: int) -> Ref:
    index = ", ".join("0" if n == 1 else str(o) for o, n in zip(offset, ref.shape[rank:], strict=True))
    return body.view(ref, f"{ref.text}[..., {index}]", ref.shape[:rank], ref.strides[:rank], ref.tiled)


def _window_at(body: Body, node: Node, offset: Ints) -> Ref:
    x, attrs = node.inputs[0], node.attrs
    ref = full(body, body.value(x), x)
    parts, shape, strides = [":"] * len(ref.shape), list(ref.shape), list(ref.strides)
    for a, o, s, d in zip(attrs["axes"], offset, attrs["strides"], attrs["dilations"], strict=True):
        n = int(node.shape[a])
        parts[a] = f"{o * d}:{o * d + (n - 1) * s + 1}:{s}"
        shape[a], strides[a] = n, strides[a] * s
    return body.view(ref, f"{ref.text}[{', '.join(parts)}]", shape, strides, ref.tiled)


def _by_position(body: Body, node: Node) -> None:
    """Any reduction over windows: the operand at each position in turn."""
    x = node.inputs[0]
    count = len(node.attrs["axes"])
    sizes = tuple(int(n) for n in x.shape[len(x.shape) - count :])
    made: Ref | None = None
    best: Ref | None = None
    for at, offset in enumerate(np.ndindex(*sizes)):
        ref = at_position(body, x, offset, sizes)
        if made is None:
            shape, order = body.tile_shape(node)[:-count], order_of(ref.shape, ref.strides)
            made = body.scratch(shape, stored_dtype(node), order, tiled=body.tiled_axis(node))
            if node.op is ops.argmax:
                best = body.scratch(shape, ref.dtype, order, tiled=made.tiled)
                better = body.scratch(shape, "bool", order, tiled=made.tiled)
                body.put(f"{made.text}.fill(0)", made)
            target = best or made
            start = "np.copyto({t}, {x})" if node.op is ops.sum_ else "np.fmax({x}, -np.inf, out={t})"
            body.put(start.format(t=target.text, x=ref.text), ref, target)
        elif best is not None:
            body.put(f"np.greater({ref.text}, {best.text}, out={better.text})", ref, best, better)
            body.put(f"np.copyto({made.text}, {at}, where={better.text})", made, better)
            body.put(f"np.fmax({best.text}, {ref.text}, out={best.text})", ref, best)
        else:
            ufunc = "np.add" if node.op is ops.sum_ else "np.fmax"
            body.put(f"{ufunc}({made.text}, {ref.text}, out={made.text})", ref, made)
    assert made is not None
    shape = (*made.shape, *(1,) * count)
    body.finish(
        node,
        body.view(
            made,
            f"{made.text}.reshape{body.dims(shape, made.tiled)}",
            shape,
            (*made.strides, *(0,) * count),
            made.tiled,
        ),
    )


@spells("unwindow")
def unwindow(body: Body, node: Node) -> None:
    """The adjoint of windows: each position's share is added where it came from, in the order of the positions."""
    x, attrs = node.inputs[0], node.attrs
    rank, axes = len(node.shape), attrs["axes"]
    shape = body.tile_shape(node)
    first = at_position(body, x, (0,) * len(axes), attrs["sizes"])
    like = order_of(first.shape, first.strides) if first.count > 1 else tuple(range(rank))
    target = body.result(node, like)
    written = target
    if target is None:
        target = body.scratch(shape, stored_dtype(node), like, tiled=body.tiled_axis(node))
    apart = all(
        s >= d * (k - 1) + 1 for k, s, d in zip(attrs["sizes"], attrs["strides"], attrs["dilations"], strict=True)
    )
    covered = apart and all(
        s == k and int(x.shape[a]) * k == n
        for a, k, s, n in zip(axes, attrs["sizes"], attrs["strides"], attrs["lengths"], strict=True)
    )
    if not covered:
        body.put(f"{target.text}.fill(0)", target)
    for i, offset in enumerate(np.ndindex(*attrs["sizes"])):
        parts, strides, part_shape = [":"] * rank, list(target.strides), list(shape)
        for a, o, s, d in zip(axes, offset, attrs["strides"], attrs["dilations"], strict=True):
            n = int(x.shape[a])
            parts[a] = f"{o * d}:{o * d + (n - 1) * s + 1}:{s}"
            part_shape[a], strides[a] = n, strides[a] * s
        text = f"{target.text}[{', '.join(parts)}]"
        place = body.view(target, text, part_shape, strides, target.tiled)
        ref = first if i == 0 else at_position(body, x, offset, attrs["sizes"], place if apart else None)
        if ref is not place:
            line = (
                f"np.copyto({place.text}, {ref.text})"
                if apart
                else f"np.add({place.text}, {ref.text}, out={place.text})"
            )
            body.put(line, ref, place)
        body.touch(target)
    body.finish(node, target, written)
