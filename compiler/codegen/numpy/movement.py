"""Ops that move: views where strides allow, else a copy into scratch."""

from __future__ import annotations

from collections.abc import Sequence

from ...graph import Node
from .body import KernelText, spells
from .ref import SIZES, Ints, Ref, number, order_of, strides_of


def full(body: KernelText, ref: Ref, node: Node) -> Ref:
    """What stands for `node` with all axes at their length: repeated elements get the stride 0."""
    shape, tiled = body.tile_shape(node), body.tiled_axis(node)
    if ref.shape == shape and not ref.number:
        return ref
    if ref.number:
        return filled(body, ref, shape, tiled)
    strides = tuple(0 if n == 1 != m else s for n, m, s in zip(ref.shape, shape, ref.strides, strict=True))
    return body.view(ref, f"np.broadcast_to({ref}, {body.dims(shape, tiled)})", shape, strides, tiled)


def filled(body: KernelText, ref: Ref, shape: Sequence[int], tiled: int | None) -> Ref:
    """A number as an array, written before the first tile."""
    made = body.scratch(shape, ref.dtype, tiled=tiled, kept=True, whole=tiled is None and body.tile > 0)
    body.put(f"{made}.fill({ref})", once=body.tile > 0)
    return made


def contiguous(body: KernelText, ref: Ref, order: Sequence[int] | None = None) -> Ref:
    """A copy of a ref in scratch, with its axes in this order."""
    made = body.scratch(ref.shape, ref.dtype, order, tiled=ref.tiled, whole=ref.whole)
    body.put(f"np.copyto({made}, {ref})")
    return made


def ones_moved(before: Ints, after: Ints) -> list[int | None] | None:
    """Where each axis of `after` comes from if only axes of size 1 come or go, else None."""
    long_before = [i for i, n in enumerate(before) if n != 1]
    if [before[i] for i in long_before] != [n for n in after if n != 1]:
        return None
    rest = iter(long_before)
    return [next(rest) if n != 1 else None for n in after]


def with_ones(body: KernelText, ref: Ref, count: int) -> Ref:
    """A view with axes of size 1 behind its own."""
    shape, strides = (*ref.shape, *(1,) * count), (*ref.strides, *(0,) * count)
    return body.view(ref, f"{ref}.reshape{body.dims(shape, ref.tiled)}", shape, strides, ref.tiled)


def picked(body: KernelText, ref: Ref, offset: Sequence[int], rank: int) -> Ref:
    """A view at one place along the axes behind `rank`; one of size 1 has only one."""
    if len(ref.shape) == rank:
        return ref
    index = ", ".join("0" if n == 1 else str(o) for o, n in zip(offset, ref.shape[rank:], strict=True))
    return body.view(ref, f"{ref}[..., {index}]", ref.shape[:rank], ref.strides[:rank], ref.tiled)


@spells("reshape")
def reshape(body: KernelText, node: Node) -> None:
    x = node.inputs[0]
    ref = body.value(x)
    target = body.tile_shape(node)
    if x.shape == node.shape:
        body.values[node] = ref
        return
    if ref.number:
        body.values[node] = ref.but(shape=(1,) * len(target), strides=(0,) * len(target))
        return
    moved = ones_moved(tuple(x.shape), tuple(node.shape))
    if moved is None:
        ref = full(body, ref, x)
        aim, strides = target, body.reshaped(ref.shape, ref.strides, target, ref.tiled, body.axes[node])
        if strides is None:
            ref = contiguous(body, ref)
            strides = strides_of(aim)
            if ref.tiled not in (None, 0) and body.ragged:
                raise AssertionError("a ragged tile cannot be reshaped")
    else:
        aim = tuple(ref.shape[i] if i is not None else 1 for i in moved)
        strides = tuple(ref.strides[i] if i is not None else 0 for i in moved)
    tiled = body.tiled_axis(node) if ref.tiled is not None else None
    dims = body.dims(aim, tiled) if aim else "(())"
    body.values[node] = body.view(ref, f"{ref}.reshape{dims}", aim, strides, tiled)


