"""The text for Triton: expected functions for a few kernels of each kind, and what holds for all modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from netc.compiler import expr, ops
from netc.compiler.codegen import emit
from netc.compiler.codegen.target import TARGETS
from netc.compiler.graph import Graph, at
from netc.compiler.kernel import Blocks
from netc.compiler.net import OBJECTIVE
from netc.compiler.program import Program
from netc.compiler.types import SIZES
from netc.passes.rules.simplify import simplify
from netc.passes.training.gradient import gradient
from support.lowered import lower
from support.standalone import Standalone, layer, softmax, tensor
from support.triton_program import in_blocks, program_of

GOLDEN = Path(__file__).parent / "golden" / "triton"


def softmax_loss() -> Program:
    x, label = tensor("x", 64, 10), tensor("label", 64, dtype="i32")
    context = Standalone()
    loss = context.call("softmax_loss", x, label)
    return program(simplify(gradient(["x"])(context.graph({OBJECTIVE: loss}))))


def long_softmax() -> Program:
    with in_blocks(Blocks(rows=1, depth=1024)):
        return program(softmax(64, 5000))


def bias_gradient() -> Program:
    """Few long rows: each is summed in parts, while its elements are written."""
    y, g = tensor("y", 64, 32, 28, 28), tensor("g", 64, 32, 28, 28)
    masked = expr.where(y > 0.0, g, 0.0)
    with in_blocks(Blocks(rows=32, depth=64, split=8)):
        return program(Graph({"masked": masked, "bias": expr.sum(masked, (0, 2, 3))}))


def batch_norm() -> Program:
    return program(layer("batch_norm", 32, 16, 8, 8))


def max_pool() -> Program:
    return program(layer("max_pool", 64, 32, 28, 28, kernel=3, stride=2))


def response_norm() -> Program:
    return program(layer("lrn", 64, 96, 27, 27, size=5, alpha=0.0001))


def dropout() -> Program:
    context, x = Standalone(), tensor("x", 64, 4096)
    return program(simplify(context.graph({"y": context.call("dropout", x, ratio=0.5)})))


def momentum() -> Program:
    w, h = (ops.param(name=name, shape=(400_000,), dtype="f32") for name in ("w", "h"))
    following = h * 0.9 + (tensor("g", 400_000) + w * 0.0005) * 0.01
    return program(Graph({}, {"h": following, "w": w - following}))


def embedding() -> Program:
    index = tensor("index", 64, 20, dtype="i32")
    rows = ops.gather(ops.param(name="table", shape=(1000, 50), dtype="f32"), index)
    return program(Graph({"rows": rows, "back": ops.scatter_add(index, tensor("g", 64, 20, 50), size=1000)}))


def half_precision() -> Program:
    x, y = tensor("x", 64, 512, dtype="bf16"), tensor("y", 64, 512, dtype="bf16")
    return program(Graph({"gate": ops.mul(ops.tanh(x), ops.maximum(y, ops.neg(x)))}))


MAKERS = [
    softmax_loss, long_softmax, bias_gradient, batch_norm, max_pool, response_norm, dropout, momentum, embedding,
    half_precision,
]  # fmt: skip


def program(graph: Graph) -> Program:
    return lower(graph, name="test", target="triton", arch="cuda:90")


@pytest.mark.parametrize("make", MAKERS, ids=lambda f: f.__name__)
def test_functions(make: Callable[[], Program], golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / f"{make.__name__}.txt", make().source)


@pytest.mark.parametrize("make", MAKERS, ids=lambda f: f.__name__)
def test_modules_are_sound(make: Callable[[], Program]) -> None:
    """No parameter and no name is there for nothing; blocks are powers of two; all that is launched is there."""
    made = make()
    tree = ast.parse(made.source)
    assert {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names} == {
        "triton",
        "triton.language",
    }
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    for function in functions.values():
        parameters = [a.arg for a in function.args.args]
        read = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        written = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        assert set(parameters) | written == read & (set(parameters) | written), function.name
    buffers = {buffer.name: buffer for buffer in made.buffers}
    for one in made.functions:
        assert [a.name for a in one.arguments] + [key for key, _ in one.constants] == [
            a.arg for a in functions[one.name].args.args
        ]
        assert all(size & (size - 1) == 0 for _, size in one.constants)
        assert one.source in made.source
    kernels = {one.name: one for one in made.functions}
    for launch in made.launches:
        for argument, name in zip(kernels[launch.function].arguments, launch.arguments, strict=True):
            assert argument.dtype == (buffers[name].stored or buffers[name].type.dtype)
    for buffer in made.buffers:
        size = SIZES[buffer.stored or buffer.type.dtype] * buffer.type.count
        assert buffer.space != "arena" or (buffer.offset % 64 == 0 and buffer.offset + size <= made.arena_bytes)


def test_functions_are_named_after_layers_with_their_places() -> None:
    with at(None, "pool1"):
        seen = ops.window(tensor("x", 8, 16, 6, 6), axes=(2, 3), sizes=(2, 2), strides=(2, 2), dilations=(1, 1))
        z = ops.max_reduce(seen, axes=(4, 5))
    with at(None, "act 1"):
        made = program(Graph({"y": ops.exp(z)}))
    assert [one.name for one in made.functions] == ["pool1_act_1_window"]
    assert "# pool1, act 1\n" in made.source


def test_equal_layers_share_a_function() -> None:
    outputs = {}
    for i in range(8):
        with at(None, f"layer{i}"):
            outputs[f"y{i}"] = ops.sum_(ops.exp(tensor(f"x{i}", 4, 32)), axes=(1,))
    made = lower(Graph(outputs), name="test", target="triton", arch="cuda:90", nofuse=[f"layer{i}" for i in range(8)])
    assert len(made.functions) == 1
    assert len(made.launches) == 8
    assert "# and 2 more" in made.source


def test_large_buffers_are_counted_in_64_bits() -> None:
    x = tensor("x", 1 << 16, 1 << 15)
    near = program(Graph({"y": ops.exp(tensor("x", 1 << 8, 1 << 15))}))
    far = program(Graph({"y": ops.exp(x), "sum": ops.sum_(x, axes=(1,))}))
    assert "tl.int64" not in near.source
    assert all("tl.program_id(0).to(tl.int64)" in one.source for one in far.functions if one.kind != "finish")


def test_a_comment_holds_no_code() -> None:
    with at(None, "a\nimport os"):
        made = program(Graph({"y": ops.exp(tensor("x", 4))}))
    assert not re.search("^import os", made.source, re.MULTILINE)
    ast.parse(made.source)


def test_names_of_outputs_inputs_and_state_may_be_the_same() -> None:
    """Each keeps its own memory; an output has a buffer of its name."""
    x, w = tensor("same", 4), ops.param(name="same", shape=(4,), dtype="f32")
    made = program_of(Graph({"same": ops.add(x, w), "also": ops.mul(x, w)}))
    buffers = {buffer.name: buffer for buffer in made.buffers}
    assert buffers["same"].space == "arena"
    assert {buffer.space for buffer in made.buffers if buffer.base == "same"} == {"input", "state"}
    assert "also" in buffers


def test_an_unknown_target_is_refused() -> None:
    assert set(TARGETS) >= {"numpy", "triton"}
    with pytest.raises(ValueError, match="no target d: there are numpy, c, triton"):
        emit(Graph({}), None, name="x", target="d")  # type: ignore[arg-type]
