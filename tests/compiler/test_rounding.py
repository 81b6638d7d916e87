"""Rounding to 16 bits: bit for bit that of PyTorch, in the oracle and in generated modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.compiler.interpret import interpret
from netc.compiler.types import NUMPY_DTYPES, Literal, round_bf16
from support.numpy_program import run

Array = np.ndarray[Any, Any]


def numbers() -> Array:
    """Random bits; beside each number of 16 bits what is just below and above it and half way to the next; NaN."""
    random = np.random.default_rng(5).integers(0, 2**32, 200_000, np.uint64).astype(np.uint32)
    held = np.arange(2**16, dtype=np.uint32) << np.uint32(16)
    near = [held + np.uint32(offset) for offset in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)]
    # f16 keeps 10 of the 23 bits; below 2 ** -14 fewer.
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        between = [np.nextafter(halves, np.float32(s)) for s in (np.inf, -np.inf)] + [halves * np.float32(1 + 2**-11)]
    return np.concatenate([x.view(np.float32) for x in (random, *near, halves, *between)])


def by_oracle(x: Array, dtype: str) -> Array:
    node = ops.input_(name="x", shape=x.shape, dtype="f32")
    return interpret(Graph({"y": ops.cast(node, dtype=dtype)}), {"x": x}, wide=False)["y"]


def by_module(x: Array, dtype: str, *, fused: bool = True, threads: int = 2) -> Array:
    node = ops.input_(name="x", shape=x.shape, dtype="f32")
    return run(Graph({"y": ops.cast(node, dtype=dtype)}), {"x": x}, fused=fused, threads=threads)[0]["y"]


def bits(x: Array) -> Array:
    """The bits of f32, with one NaN for all."""
    wide = x.astype(np.float32)
    return np.where(np.isnan(wide), np.uint32(0x7FC00000), wide.view(np.uint32))


@pytest.mark.filterwarnings("ignore:.*encountered in cast")
@pytest.mark.parametrize("rounded", [by_oracle, by_module])
@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_bit_for_bit_as_torch(rounded: Callable[[Array, str], Array], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    x = numbers()
    wanted = torch.from_numpy(x).to(torch.bfloat16 if dtype == "bf16" else torch.float16).float().numpy()
    found = rounded(x, dtype)
    assert found.dtype == NUMPY_DTYPES[dtype]
    np.testing.assert_array_equal(bits(found), bits(wanted))
    assert (np.isnan(found) == np.isnan(x)).all()


def test_the_cases_that_are_known() -> None:
    large, least = 3.3895314e38, 2.0**-133
    found = round_bf16(np.array([1 + 2**-8, 1 + 3 * 2**-8, 3.4e38, -3.4e38, large, least * 0.5, least * 0.75, -0.0]))
    assert found.tolist() == [1.0, 1 + 2**-6, np.inf, -np.inf, np.float32(large), 0.0, least, 0.0]
    assert np.signbit(found[-1])
    assert np.isnan(round_bf16(np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32))).all()


@pytest.mark.parametrize("source", ["f64", "i32", "i64", "bool", "u8"])
def test_from_other_types_by_way_of_f32(source: str) -> None:
    torch = pytest.importorskip("torch")
    x = (np.random.default_rng(1).standard_normal((40, 50)) * 3e4).astype(NUMPY_DTYPES[source])
    node = ops.input_(name="x", shape=x.shape, dtype=source)
    graph = Graph({"y": ops.cast(node, dtype="bf16")})
    wanted = torch.from_numpy(x).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(interpret(graph, {"x": x}, wide=False)["y"], wanted)
    np.testing.assert_array_equal(run(graph, {"x": x})[0]["y"], wanted)


def test_constants_are_rounded_too() -> None:
    x = ops.input_(name="x", shape=(3,), dtype="bf16")
    number = ops.const(value=0.1, shape=(3,), dtype="bf16")
    array = ops.const(value=Literal.of(np.array([0.1, 0.2, 0.3]), "bf16"), shape=(3,), dtype="bf16")
    graph = Graph({"n": ops.maximum(x, number), "a": ops.maximum(x, array)})
    feeds = {"x": np.zeros(3, np.float32)}
    oracle, module = interpret(graph, feeds, wide=False), run(graph, feeds)[0]
    for found in (oracle, module):
        np.testing.assert_array_equal(found["n"], round_bf16(np.full(3, 0.1)))
        np.testing.assert_array_equal(found["a"], round_bf16(np.array([0.1, 0.2, 0.3])))


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize("fused", [True, False])
def test_products_of_16_bits_are_summed_in_f32(dtype: str, fused: bool) -> None:
    rng = np.random.default_rng(2)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3, 9, 9), (6, 3, 3, 3)))
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((7, 300), (300, 5)))
    nodes = {k: ops.input_(name=k, shape=v.shape, dtype="f32") for k, v in {"x": x, "w": w, "a": a, "b": b}.items()}
    low = {k: ops.cast(node, dtype=dtype) for k, node in nodes.items()}
    space: dict[str, Any] = {"stride": (2, 2), "pad": (1, 1), "dilation": (1, 1), "groups": 1, "dtype": "f32"}
    y = ops.conv(low["x"], low["w"], **space)
    g = ops.cast(y, dtype=dtype)
    outputs = {
        "dot": ops.dot(low["a"], low["b"], dtype="f32"),
        "conv": y,
        "data": ops.conv_data_grad(g, low["w"], size=(9, 9), **space),
        "weight": ops.conv_weight_grad(low["x"], g, kernel=(3, 3), **space),
    }
    graph = Graph(outputs)
    assert {node.dtype for node in outputs.values()} == {"f32"}
    feeds = {"x": x, "w": w, "a": a, "b": b}
    oracle, exact = interpret(graph, feeds, wide=False), interpret(graph, feeds)
    found = run(graph, feeds, fused=fused)[0]
    step = 2.0**-8 if dtype == "bf16" else 2.0**-11
    for name in outputs:
        np.testing.assert_allclose(found[name], oracle[name], rtol=1e-4, atol=1e-4 * float(np.abs(exact[name]).max()))
        far = np.abs(oracle[name] - exact[name]).max()
        assert 0 < far < 8 * step * np.abs(exact[name]).max()


def test_sums_are_made_in_a_wider_type_only() -> None:
    a = ops.input_(name="a", shape=(2, 2), dtype="f32")
    with pytest.raises(ops.TypeRuleError, match="no wider type"):
        ops.dot(a, a, dtype="f32")
    with pytest.raises(ops.TypeRuleError, match="no wider type"):
        ops.dot(a, a, dtype="i64")
