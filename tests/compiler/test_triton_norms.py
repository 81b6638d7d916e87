"""Batch norms on a GPU: where channels are few and long, sums are taken in parts, and what waits for them follows.

On the device of these tests a launch costs nothing, so that this holds of small arrays too.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from netc.compiler.loops.deviations import deviations
from netc.compiler.loops.domain import domain_of
from netc.compiler.ops.rounding import Arithmetic
from netc.driver import Compilation
from netc.numbers import Precision
from netc.passes.lowering.machines import DEVICES
from netc.runtime.triton.compile.ahead import job_of
from netc.runtime.triton.compile.compiling import compile_jobs
from netc.runtime.triton.compile.options import SPARE
from support.lone_kernels import Ran, run_each
from support.lowered import kernels_of, scheduled
from support.triton_folders import kernel_cache, needs_triton
from support.triton_nets import GPU, check_step, made, run_all

NET = """
net normed(classes = 4) {
    input image: f32[N, 3, 16, 16]
    input label: i32[N]
    x = image |> conv(16, 3, pad: 1, weight: msra, bias: none) as conv1 |> batch_norm as bn1 |> relu
    x = x |> max_pool(3, stride: 1, pad: 1)
    y = x |> conv(16, 3, pad: 1, weight: msra, bias: none) as conv2 |> batch_norm as bn2
    z = x |> conv(16, 1, weight: msra, bias: none) as conv3 |> batch_norm as bn3
    logits = relu(y + z) |> avg_pool(global: true) |> linear(classes) as fc
    loss nll = softmax_loss(logits, label)
}
data noise = synthetic(shape: [3, 16, 16], classes: 4, records: 16, batch: 4)
train normed {
    from: noise
    solver: sgd(lr: 0.1, momentum: 0.9)
    steps: 1
}
"""
NORMS = ("bn1", "bn2", "bn3")
BATCH = 4


@pytest.fixture(autouse=True)
def _free_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_triton()
    monkeypatch.setitem(DEVICES, GPU, replace(DEVICES[GPU], launch=0.0))
    monkeypatch.setenv("NETC_CACHE", str(kernel_cache()))


@pytest.fixture
def net(tmp_path: Path) -> Path:
    file = tmp_path / "normed.net"
    file.write_text(NET, encoding="utf-8")
    return file


def norms_of(kernel: Node) -> set[str]:
    """The batch norms of which a kernel reduces or writes whole arrays, or adds what was summed in parts."""
    body: Graph = kernel.attrs["body"]
    if len(domain_of(body).space) != 4 and kernel.attrs["kind"] != "finish":
        return set()
    computed = [node for node in body.order if node.op.family not in ("source", "movement")]
    return {origin.scope for node in computed for origin in body.origins(node) if origin.scope in NORMS}


def is_sum(kernel: Node) -> bool:
    return any(node.op is ops.sum_ for node in kernel.attrs["body"].order)


def kernels(program: Compilation) -> list[Node]:
    """Those before sums are split."""
    return [node for node in scheduled(program).graph.order if node.op is ops.kernel and norms_of(node)]


def test_each_way_through_the_elements_is_a_kernel(net: Path) -> None:
    """Of a norm with its gradient: mean and variance; the rest; both sums of the gradient; what waits for these."""
    program = made(net, "train", BATCH, arch=GPU)
    sums = [kernel for kernel in kernels(program) if is_sum(kernel)]
    maps = [kernel for kernel in kernels(program) if kernel.attrs["kind"] == "map"]
    assert [kernel.attrs["kind"] for kernel in sums] == ["reduce"] * len(sums)
    assert {kernel.attrs["schedule"].split > 1 for kernel in sums} == {True}
    # The sums of the gradients of bn2 and bn3, which are the same array, are in one kernel; so are those arrays.
    assert [sum(name in norms_of(kernel) for kernel in sums) for name in NORMS] == [2, 2, 2]
    assert len(sums) == 3 + 2
    assert len(maps) == 2 + 2
    for kernel in sums:
        domain = domain_of(kernel.attrs["body"])
        assert not {"conv", "conv_data_grad"} & {node.op.name for node in domain.granularity}
    waits = [d.reason for d in program.fused.ledger if not d.fused and "summed in parts" in d.reason]
    assert any("16 rows of 1024 elements" in reason for reason in waits)


def test_it_is_one_kernel_on_a_device_that_stays_busy(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICES, GPU, replace(DEVICES[GPU], units=1, launch=1e-3))
    found = kernels(made(net, "train", BATCH, arch=GPU))
    assert all(kernel.attrs["schedule"].split == 1 for kernel in found)
    assert len([kernel for kernel in found if is_sum(kernel)]) == 2 + 2


def run_norms(net: Path, precision: Precision) -> list[Ran]:
    return run_all(made(net, "train", BATCH, arch=GPU, precision=precision), lambda kernel: bool(norms_of(kernel)))


@pytest.mark.parametrize("precision", ["f32", pytest.param("bf16", marks=pytest.mark.slow)])
def test_kernels_of_norms(net: Path, precision: Precision) -> None:
    ran = run_norms(net, precision)
    kinds = [one.kernel.attrs["kind"] for one in ran]
    assert kinds.count("finish") == 3, "each kind of sums is added up by another kernel"


SPREAD = """
net spread {
    input image: f32[N, 8]
    param w: f32[8192] = gaussian(std: 0.1)
    t = tanh(w)
    away = t - mean(t)
    metric variance = mean(away * away)
    loss size = mean(t) + mean(image)
}
data noise = synthetic(shape: [8], records: 16, batch: 4)
train spread { from: noise
    solver: sgd(lr: 0.1)
    steps: 1
}
"""


def test_a_parameter_is_written_over_where_its_variance_is_summed_in_parts(tmp_path: Path) -> None:
    """What is written in that kernel waits for no second way through the elements, since there is none."""
    file = tmp_path / "spread.net"
    file.write_text(SPREAD, encoding="utf-8")
    program = made(file, "train", BATCH, arch=GPU)
    check_step(program)
    (update,) = [launch for launch in program.program.launches if launch.arguments.count(".parameters") > 1]
    assert update.grid[1] > 1, "rows are cut"


PARTS = [
    ((4, 16, 16, 16), (0, 2, 3), "f32"),  # parts of one length
    ((5, 20, 13, 17), (0, 2, 3), "f32"),  # the last part and the last turn have fewer elements, the last program rows
    ((8, 9000), (1,), "f32"),  # rows that lie in one piece
    ((9001,), (0,), "f32"),  # one row
    ((5, 20, 13, 17), (0, 2, 3), "f64"),
]


@pytest.mark.parametrize("mean", [0.0, 1000.0])
@pytest.mark.parametrize(("shape", "axes", "dtype"), PARTS)
def test_a_variance_is_found_with_its_mean(
    shape: tuple[int, ...], axes: tuple[int, ...], dtype: str, mean: float
) -> None:
    """In one way through the rows, and a mean far from 0 costs no digits, as a difference of two sums would."""
    x = ops.input_(name="x", shape=shape, dtype=dtype)
    row = tuple(1 if axis in axes else n for axis, n in enumerate(shape))
    share = ops.const(value=math.prod(row) / math.prod(shape), shape=row, dtype=dtype)
    middle = ops.mul(ops.sum_(x, axes=axes), share)
    away = ops.add(x, ops.broadcast(ops.neg(middle), shape=shape))
    graph = Graph({"mean": middle, "variance": ops.mul(ops.sum_(ops.mul(away, away), axes=axes), share)})
    fused = kernels_of(graph, "triton", arch=GPU)
    rng = np.random.default_rng(0)
    # Rows drift, so that parts have means of their own.
    drift = np.linspace(0, 3, math.prod(shape)).reshape(shape)
    feeds = {"x": (mean + rng.normal(size=shape) + drift).astype(x.type.numpy_dtype)}
    parts, whole = run_each(fused, feeds, Arithmetic())
    assert parts.kernel.attrs["schedule"].split > 1
    assert [node.attrs["of"] for node in parts.kernel.attrs["body"].outputs.values()] == ["sum", "deviations"]
    assert whole.kernel.attrs["kind"] == "finish"
    assert parts.ok, str(parts)
    assert whole.ok, str(whole)


def test_other_squares_wait_for_what_they_deviate_from() -> None:
    """From the mean of another array, by another number, or of another axis."""
    x, y = (ops.input_(name=name, shape=(4, 16, 16, 16), dtype="f32") for name in "xy")

    def squares(of: Node, mean_of: Node, count: int) -> Graph:
        share = ops.const(value=-1 / count, shape=(1, 16, 1, 1), dtype="f32")
        mean = ops.mul(ops.sum_(mean_of, axes=(0, 2, 3)), share)
        away = ops.add(of, ops.broadcast(mean, shape=of.shape))
        return Graph({"squares": ops.sum_(ops.mul(away, away), axes=(0, 2, 3))})

    for graph, together in ((squares(x, x, 1024), 1), (squares(x, y, 1024), 2), (squares(x, x, 1023), 2)):
        fused = kernels_of(graph, "triton", arch=GPU)
        assert sum(node.op is ops.kernel for node in fused.graph.order) == together
        assert len(deviations(graph.order)) == 2 - together


@pytest.mark.slow
def test_a_step_with_running_averages(net: Path) -> None:
    program = made(net, "train", BATCH, arch=GPU)
    assert {f"{name}.{kind}" for name in NORMS for kind in ("mean", "variance", "factor")} <= {
        info.name for info in program.state
    }
    check_step(program)


@pytest.mark.parametrize("arch", ["cuda:90", pytest.param("hip:gfx942", marks=pytest.mark.slow)])
def test_registers(net: Path, arch: str) -> None:
    program = made(net, "train", 64, arch=arch)
    wanted = {kernel.attrs["schedule"].key for kernel in kernels(program)}
    names = {launch.function for launch in program.program.launches if launch.kernel in wanted}
    chosen = [f for f in program.program.functions if f.name in names and f.kind in ("reduce", "map", "finish")]
    jobs = {f.name: job_of(f, program.program.source, arch) for f in chosen}
    found = compile_jobs(jobs.values())
    used = {name: found[job].resources for name, job in jobs.items()}
    assert len(used) >= 10
    assert not {name: one for name, one in used.items() if one.spills or one.registers > SPARE}
