"""The cost model of products on a GPU: what a tile reads from where, what fits, and into how many parts K is cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from netc.compiler.kernel import Blocks
from netc.passes.lowering.cost.products import Product, candidates, product_of
from netc.passes.lowering.machines import device

H100 = device("cuda:90")
CONV: dict[str, Any] = {"stride": (1, 1), "pad": (1, 1), "dilation": (1, 1), "groups": 1}


def value(name: str, *shape: int, dtype: str = "bf16") -> Node:
    return ops.input_(name=name, shape=shape, dtype=dtype)


def of(node: Node, *others: Node) -> Product:
    body = Graph({f"out{i}": n for i, n in enumerate((node, *others))})
    return product_of(body, "ieee")


def best(product: Product) -> Blocks:
    return candidates(product, H100)[0][1]


def sums(found: Blocks) -> int:
    """Of a thread."""
    return found.rows * found.columns // (found.warps * H100.width)


def wide() -> Node:
    """CaffeNet's third convolution."""
    return ops.conv(value("x", 256, 256, 13, 13), value("w", 384, 256, 3, 3), **CONV)


def test_taps_find_elements_in_the_nearest_cache() -> None:
    found = of(wide())
    assert found.taps == 9
    assert found.read(128, 64) == 128 / 4 + 64
    pointwise = ops.conv(value("x", 256, 256, 13, 13), value("w", 384, 256, 1, 1), **{**CONV, "pad": (0, 0)})
    assert of(pointwise).read(128, 64) == 128 + 64
    strided = ops.conv(value("x", 4, 8, 9, 9), value("w", 8, 8, 3, 3), **{**CONV, "stride": (2, 2)})
    assert of(strided).taps == pytest.approx(9 / 4)


def test_a_gradient_by_weights_finds_the_taps_of_its_tile() -> None:
    y = value("g", 256, 384, 13, 13)
    many = of(ops.conv_weight_grad(value("x", 256, 256, 13, 13), y, kernel=(3, 3), **CONV))
    assert many.read(128, 256) == 128 + 256
    few = of(ops.conv_weight_grad(value("x", 256, 64, 13, 13), y, kernel=(3, 3), **CONV))
    assert few.read(128, 128) == 128 + 128 / 2


def test_large_tiles_where_registers_hold_them() -> None:
    assert sums(best(of(wide()))) == H100.convolution_sums
    y = wide()
    arrays = [value(f"in{i}", *map(int, y.shape)) for i in range(2)]
    beside = of(ops.mul(ops.add(y, arrays[0]), arrays[1]))
    assert beside.beside == 2
    assert all(sums(blocks) <= H100.convolution_sums // 2 for _, blocks in candidates(beside, H100))


@pytest.mark.parametrize(("channels", "vector"), [(3, 1), (4, 4), (12, 4), (48, 8)])
def test_elements_that_one_load_takes(channels: int, vector: int) -> None:
    found = of(ops.conv(value("x", 64, channels, 32, 32), value("w", 32, channels, 5, 5), **CONV))
    assert found.vector == vector


def test_loads_one_by_one_take_time() -> None:
    """Three channels are slower than four, although there is less to multiply."""
    three, four = (
        candidates(of(ops.conv(value("x", 256, c, 55, 55), value("w", 96, c, 11, 11), **CONV)), H100)[0][0]
        for c in (3, 4)
    )
    assert three > four


def test_parts_fill_the_units() -> None:
    """27 tiles on 132 units: 4 parts leave 24 of them idle, and no power of two does better."""
    product = of(
        ops.conv_weight_grad(value("x", 256, 256, 13, 13), value("g", 256, 384, 13, 13), kernel=(3, 3), **CONV)
    )
    tried = {blocks.split for _, blocks in candidates(product, H100) if (blocks.rows, blocks.columns) == (128, 256)}
    assert {4, 9} <= tried
    assert all(1 <= split <= 64 for split in tried)


def test_small_tiles_use_the_older_matrix_instructions() -> None:
    """On a device whose four warps share an instruction of 64 rows."""
    product = of(ops.dot(value("a", 4096, 4096), value("b", 4096, 4096)))

    def seconds(groups: bool) -> float:
        found = candidates(product, replace(H100, groups=groups))
        return min(s for s, blocks in found if blocks.rows == 32)

    assert seconds(True) > seconds(False)
    assert best(product).rows >= 64
