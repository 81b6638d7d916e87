"""Depthwise convolution and its gradients: each channel is summed by itself, and channels lie side by side.

A block of channels has running values in registers, in the cache where vectors do not divide the channels; loops over
taps, or over images and positions, begin and end where there are elements. It serves every product whose factors both
lie side by side along an axis of the batch.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from ...loops.contraction import Contraction, contraction, guards_that_tell
from ...loops.domain import Domain
from ...loops.view import Expr, Var
from ..loops import nests
from ..loops.body import Body
from .lanes import Lanes, between
from .operand import Operand, limits, operand_of
from .tasks import pointer

FEWEST = 4  # channels that are worth it
BLOCK = 64  # running values of a block at most: they fit into the registers, and wait for each other little


@dataclass(frozen=True)
class Channels:
    """A product as sums for each channel: `lane`, of which both factors lie side by side."""

    product: Contraction
    left: Operand
    right: Operand
    lane: Var


def channels_of(domain: Domain, body: Body) -> Channels | None:
    """How a product is one for each channel, None if it is not."""
    product = contraction(domain.root)
    left, right = operand_of(body, product.left), operand_of(body, product.right)
    if domain.root.dtype != "f32" or left is None or right is None:
        return None
    lane = next((v for v in product.batch if left.stride(v) == 1 == right.stride(v)), None)
    guards = (*left.guards, *right.guards)
    if lane is None or lane.size < FEWEST or not limits(guards, product.reduced):
        return None
    return (
        None if any(lane in g.expr.vars for g in (*guards, *product.guards)) else Channels(product, left, right, lane)
    )


def write(domain: Domain, body: Body, channels: Channels) -> None:
    """Write the statements of a kernel."""
    product, lane = channels.product, channels.lane
    outer = [v for v in (*product.batch, *product.rows, *product.columns) if v != lane]
    with ExitStack() as stack:
        at = dict(zip(outer, stack.enter_context(body.loops(outer)), strict=True))
        width = next((n for n in (16, 8, 4) if lane.size % n == 0), 0)
        block = next((n for n in range(BLOCK, 0, -width or -BLOCK) if not width or lane.size % n == 0), BLOCK)
        lanes = Lanes(body, lane.name, lane.size, block)
        at[lane] = Expr.of(lanes.var)
        stack.enter_context(lanes.blocks())
        stack.enter_context(body.branch(product.substitute(at).guards))
        name = body.name("total")
        body.put(f"float {name}[{lanes.block}];")
        if width:
            vectors = f"{lanes.block} / LANES_{width}"
            body.put(f"vec_{width} sums[{vectors}] = {{0}};")
        else:
            with lanes.each():
                body.put(f"{name}[j] = 0;")
        guards = guards_that_tell((*channels.left.guards, *channels.right.guards))
        with between(body, product.reduced, guards, at) as inside:
            first = {**inside, lane: body.bind(Var("first", lane.size), "first")}
            x, w = (pointer(body, side, first, inside) for side in (channels.left, channels.right))
            if width:
                body.put(f"add_channels_{width}({vectors}, sums, {x}, {w});")
            else:
                for word, text in (("x", x), ("w", w)):
                    body.put(f"const float *{word} = {text};")
                with lanes.each():
                    body.put(f"{name}[j] += x[j] * w[j];")
        if width:
            body.put(f"for (int v = 0; v < {vectors}; v++) *(vec_{width} *)({name} + v * LANES_{width}) = sums[v];")
        with lanes.each():
            nests.finish(domain, body, product.substitute(at).result, f"{name}[j]")