@spells("transpose")
def transpose(body: KernelText, node: Node) -> None:
    perm = node.attrs["perm"]
    ref = body.value(node.inputs[0])
    if ref.number:
        body.values[node] = ref
        return
    tiled = None if ref.tiled is None else perm.index(ref.tiled)
    text = f"{ref}.transpose({', '.join(map(str, perm))})"
    shape = tuple(ref.shape[p] for p in perm)
    body.values[node] = body.view(ref, text, shape, tuple(ref.strides[p] for p in perm), tiled)


@spells("broadcast", "surrogate")
def broadcast(body: KernelText, node: Node) -> None:
    # Ufuncs repeat axes of size 1 by themselves.
    body.values[node] = body.value(node.inputs[0])


@spells("slice")
def slice_(body: KernelText, node: Node) -> None:
    ref = body.value(node.inputs[0])
    attrs, x = node.attrs, node.inputs[0]
    if ref.number:
        body.values[node] = ref
        return
    parts, shape, strides = [], [], []
    for i, n in enumerate(ref.shape):
        a, b, s = attrs["start"][i], attrs["stop"][i], attrs["step"][i]
        if (a, b, s) == (0, x.shape[i], 1) or (n == 1 != x.shape[i]):
            parts.append(":")
            shape.append(n)
        else:
            parts.append(f"{a}:{b}" + (f":{s}" if s != 1 else ""))
            shape.append(int(node.shape[i]))
        strides.append(ref.strides[i] * s)
    text = f"{ref}[{', '.join(parts)}]"
    body.values[node] = body.view(ref, text, shape, strides, ref.tiled)


@spells("pad")
def pad(body: KernelText, node: Node) -> None:
    x, attrs = node.inputs[0], node.attrs
    ref = body.value(x)
    ref = ref if ref.number else full(body, ref, x)
    shape = body.tile_shape(node)
    like = body.tile_shape(x)
    order = order_of(like, ref.strides)
    made = body.scratch(shape, ref.dtype, order, tiled=ref.tiled, whole=ref.whole, kept=body.repeats)
    once = ref.whole or (body.repeats and not body.ragged)
    body.put(f"{made}.fill({number(attrs['value'], ref.dtype)})", once=once)
    if 0 not in like:
        index = [
            f"{a}:{a + (n - 1) * (k + 1) + 1}" + (f":{k + 1}" if k else "") if (a or h or k) else ":"
            for n, a, h, k in zip(x.shape, attrs["low"], attrs["high"], attrs["interior"], strict=True)
        ]
        body.put(f"np.copyto({made}[{', '.join(index)}], {ref})")
    body.values[node] = made


@spells("window")
def window(body: KernelText, node: Node) -> None:
    """Windows as a whole: a view with overlapping strides."""
    x, attrs = node.inputs[0], node.attrs
    ref = full(body, body.value(x), x)
    shape = list(body.tile_shape(node))
    strides = list(ref.strides)
    for a, s in zip(attrs["axes"], attrs["strides"], strict=True):
        strides[a] *= s
    strides += [ref.strides[a] * d for a, d in zip(attrs["axes"], attrs["dilations"], strict=True)]
    body.values[node] = strided(body, ref, shape, strides, ref.tiled)


def strided(body: KernelText, ref: Ref, shape: Sequence[int], strides: Sequence[int], tiled: int | None) -> Ref:
    """A view of a ref with given strides."""
    size = SIZES[ref.dtype]
    steps = tuple(s * size for s in strides)
    text = f"as_strided({ref}, {body.dims(shape, tiled)}, {steps})"
    return body.view(ref, text, shape, strides, tiled)


@spells("concat")
def concat(body: KernelText, node: Node) -> None:
    made = body.room(node, dtype=node.type.numpy_dtype.name)
    start = 0
    for x in node.inputs:
        stop = start + int(x.shape[node.attrs["axis"]])
        lead = ":, " * node.attrs["axis"]
        ref = body.value(x)
        body.put(f"np.copyto({made}[{lead}{start}:{stop}], {ref})")
        start = stop
    body.values[node] = made
