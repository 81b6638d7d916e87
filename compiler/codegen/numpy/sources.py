"""Values that are not computed from others: operands of the kernel, constants, index grids, random bits."""

from __future__ import annotations

import math
import zlib

import numpy as np

from ...graph import Node
from ...kernel import operand_number
from ...types import Literal, round_bf16
from .body import KernelText, spells
from .ref import Ints, Ref, number, strides_of


@spells("input")
def operand(body: KernelText, node: Node) -> None:
    """The tile of an operand, or all of it."""
    index = operand_number(node)
    place = body.operands[index]
    whole = body.enter(Ref(f"x{index}", place.shape, place.strides, place.dtype, None, body.tile > 0))
    body.values[node] = body.tile_of(whole, node)


@spells("const")
def const(body: KernelText, node: Node) -> None:
    value, dtype = node.attrs["value"], node.type.numpy_dtype.name
    if not isinstance(value, Literal):
        value = float(round_bf16(np.asarray(value))) if node.dtype == "bf16" else value
        body.values[node] = body.number(number(value, dtype), len(node.shape), dtype)
        return
    array = value.array()
    shape = tuple(map(int, array.shape))
    if array.size <= 64:
        text = f"np.array({array.tolist()!r}, np.{dtype})".replace("inf", "np.inf").replace("nan", "np.nan")
    else:
        text = f"np.frombuffer(bytes.fromhex({value.data.hex()!r}), np.{dtype}).reshape({shape})"
    _constant(body, node, text, shape)


@spells("iota")
def iota(body: KernelText, node: Node) -> None:
    shape = tuple(int(n) if i in node.attrs["axes"] else 1 for i, n in enumerate(node.shape))
    text = f"np.arange({math.prod(shape)}, dtype=np.{node.type.numpy_dtype.name}).reshape({shape})"
    _constant(body, node, text, shape)


def _constant(body: KernelText, node: Node, text: str, shape: Ints) -> None:
    """An array that the module makes once."""
    name = f"c{zlib.crc32(text.encode()):08x}"
    body.constants[name] = text
    whole = Ref(name, shape, strides_of(shape), node.type.numpy_dtype.name, None, body.tile > 0)
    body.values[node] = body.tile_of(whole, node)


@spells("random")
def random(body: KernelText, node: Node) -> None:
    seed, step = (body.value(x) for x in node.inputs)
    made = body.room(node, dtype="uint32")
    axis = body.tiled_axis(node)
    first = f"i * {math.prod(map(int, node.shape[axis + 1 :]))}" if axis is not None else "0"
    body.put(f"draw({seed}, {step}, {node.attrs['stream']}, {first}, {made}.reshape(-1))")
    body.finish(node, made)
