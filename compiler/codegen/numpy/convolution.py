"""Convolution and its two gradients, by columns."""

from __future__ import annotations

from ...graph import Node
from .body import KernelText, spells
from .columns import (
    Shape,
    as_input,
    as_matrix,
    blocks,
    columns,
    gathered,
    interior,
    matrix,
    rows_of,
    shape_of,
    staged,
    weights,
)
from .movement import contiguous, full
from .product import operand
from .reduction import total
from .ref import Ref, reshaped

# Positions of a block of some of the items where its share is added to the gradient of the weights.
SUMMED = 1024


@spells("conv")
def conv(body: KernelText, node: Node) -> None:
    x, w = node.inputs
    shape = body.tile_shape(node)
    s = shape_of(body, node, shape[0], x, (shape[1], *w.shape[1:]), node.shape[2:])
    ref, filters = full(body, operand(body, node, x), x), weights(body, s, operand(body, node, w), w)
    target = body.target(node, s.order, fits=lambda out: as_matrix(body, s, out))
    flat = as_matrix(body, s, target)
    assert flat is not None
    data = staged(body, s, ref)
    plain = as_input(body, s, data)
    if plain is not None:
        body.put(f"np.matmul({filters}, {plain}, out={flat})")
    else:
        made = columns(body, s, data.tiled)
        fill = gathered(body, s, data, made)
        product = f"np.matmul({filters}, {matrix(s, made)}, out={rows_of(s, flat)})"
        blocks(body, s, [fill, product], data.tiled)
    body.finish(node, target)


def _gradient(body: KernelText, s: Shape, node: Node, g: Node) -> Ref:
    """The gradient of the result as a matrix in the order of the columns."""
    key = ("gradient", g, s.groups)  # a value may be read by convolutions of several numbers of groups
    if key in body.memo:
        return body.memo[key]
    ref = full(body, operand(body, node, g), g)
    flat = as_matrix(body, s, ref)
    if flat is None:
        flat = as_matrix(body, s, contiguous(body, ref, s.order))
    assert flat is not None
    body.memo[key] = flat
    return flat


@spells("conv_weight_grad")
def conv_weight_grad(body: KernelText, node: Node) -> None:
    x, g = node.inputs
    n = body.tile_shape(x)[0]
    outputs = body.tile_shape(g)[1]
    s = shape_of(body, node, n, x, (outputs, *node.shape[1:]), g.shape[2:], least=SUMMED)
    flat = _gradient(body, s, node, g)
    data = staged(body, s, full(body, operand(body, node, x), x))
    plain = as_input(body, s, data)

    def write(out: Ref) -> None:
        to = f"{out}.reshape{s.matrix}"
        if plain is not None:
            body.put(f"np.matmul({flat}, {plain}{s.swap}, out={to})")
            return
        made = columns(body, s, data.tiled)
        fill = gathered(body, s, data, made)
        product = f"np.matmul({rows_of(s, flat)}, {matrix(s, made)}{s.swap}, out={{}})"
        if s.at_once:
            blocks(body, s, [fill, product.format(to)], data.tiled)
            return
        part = body.scratch(s.matrix, s.dtype)
        body.put(f"{out}.fill(0)")
        blocks(body, s, [fill, product.format(part), f"np.add({to}, {part}, out={to})"], data.tiled)

    total(body, node, range(len(node.shape)), write, fits=lambda out: reshaped(out.shape, out.strides, s.matrix))


@spells("conv_data_grad")
def conv_data_grad(body: KernelText, node: Node) -> None:
    g, w = node.inputs
    shape = body.tile_shape(node)
    s = shape_of(body, node, shape[0], None, w.shape, g.shape[2:])
    flat, filters = _gradient(body, s, node, g), weights(body, s, operand(body, node, w), w)
    if s.plain:
        target = body.target(node, s.order, fits=lambda out: as_input(body, s, out))
        to = as_input(body, s, target)
        assert to is not None
        body.put(f"np.matmul({filters}{s.swap}, {flat}, out={to})")
        body.finish(node, target)
        return
    made, padded = body.result(node, s.order), any(s.pad)
    if padded or made is None or body.overwrites(node):
        made = body.scratch(s.padded, s.dtype, s.order, tiled=body.tiled_axis(node))
    spread = columns(body, s, body.tiled_axis(node))
    body.put(f"{made}.fill(0)")
    product = f"np.matmul({filters}{s.swap}, {rows_of(s, flat)}, out={matrix(s, spread)})"
    blocks(body, s, [product, *_scatter(body, s, made, spread)], made.tiled)
    if padded:
        made = body.view(made, interior(s, made.text), shape, made.strides, made.tiled)
    body.finish(node, made)


def _scatter(body: KernelText, s: Shape, target: Ref, spread: Ref) -> list[str]:
    """Add each position of the kernel's share of the columns where it came from, in fixed order."""
    moved = s.order
    tiled = None if target.tiled is None else moved.index(target.tiled)
    shape, strides = [target.shape[a] for a in moved], [target.strides[a] for a in moved]
    whole = body.view(target, f"{target}.transpose{moved}", shape, strides, tiled)
    names = [f"k{i}" for i in range(len(s.kernel))]
    parts = []
    for axis, (k, d, m, st) in enumerate(zip(names, s.dilation, s.out, s.stride, strict=True)):
        begin = f"{k} * {d}" if d > 1 else k
        if axis == 0 and s.blocked:
            begin = f"{begin} + r * {st}" if st > 1 else f"{begin} + r"
            m = s.rows
        parts.append(f"{begin}:{begin} + {(m - 1) * st + 1}" + (f":{st}" if st > 1 else ""))
    items = f"m:m + {s.items}" if s.parted else ":"
    index = ", ".join((":", *parts) if s.inner else (":", items, *parts))
    lines = [f"{'    ' * i}for {k} in range({n}):" for i, (k, n) in enumerate(zip(names, s.kernel, strict=True))]
    lead = "    " * len(names)
    return [
        *lines,
        f"{lead}place = {whole}[{index}]",
        f"{lead}np.add(place, {spread}[:, {', '.join(names)}], out=place)",
    ]
