"""Every primitive through the targets that are loop nests, Triton in its interpreter and C, against the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.codegen.c import spelling as c
from netc.compiler.codegen.triton import spelling as triton
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import evaluate
from netc.compiler.types import FLOATS, NUMPY_DTYPES, TensorType
from support import c_program, triton_program
from support.op_samples import SAMPLES, Sample

GROUPS = {"kernel", "item", "host", "partial"}
OF_C = {"winograd_data", "winograd_weights", "winograd_product"}  # a stage of its lowering makes them


def cases(names: Iterable[str]) -> list[Any]:
    return [pytest.param(sample, id=f"{name}-{i}") for name in names for i, sample in enumerate(SAMPLES[name])]


SPECIAL = np.array([-np.inf, -2.5, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0, np.inf, np.nan])
WHOLE = ("i32", "i64", "u8", "u32")
Make = Callable[..., Node]


@pytest.fixture(params=["triton", pytest.param("c", marks=c_program.needs_compiler)])
def target(request: pytest.FixtureRequest) -> Any:
    """How a target runs a graph (`run`), and is compared with the oracle (`assert_like_oracle`)."""
    return {"triton": triton_program}.get(request.param, c_program)


def fed(name: str, dtype: str, *shape: int) -> Node:
    return ops.input_(name=name, shape=shape, dtype=dtype)


@pytest.mark.parametrize("table", [triton, c], ids=lambda table: table.__name__)
def test_each_pointwise_primitive_is_spelled(table: Any) -> None:
    missing = {name for name, op in ops.OPS.own.items() if op.family == "pointwise"} - set(table.SPELL)
    assert not missing, f"{table.__name__} does not spell {', '.join(sorted(missing))}"


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside"])
@pytest.mark.parametrize("sample", cases(name for name in SAMPLES if name not in GROUPS | OF_C))
def test_like_oracle(target: Any, sample: Sample, inside: bool) -> None:
    like_oracle(target, sample, inside=inside)


@c_program.needs_compiler
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside"])
@pytest.mark.parametrize("sample", cases(sorted(OF_C)))
def test_like_oracle_in_c(sample: Sample, inside: bool) -> None:
    like_oracle(c_program, sample, inside=inside)


def like_oracle(target: Any, sample: Sample, *, inside: bool) -> None:
    nodes = sample.nodes()
    if inside:
        nodes = [ops.add(x, x) if x.type.is_float else x for x in nodes]
    y = sample.call(*nodes)
    outputs: dict[str, Node] = {"y": y}
    if inside and isinstance(y.result, TensorType) and y.type.is_float:
        outputs["z"] = ops.mul(ops.neg(y), y)
    graph = Graph(outputs)
    feeds = sample.feeds()
    feeds |= {name: np.random.default_rng(1).random(node.shape, np.float32) for name, node in graph.params.items()}
    feeds = {name: feeds[name].astype(node.type.numpy_dtype) for name, node in {**graph.inputs, **graph.params}.items()}
    target.assert_like_oracle(graph, feeds=feeds, fused=inside)


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
def test_infinities_and_what_is_no_number(target: Any, dtype: str) -> None:
    """All pairs of special numbers, for every op that takes floating-point numbers."""
    a, b = fed("a", dtype, 10, 10), fed("b", dtype, 10, 10)
    outputs: dict[str, Node] = {}
    for op in (ops.add, ops.mul, ops.div, ops.pow_, ops.maximum, ops.minimum, ops.less, ops.equal):
        outputs[op.name] = op(a, b)
    for op in (ops.neg, ops.exp, ops.log, ops.sqrt, ops.tanh, ops.floor, ops.abs_):
        outputs[op.name] = op(a)
    outputs["where"] = ops.where(ops.less(a, b), a, b)
    for exponent in (-2.0, -0.75, 0.0, 0.5, 0.3, 1.0, 2.0, 3.0, 7.0):
        power = ops.const(value=exponent, shape=(10, 10), dtype=dtype)
        outputs[f"pow {exponent}"] = ops.pow_(ops.abs_(a) if exponent == -0.75 else a, power)
    for number in (0.0, np.inf, -np.inf, np.nan):
        bound = ops.const(value=number, shape=(10, 10), dtype=dtype)
        outputs[f"max {number}"] = ops.maximum(bound, a)
        outputs[f"chosen {number}"] = ops.where(ops.less(a, b), bound, a)
    outputs["truth"] = ops.cast(a, dtype="bool")
    feeds = {"a": np.repeat(SPECIAL, 10).reshape(10, 10), "b": np.tile(SPECIAL, 10).reshape(10, 10)}
    feeds = {name: value.astype(NUMPY_DTYPES[dtype]) for name, value in feeds.items()}
    # -inf has a square root to no other power: C says inf, and the text's square roots say NaN.
    feeds["a"][feeds["a"] == -np.inf] = -3.0
    target.assert_like_oracle(Graph(outputs), feeds=feeds)


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16", *WHOLE, "bool"])
def test_reductions_ignore_what_is_no_number(target: Any, dtype: str) -> None:
    x = fed("x", dtype, 7, 10)
    outputs = {"best": ops.max_reduce(x, axes=(1,)), "which": ops.argmax(x, axes=(1,))}
    rng = np.random.default_rng(0)
    if dtype in FLOATS:
        value = np.stack([rng.permutation(SPECIAL) for _ in range(7)])
        value[3] = np.nan
        value[4] = np.where(np.isnan(value[4]), -np.inf, np.nan)
        value[5] = -np.inf
    else:
        value = rng.integers(0, 2 if dtype == "bool" else 9, (7, 10))
        value[2] = 0
        outputs["total"] = ops.sum_(ops.cast(x, dtype="i32"), axes=(1,))
    target.assert_like_oracle(Graph(outputs), feeds={"x": value.astype(NUMPY_DTYPES[dtype])})


@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_numbers(target: Any, dtype: str) -> None:
    a, b = fed("a", dtype, 4, 9), fed("b", dtype, 4, 9)
    big = ops.const(value=int(np.iinfo(NUMPY_DTYPES[dtype]).max) - 3, shape=(4, 9), dtype=dtype)
    outputs = {op.name: op(a, b) for op in (ops.add, ops.mul, ops.maximum, ops.minimum, ops.less, ops.equal)}
    outputs["above"] = ops.less(big, ops.add(a, big))
    outputs["chosen"] = ops.where(ops.less(a, b), big, b)
    outputs["both"] = ops.where(ops.less(a, b), big, ops.const(value=1, shape=(4, 9), dtype=dtype))
    outputs["number"] = ops.iota(shape=(4, 9), axes=(0, 1), dtype=dtype)
    outputs["negated"] = ops.neg(a)
    target.assert_like_oracle(Graph(outputs))


def test_true_and_false(target: Any) -> None:
    a, b = fed("a", "bool", 4, 9), fed("b", "bool", 4, 9)
    outputs = {op.name: op(a, b) for op in (ops.add, ops.mul, ops.maximum, ops.minimum, ops.less, ops.equal)}
    yes, no = (ops.const(value=value, shape=(4, 9), dtype="bool") for value in (True, False))
    outputs |= {"and": ops.where(a, b, no), "or": ops.where(a, yes, b), "other": ops.where(a, no, b), "yes": yes}
    outputs["constants"] = ops.where(a, yes, no)
    target.assert_like_oracle(Graph(outputs))


def test_windows_that_see_padding_alone(target: Any) -> None:
    x, w = fed("x", "f32", 2, 1, 1, 1), fed("w", "f32", 1, 1, 1, 1)
    lies = {"stride": (3, 3), "pad": (1, 1), "dilation": (1, 1), "groups": 1}
    y = ops.conv(x, w, **lies)
    gradient = ops.conv_weight_grad(x, y, kernel=(1, 1), **lies)
    target.assert_like_oracle(Graph({"y": y, "dw": gradient}))


@pytest.mark.parametrize("source", ["f32", "f64", "f16", "bf16", *WHOLE, "bool"])
def test_casts(target: Any, source: str) -> None:
    """Between all types; what is rounded to half precision is rounded in registers too."""
    x = fed("x", source, 3, 11)
    outputs: dict[str, Node] = {}
    for dtype in NUMPY_DTYPES:
        y = ops.cast(x, dtype=dtype)
        outputs[dtype] = y
        if dtype in FLOATS:
            outputs[f"{dtype} and back"] = ops.mul(
                ops.cast(y, dtype="f64"), ops.iota(shape=(3, 11), axes=(1,), dtype="f64")
            )
        outputs[f"const {dtype}"] = ops.cast(ops.const(value=1, shape=(3, 11), dtype=source), dtype=dtype)
    graph = Graph(outputs)
    value = (np.random.default_rng(0).random((3, 11)) * (2 if source == "bool" else 120)).astype(NUMPY_DTYPES[source])
    wanted = evaluate(graph, {"x": value}, wide=False)[0]
    got, _ = target.run(graph, {"x": value})
    for name, expected in wanted.items():
        np.testing.assert_allclose(got[name], expected, rtol=0, atol=0, err_msg=name)


def test_random_bits_are_those_of_numpy(target: Any) -> None:
    """Streams of any shape, at any place in a block, from large seeds and steps; every bit counts."""
    seed, step = (ops.param(name=name, shape=(), dtype="i64") for name in ("seed", "step"))
    outputs: dict[str, Node] = {}
    for i, shape in enumerate([(3, 5), (1,), (2, 4, 16), ()]):
        outputs[f"bits {i}"] = ops.random(seed, step, shape=shape, stream=i + 7)
    mask = ops.random(seed, step, shape=(6, 4), stream=1)
    kept = ops.less(mask, ops.const(value=3_000_000_000, shape=(6, 4), dtype="u32"))
    outputs["kept"] = ops.where(ops.transpose(kept, perm=(1, 0)), fed("x", "f32", 4, 6), _zero((4, 6)))
    feeds: dict[str, Any] = {
        "seed": np.int64(-(2**61) - 12345),
        "step": np.int64(2**40 + 3),
        "x": np.ones((4, 6), np.float32),
    }
    for fused in (False, True):
        target.assert_like_oracle(Graph(outputs), feeds=feeds, fused=fused)


def _zero(shape: tuple[int, ...]) -> Node:
    return ops.const(value=0.0, shape=shape, dtype="f32")
