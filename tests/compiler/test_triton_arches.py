"""Every kind of kernel as machine code for every architecture, with nothing that costs time for no reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from netc.compiler.program import Program
from netc.compiler.types import TensorType
from netc.runtime.triton.compile.ahead import Binary, job_of
from netc.runtime.triton.compile.architectures import KNOWN
from netc.runtime.triton.compile.compiling import compile_jobs
from support.lowered import lower
from support.op_samples import SAMPLES
from support.triton_folders import kernel_cache, needs_triton

STRIDE = {"stride": (1, 1), "pad": (2, 2), "dilation": (1, 1), "groups": 1}
# Of the others a default run sees LeNet's kernels (tests/cli/test_compile_triton.py).
OFTEN = {("cuda:90", kind) for kind in ("map", "reduce", "window", "dot", "conv", "scatter", "copy", "random")}
OFTEN |= {("hip:gfx942", kind) for kind in ("reduce", "dot")}


def _input(name: str, *shape: int, dtype: str = "f32") -> Node:
    return ops.input_(name=name, shape=shape, dtype=dtype)


def _map() -> Node:
    x = _input("x", 32, 20, 24, 24)
    return ops.where(ops.less(x, ops.neg(x)), ops.mul(x, x), ops.exp(x))


def _reduce() -> Node:
    x = _input("x", 64, 1000)
    e = ops.exp(ops.add(x, ops.neg(ops.broadcast(ops.max_reduce(x, axes=(1,)), shape=(64, 1000)))))
    return ops.div(e, ops.broadcast(ops.sum_(e, axes=(1,)), shape=(64, 1000)))


def _window() -> Node:
    x = _input("x", 16, 20, 24, 24)
    return ops.max_reduce(ops.window(x, axes=(2, 3), sizes=(3, 3), strides=(2, 2), dilations=(1, 1)), axes=(4, 5))


def _dot() -> Node:
    return ops.maximum(
        ops.dot(_input("x", 64, 800), _input("w", 800, 500)), ops.const(value=0.0, shape=(64, 500), dtype="f32")
    )


def _conv() -> Node:
    return ops.conv(_input("x", 8, 32, 16, 16), _input("w", 64, 32, 5, 5), **STRIDE)


def _data_grad() -> Node:
    return ops.conv_data_grad(_input("g", 8, 64, 16, 16), _input("w", 64, 32, 5, 5), size=(16, 16), **STRIDE)


def _weight_grad() -> Node:
    return ops.conv_weight_grad(_input("x", 8, 32, 16, 16), _input("g", 8, 64, 16, 16), kernel=(5, 5), **STRIDE)


def _gather() -> Node:
    return ops.gather(_input("table", 1000, 64), _input("words", 32, 20, dtype="i32"))


def _scatter() -> Node:
    return ops.scatter_add(_input("words", 32, 20, dtype="i32"), _input("rows", 32, 20, 64), size=1000)


def _copy() -> Node:
    return ops.transpose(_input("x", 32, 20, 24, 24), perm=(0, 2, 3, 1))


def _random() -> Node:
    seed, step = _input("seed", dtype="i64"), _input("step", dtype="i64")
    return ops.random(seed, step, shape=(64, 500), stream=3)


KINDS: dict[str, Callable[[], Node]] = {
    "map": _map,
    "reduce": _reduce,
    "window": _window,
    "dot": _dot,
    "conv": _conv,
    "conv, gradient of data": _data_grad,
    "conv, gradient of weights": _weight_grad,
    "gather": _gather,
    "scatter": _scatter,
    "copy": _copy,
    "random": _random,
}


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_triton()
    monkeypatch.setenv("NETC_CACHE", str(kernel_cache()))


def binaries(program: Program, arch: str) -> dict[str, Binary]:
    jobs = {function.name: job_of(function, program.source, arch) for function in program.functions}
    made = compile_jobs(jobs.values())
    return {name: made[job] for name, job in jobs.items()}


def check(program: Program, arch: str) -> None:
    for name, made in binaries(program, arch).items():
        assert made.spills == 0, name
        assert made.shared <= KNOWN[arch].shared, name
        assert made.code[:4] == b"\x7fELF"


CASES = [
    pytest.param(arch, kind, marks=() if (arch, kind) in OFTEN else pytest.mark.slow)
    for arch in KNOWN
    for kind in KINDS
]


@pytest.mark.parametrize(("arch", "kind"), CASES)
def test_every_kind_compiles(arch: str, kind: str) -> None:
    program = lower(Graph({"y": KINDS[kind]()}), name="sample", target="triton", arch=arch, precision="tf32")
    check(program, arch)


NOT_OF_TRITON = {"kernel", "item", "host", "partial", "winograd_data", "winograd_weights", "winograd_product"}


@pytest.mark.slow
@pytest.mark.parametrize("arch", KNOWN)
@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in NOT_OF_TRITON])
def test_every_primitive_compiles(name: str, arch: str) -> None:
    for sample in SAMPLES[name]:
        y = sample.call(*sample.nodes())
        assert isinstance(y.result, TensorType)
        check(lower(Graph({"y": y}), name="sample", target="triton", arch=arch, fused=False), arch)
