"""Tile sizes are legal on every device, in every precision: all that cost models consider, and what they choose.

What is legal is said here by the hardware and by Triton, not by the models. Which tile is the fastest is for a GPU
to say (`netc tune`); that none spills is seen in machine code (`tests/compiler/test_triton_nets.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from netc.compiler.kernel import Blocks
from netc.compiler.loops.contraction import contraction, size_of
from netc.compiler.loops.domain import domain_of
from netc.driver import compilation
from netc.passes.lowering.cost.products import Precision, candidates, product_of
from netc.passes.lowering.cost.reductions import fastest, rows_of
from netc.passes.lowering.machines import DEVICES, Device
from netc.passes.lowering.schedule import blocks_of
from support.short_nodes import fed

EXAMPLES = Path(__file__).parents[2] / "examples"
GPUS = [device for device in DEVICES.values() if not device.large]
NUMBERS: list[tuple[str, Precision]] = [
    ("f32", "ieee"),
    ("f32", "tf32"),
    ("bf16", "ieee"),
    ("f16", "ieee"),
    ("f64", "ieee"),
]
CONV: dict[str, Any] = {"stride": (1, 1), "pad": (1, 1), "dilation": (1, 1), "groups": 1}
LARGEST_GRID = 2**31 - 1
# Of the registers of a thread, 255 of 32 bits, those that sums may take: operands and addresses take others.
SUMS = 128
# `tl.dot` takes no fewer rows, columns or depth.
LEAST = 16


def convolution(x: tuple[int, ...], w: tuple[int, ...], dtype: str, **attrs: Any) -> Node:
    return ops.conv(fed("in0", *x, dtype=dtype), fed("in1", *w, dtype=dtype), **{**CONV, **attrs})


def by_weights(x: tuple[int, ...], g: tuple[int, ...], size: int, dtype: str) -> Node:
    operands = fed("in0", *x, dtype=dtype), fed("in1", *g, dtype=dtype)
    return ops.conv_weight_grad(*operands, kernel=(size, size), **{**CONV, "pad": (size // 2,) * 2})


def by_data(dtype: str) -> Node:
    g, w = fed("in0", 32, 64, 28, 28, dtype=dtype), fed("in1", 64, 64, 3, 3, dtype=dtype)
    return ops.conv_data_grad(g, w, size=(56, 56), **{**CONV, "stride": (2, 2)})


def dot(rows: int, depth: int, columns: int, dtype: str) -> Node:
    return ops.dot(fed("in0", rows, depth, dtype=dtype), fed("in1", depth, columns, dtype=dtype))


def beside(dtype: str) -> Node:
    """A product that three more arrays of its size are read and written with."""
    y = convolution((64, 256, 13, 13), (384, 256, 3, 3), dtype)
    shape = tuple(map(int, y.shape))
    return ops.mul(ops.add(y, fed("in2", *shape, dtype=dtype)), fed("in3", *shape, dtype=dtype))


PRODUCTS: dict[str, Callable[[str], Node]] = {
    "many channels": lambda dtype: convolution((256, 256, 13, 13), (384, 256, 3, 3), dtype),
    "three channels": lambda dtype: convolution((256, 3, 227, 227), (96, 3, 11, 11), dtype, stride=(4, 4)),
    "four channels": lambda dtype: convolution((256, 4, 55, 55), (96, 4, 11, 11), dtype),
    "pointwise": lambda dtype: convolution((64, 480, 14, 14), (192, 480, 1, 1), dtype, pad=(0, 0)),
    "groups": lambda dtype: convolution((64, 96, 27, 27), (256, 48, 5, 5), dtype, groups=2, pad=(2, 2)),
    "gradient by weights": lambda dtype: by_weights((256, 256, 13, 13), (256, 384, 13, 13), 3, dtype),
    "few weights": lambda dtype: by_weights((64, 1, 28, 28), (64, 20, 28, 28), 5, dtype),
    "gradient by data": by_data,
    "beside others": beside,
    "square": lambda dtype: dot(4096, 4096, 4096, dtype),
    "long": lambda dtype: dot(64, 9216, 4096, dtype),
    "one row": lambda dtype: dot(1, 4096, 1000, dtype),
    "tiny": lambda dtype: dot(5, 7, 3, dtype),
}


def is_power(n: int) -> bool:
    return n & (n - 1) == 0 < n


def check_products(body: Graph, all_found: Iterable[Blocks], on: Device, precision: Precision) -> None:
    root = domain_of(body).root
    axes = contraction(root)
    batch, rows, columns, depth = (size_of(a) for a in (axes.batch, axes.rows, axes.columns, axes.reduced))
    size, words = root.inputs[0].type.nbytes // root.inputs[0].type.count, 2 if root.dtype == "f64" else 1
    for found in all_found:
        threads = found.warps * on.width
        assert all(map(is_power, (found.rows, found.columns, found.depth, found.warps)))
        assert min(found.rows, found.columns, found.depth) >= LEAST
        assert threads <= 1024
        assert (found.rows + found.columns) * found.depth * size * found.stages <= on.shared
        assert found.rows * found.columns * words <= min(SUMS * threads, on.registers)
        assert 1 <= found.split <= max(1, math.ceil(depth / found.depth)), "a part of K has no step"
        assert batch * -(-rows // found.rows) * -(-columns // found.columns) * found.split <= LARGEST_GRID
        assert found.precision == precision


@pytest.mark.parametrize("on", GPUS, ids=lambda on: on.name)
@pytest.mark.parametrize(("dtype", "precision"), NUMBERS)
def test_all_tiles_of_products(dtype: str, precision: Precision, on: Device) -> None:
    for make in PRODUCTS.values():
        body = Graph({"out0": make(dtype)})
        product = product_of(body, precision)
        found = candidates(product, on)
        check_products(body, (blocks for _, blocks in found), on, precision)
        assert len({blocks for _, blocks in found}) == len(found)
        times = [seconds for seconds, _ in found]
        assert times == sorted(times)
        assert times[0] > 0
        assert blocks_of(body, on.name, precision) == found[0][1]
        assert not product.run or product.run % product.vector == 0, "a load takes elements of two pixels"


def test_arrays_beside_a_product_leave_fewer_registers_for_it() -> None:
    for on in GPUS:
        alone, more = (
            max(blocks.rows * blocks.columns // blocks.warps for _, blocks in candidates(product_of(body, "ieee"), on))
            for body in (Graph({"out0": make("bf16")}) for make in (PRODUCTS["many channels"], beside))
        )
        assert more <= alone / 2


SPACES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((64, 64, 112, 112), (0, 2, 3)),
    ((64, 512, 7, 7), (0, 2, 3)),
    ((8, 4, 5, 5), (0, 2, 3)),
    ((32, 256, 56, 56), (2, 3)),
    ((4096, 8192), (1,)),
    ((64, 10), (1,)),
    ((64, 10), (0,)),
    ((10_000_000,), (0,)),
    ((1, 1), (1,)),
]


@pytest.mark.parametrize("on", GPUS, ids=lambda on: on.name)
@pytest.mark.parametrize("parts", [False, True])
def test_all_blocks_of_reductions(on: Device, parts: bool) -> None:
    for space, reduced in SPACES:
        for sums in (1, 2, 3, 8):
            for spread in (False, True):
                of = rows_of(space, reduced, 4 * math.prod(space), sums=sums, spread=spread)
                seconds, found = fastest(of, on, parts=parts)
                threads = found.warps * on.width
                assert 0 < seconds < math.inf
                assert all(map(is_power, (found.rows, found.depth, found.split, found.warps)))
                assert threads <= 1024
                assert found.rows * found.depth * sums <= SUMS * threads
                assert 1 <= found.split <= (math.ceil(of.length / found.depth) if parts else 1)
                assert -(-of.rows // found.rows) * found.split <= LARGEST_GRID


@pytest.mark.parametrize("on", GPUS, ids=lambda on: on.name)
@pytest.mark.parametrize("count", [1, 32_000, 1 << 20, 1 << 26])
def test_blocks_of_maps(count: int, on: Device) -> None:
    found = blocks_of(Graph({"out0": ops.exp(fed("in0", count))}), on.name, "ieee")
    assert is_power(found.columns)
    assert found.warps * on.width <= 1024
    assert found.columns <= SUMS * found.warps * on.width
    assert -(-count // found.columns) <= LARGEST_GRID


@pytest.mark.parametrize("name", [on.name for on in GPUS])
@pytest.mark.parametrize("net", ["lenet", "cifar10_full"])
def test_products_of_a_training_step(net: str, name: str) -> None:
    """What fusion makes of them; the precision is that of the request."""
    made = compilation(EXAMPLES / f"{net}.net", mode="train", target="triton", dims={"N": 64}, arch=name)
    kernels = [node for node in made.fused.graph.order if node.op is ops.kernel]
    products = [kernel for kernel in kernels if kernel.attrs["kind"] in ("dot", "conv")]
    assert len(products) > 3
    for kernel in products:
        check_products(kernel.attrs["body"], [kernel.attrs["schedule"]], DEVICES[name], "ieee")
