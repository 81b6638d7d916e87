"""A small net for GPUs, written by hand: three kernels, and a training step of it.

It stands for what code generation writes, so that what comes after it is tested by itself. `tests/c/fake_cuda.c`
computes its kernels.
"""

from __future__ import annotations

from dataclasses import replace

from netc.compiler.program import Argument, Buffer, Function, Launch, Program, StateInfo, TensorType

SOURCE = '''"""tiny: written by hand."""

import triton
import triton.language as tl


@triton.jit
def scaled(x, factor):
    return x * factor


@triton.jit
def double(weight, doubled, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(doubled + i, scaled(tl.load(weight + i, mask=i < 640), 2.0), mask=i < 640)


@triton.jit
def center(image, hidden, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(hidden + i, tl.load(image + i, mask=i < 256) - 0.5, mask=i < 256)


@triton.jit
def score(hidden, weight, bias, scores, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr):
    m = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    n = tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, 64, DEPTH):
        k = first + tl.arange(0, DEPTH)
        a = tl.load(hidden + m[:, None] * 64 + k[None, :], mask=(m < 4)[:, None], other=0.0)
        b = tl.load(weight + n[None, :] * 64 + k[:, None], mask=(n < 10)[None, :], other=0.0)
        total = tl.dot(a, b, total, input_precision="ieee")
    total += tl.load(bias + n, mask=n < 10, other=0.0)[None, :]
    tl.store(scores + m[:, None] * 10 + n[None, :], total, mask=(m < 4)[:, None] & (n < 10)[None, :])


@triton.jit
def softmax(scores, prob, COLUMNS: tl.constexpr):
    n = tl.arange(0, COLUMNS)
    x = tl.load(scores + tl.program_id(0) * 10 + n, mask=n < 10, other=float("-inf"))
    e = tl.exp(x - tl.max(x, 0))
    tl.store(prob + tl.program_id(0) * 10 + n, e / tl.sum(e, 0), mask=n < 10)


@triton.jit
def update(parameters, rate, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(parameters + i, mask=i < 650)
    tl.store(parameters + i, x - tl.load(rate) * x, mask=i < 650)


@triton.jit
def count(step):
    tl.store(step, tl.load(step) + 1)
'''


def function(kind: str, name: str, read: str, write: str, *, dtype: str = "f32", **constants: int) -> Function:
    arguments = [Argument(one, dtype) for one in read.split()]
    arguments += [Argument(one, dtype, written=True) for one in write.split()]
    return Function(name, kind, SOURCE, f"key-{name}", tuple(arguments), tuple(constants.items()), warps=4, stages=3)


def launch(name: str, *arguments: str, grid: tuple[int, ...]) -> Launch:
    return Launch(name, arguments, (name,), (f"tiny.net:{len(name)}",), 100, 200, "step", grid)


FUNCTIONS = (
    function("map", "double", "weight", "doubled", BLOCK=512),
    function("map", "center", "image", "hidden", BLOCK=128),
    function("dot", "score", "hidden weight bias", "scores", ROWS=16, COLUMNS=16, DEPTH=32),
    function("reduce", "softmax", "scores", "prob", COLUMNS=16),
)
BUFFERS = (
    Buffer("image", TensorType((4, 1, 8, 8)), "input"),
    Buffer("score.weight", TensorType((10, 64)), "state", 0, base=".parameters"),
    Buffer("score.bias", TensorType((10,)), "state", 2560, base=".parameters"),
    Buffer("doubled", TensorType((10, 64)), "arena", 0),
    Buffer("hidden", TensorType((4, 64)), "arena", 2560),
    Buffer("scores", TensorType((4, 10)), "arena", 3584),
    Buffer("prob", TensorType((4, 10)), "arena", 3776),
)
STATE = (
    StateInfo("score.weight", TensorType((10, 64)), buffer=".parameters", offset=0, layer="score"),
    StateInfo("score.bias", TensorType((10,)), buffer=".parameters", offset=640, layer="score"),
)
TINY = Program(
    name="tiny",
    mode="test",
    target="triton",
    dims={"N": 4},
    inputs={"image": TensorType((4, 1, 8, 8))},
    outputs={"prob": TensorType((4, 10))},
    state={".parameters": TensorType((650,))},
    updates=(),
    functions=FUNCTIONS,
    launches=(
        replace(launch("double", "score.weight", "doubled", grid=(2,)), phase="prepare"),
        launch("center", "image", "hidden", grid=(2,)),
        launch("score", "hidden", "doubled", "score.bias", "scores", grid=(1, 1)),
        launch("softmax", "scores", "prob", grid=(4,)),
    ),
    buffers=BUFFERS,
    arena_bytes=3968,
    source=SOURCE,
)
TRAINING_STATE = (*STATE, StateInfo(".step", TensorType((), "i64"), "counter"))
TRAINING = replace(
    TINY,
    mode="train",
    inputs={**TINY.inputs, ".rate": TensorType(())},
    state={**TINY.state, ".step": TensorType((), "i64")},
    updates=(".parameters", ".step"),
    functions=(
        *FUNCTIONS[1:],
        function("map", "update", "parameters rate", "", BLOCK=1024),
        function("map", "count", "step", "", dtype="i64"),
    ),
    launches=(
        launch("center", "image", "hidden", grid=(2,)),
        launch("score", "hidden", "score.weight", "score.bias", "scores", grid=(1, 1)),
        launch("softmax", "scores", "prob", grid=(4,)),
        launch("update", ".parameters", ".rate", grid=(1,)),
        launch("count", ".step", grid=(1,)),
    ),
    buffers=(
        *BUFFERS,
        Buffer(".rate", TensorType(()), "input"),
        Buffer(".parameters", TensorType((650,)), "state"),
        Buffer(".step", TensorType((), "i64"), "state"),
    ),
)
