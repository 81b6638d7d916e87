"""Fusion for GPUs: which nodes become one kernel, how few launches a training step takes, and what the ledger says."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node, at
from netc.compiler.text import print_graph
from netc.driver import compilation
from netc.passes.rules.simplify import simplify
from netc.passes.training.gradient import erase_surrogate, gradient
from netc.passes.unit import Unit
from support import graph_cases
from support.lowered import scheduled
from support.short_nodes import fed
from support.triton_program import nests

FOLDER = Path(__file__).parent / "golden"
EXAMPLES = Path(__file__).parents[2] / "examples"


def kernels(fused: Unit) -> list[Node]:
    return [n for n in fused.graph.order if n.op is ops.kernel]


def ops_of(kernel: Node) -> set[str]:
    return {n.op.name for n in kernel.attrs["body"].order}


def layers_of(kernel: Node) -> set[str]:
    body: Graph = kernel.attrs["body"]
    work = [n for n in body.order if n.op.family not in ("source", "movement")]
    return {origin.scope for n in work for origin in body.origins(n)}


@cache
def step(name: str, batch: int) -> Unit:
    file = EXAMPLES / f"{name}.net"
    return scheduled(compilation(file, mode="train", target="triton", dims={"N": batch}, arch="cuda:90"))


def shown(graph: Graph) -> str:
    """A graph of kernels without its schedules, which have tests of their own."""
    return re.sub(r", schedule=Blocks\([^)]*\)", "", print_graph(graph, comments=False))


def differentiated(**outputs: Node) -> Graph:
    """Outputs and the gradients of all parameters and of x, as a training step has them before the update."""
    graph = Graph(outputs)
    wanted = [*graph.params, *(name for name in graph.inputs if name == "x")]
    return simplify(erase_surrogate(gradient(wanted)(Graph({**outputs, ".objective": next(iter(outputs.values()))}))))


def test_launches_of_lenet() -> None:
    found = kernels(step("lenet", 64))
    assert len(found) <= 20
    assert sum("nll.softmax_loss" in layers_of(k) for k in found) == 1
    assert sum(n.op is ops.conv for k in found for n in k.attrs["body"].order) == 2


MOST = {"cifar10_full": 26, "caffenet": 44, "resnet18": 160, "googlenet": 290, "autoencoder": 36}


@pytest.mark.parametrize("name", MOST)
def test_launches_of_a_training_step(name: str) -> None:
    assert len(kernels(step(name, 32))) <= MOST[name]


@pytest.mark.parametrize("name", ["lenet", "cifar10_full", "caffenet", "googlenet", "user_op"])
def test_all_parameters_are_updated_by_one_launch(name: str) -> None:
    fused = step(name, 32)
    graph = fused.graph
    flat = [v for k, v in graph.updates.items() if k in (".parameters", ".history0", ".history1")]
    assert len({v.inputs[0] for v in flat}) == 1
    (kernel,) = {v.inputs[0] for v in flat}
    assert kernel.attrs["kind"] == "map"
    assert all(v.type == graph.params[".parameters"].type for v in flat)


def test_the_training_step_of_lenet(golden: graph_cases.Golden) -> None:
    golden(FOLDER / "blocks_lenet.txt", shown(step("lenet", 64).graph))


def batch_norm(x: Node) -> Node:
    centred = x - expr.mean(x, (0, 2, 3), keepdims=True)
    variance = expr.mean(centred * centred, (0, 2, 3), keepdims=True)
    scale, shift = (ops.param(name=name, shape=(1, x.shape[1], 1, 1), dtype="f32") for name in ("scale", "shift"))
    return centred / ops.sqrt(variance + 1e-5) * scale + shift


def pooling(x: Node) -> Node:
    padded = ops.pad(x, low=(0, 0, 0, 0), high=(0, 0, 1, 1), interior=(0,) * 4, value=-float("inf"))
    seen = ops.window(padded, axes=(2, 3), sizes=(3, 3), strides=(2, 2), dilations=(1, 1))
    return expr.max(seen, (4, 5))


def weighted(y: Node) -> Graph:
    """The value of a layer, and the gradients for some gradient of its result."""
    graph = differentiated(loss=expr.sum(y * fed("weight", *y.shape)), y=y)
    return graph.with_roots({k: v for k, v in graph.outputs.items() if k not in ("loss", ".objective")})


GROUPS = {"softmax_loss": 1, "batch_norm": 2, "response_norm": 2, "pooling": 2}


@pytest.mark.parametrize("name", GROUPS)
def test_groups_forward_and_backward(name: str, golden: graph_cases.Golden) -> None:
    graph_cases.check(f"blocks_{name}", golden, target="triton")
    (case,) = graph_cases.cases(f"blocks_{name}").values()
    assert len(kernels(nests(case.graph))) <= GROUPS[name]


def test_what_follows_a_product_is_its_epilogue() -> None:
    x, w, b, r = fed("x", 64, 32), fed("w", 16, 32), fed("b", 1, 16), fed("r", 64, 4, 4)
    y = expr.maximum(ops.dot(x, ops.transpose(w, perm=(1, 0))) + b, 0.0) * 0.5
    y = ops.cast(expr.reshape(y, (64, 4, 4)) + r, dtype="f16")
    (kernel,) = kernels(nests(Graph({"y": y})))
    assert kernel.attrs["kind"] == "dot"


def test_what_a_product_reads_is_stored() -> None:
    x, w = fed("x", 64, 32), fed("w", 32, 16)
    fused = nests(Graph({"y": ops.dot(ops.tanh(x), w)}))
    assert [k.attrs["kind"] for k in kernels(fused)] == ["map", "dot"]
    (apart,) = [d for d in fused.ledger if not d.fused]
    assert "dot" in apart.reason
    assert apart.bytes_saved == 0


def test_two_products_stay_apart() -> None:
    x, a, b = fed("x", 64, 64), fed("a", 64, 64), fed("b", 64, 64)
    fused = nests(Graph({"y": ops.dot(x, a) + ops.dot(x, b)}))
    assert sorted(k.attrs["kind"] for k in kernels(fused)) == ["dot", "dot"]
    assert any("at most one" in d.reason for d in fused.ledger if not d.fused)


def test_random_numbers_are_drawn_outside_of_products() -> None:
    seed, count = (ops.param(name=name, shape=(), dtype="i64") for name in ("seed", "count"))
    y = ops.dot(fed("x", 64, 64), fed("w", 64, 64))
    mask = ops.less(ops.random(seed, count, shape=(64, 64), stream=1), ops.const(value=9, shape=(64, 64), dtype="u32"))
    found = kernels(nests(Graph({"y": expr.where(mask, y, 0.0)})))
    assert [("random" in ops_of(k), k.attrs["kind"]) for k in found] == [(True, "map"), (False, "dot")]


def test_a_transposed_reader_stays_apart() -> None:
    x = fed("x", 64, 32)
    y = ops.tanh(x + 1.0)
    fused = nests(Graph({"y": y, "z": ops.exp(ops.transpose(y, perm=(1, 0)))}))
    assert len(kernels(fused)) == 2
    assert any("another order" in d.reason for d in fused.ledger if not d.fused)


def test_reductions_over_other_axes_stay_apart() -> None:
    x = fed("x", 64, 32)
    fused = nests(Graph({"a": ops.sum_(x, axes=(0,)), "b": ops.sum_(x, axes=(1,))}))
    assert len(kernels(fused)) == 2
    assert any("different axes" in d.reason for d in fused.ledger)


def test_a_total_is_read_by_another_kernel() -> None:
    x = fed("x", 64, 32)
    rows = ops.log(ops.sum_(ops.exp(x), axes=(1,)))
    total = ops.sum_(rows, axes=(0,))
    fused = nests(Graph({"y": x - rows, "z": x * ops.broadcast(total, shape=(64, 32))}))
    assert len(kernels(fused)) == 2
    assert any("all programs" in d.reason for d in fused.ledger if not d.fused)


def test_cheap_values_are_computed_again_by_each_reader() -> None:
    """The slope of a hyperbolic tangent is computed from its value, which a product reads and so is stored."""
    x, w, v = fed("x", 64, 64), fed("w", 64, 64), fed("v", 64, 64)
    hidden = ops.tanh(ops.dot(x, w))
    found = kernels(nests(differentiated(loss=expr.sum(ops.dot(hidden, v)))))
    assert all(len(k.attrs["body"].outputs) == 1 for k in found if k.attrs["kind"] == "dot")


def test_what_waits_for_few_long_rows_is_another_kernel() -> None:
    """One kernel with a program or two would take longer; sums that do not wait for each other are together."""
    fused = nests(weighted(batch_norm(fed("x", 64, 32, 28, 28))))
    found = kernels(fused)
    sums = [[n for n in k.attrs["body"].order if n.op is ops.sum_] for k in found if k.attrs["kind"] == "reduce"]
    # Mean and variance; two of the gradient, one of which waits for the mean; one that waits for the variance.
    assert [len(s) for s in sums] == [2, 2, 1]
    assert all(k.attrs["schedule"].split > 1 for k in found if k.attrs["kind"] == "reduce")
    assert {k.attrs["kind"] for k in found} == {"reduce", "map"}
    reasons = [d.reason for d in fused.ledger if not d.fused and "in parts" in d.reason]
    assert any("32 rows of 50176 elements" in r and "in one kernel 2 programs would need" in r for r in reasons)
    alone = nests(weighted(batch_norm(fed("x", 64, 32, 28, 28))), arch="interpreter")
    assert len(kernels(alone)) == 1


def test_a_choice_keeps_no_sum_from_being_taken_in_parts() -> None:
    x = fed("x", 4, 200_000)
    graph = Graph({"most": ops.max_reduce(x, axes=(1,)), "which": ops.argmax(x, axes=(1,))})
    split = {frozenset(ops_of(k)): k.attrs["schedule"].split for k in kernels(nests(graph))}
    assert split[frozenset({"input", "argmax"})] == 1
    assert split[frozenset({"input", "max_reduce"})] > 16


def test_nofuse_keeps_a_layer_apart_from_others() -> None:
    x = fed("x", 512, 512)
    with at(None, "first"):
        y = ops.exp(ops.tanh(x))
    with at(None, "second"):
        z = ops.sqrt(ops.abs_(y))
    fused = nests(Graph({"z": z}), nofuse=["second"])
    assert len(kernels(fused)) == 2
    assert any("@nofuse on second" in d.reason and d.layers == ("first", "second") for d in fused.ledger)


def test_nofuse_also_holds_for_what_readers_would_compute_again() -> None:
    x, w = fed("x", 64, 64), fed("w", 64, 64)

    def made() -> Graph:
        with at(None, "first"):
            mask = ops.less(expr.constant(0.0, x), x)
        with at(None, "second"):
            return Graph({"y": expr.where(mask, ops.dot(x, w), 0.0), "z": expr.where(mask, x, 1.0)})

    assert not any(len(layers_of(k)) > 1 for k in kernels(nests(made(), nofuse=["first"])))
    again = [d for d in nests(made()).ledger if "again" in d.reason]
    assert [(d.producer, d.fused, d.bytes_saved) for d in again] == [("first.less", True, 64 * 64)]


def test_unfused_keeps_an_op_a_kernel() -> None:
    x = fed("x", 8, 8)
    fused = nests(Graph({"y": ops.tanh(ops.exp(x) * 2.0 + x)}), enabled=False)
    assert len(kernels(fused)) == 4
    assert not fused.ledger


def test_state_is_not_overwritten_before_other_programs_read_it() -> None:
    """The next counter is a number that all programs of the update read: it is written by a launch of its own."""
    count = ops.param(name="count", shape=(), dtype="f32")
    w = ops.param(name="w", shape=(256,), dtype="f32")
    scaled = w * ops.broadcast(expr.reshape(count, (1,)), shape=(256,))
    fused = nests(Graph({}, {"count": count + 1.0, "w": w - scaled}))
    assert len(kernels(fused)) == 2


def test_numbers_share_a_launch() -> None:
    names = ("a", "b", "c")
    updates = {name: ops.param(name=name, shape=(1,), dtype="f32") * 0.9 for name in names}
    fused = nests(Graph({}, updates))
    assert len(kernels(fused)) == 1
    assert all("one launch" in d.reason for d in fused.ledger)


def test_ranges_of_a_flat_buffer_are_updated_together() -> None:
    w, g = (ops.param(name=name, shape=(10,), dtype="f32") for name in ("w", "g"))
    rate = fed("rate")

    def part(x: Node, start: int, stop: int) -> Node:
        return ops.slice_(x, start=(start,), stop=(stop,), step=(1,))

    def moved(start: int, stop: int, factor: float, decay: bool) -> Node:
        mine, towards = part(w, start, stop), part(g, start, stop)
        towards = towards + mine * 0.01 if decay else towards
        return mine - towards * (rate * factor)

    graph = Graph(
        {}, {"w": ops.concat(moved(0, 4, 1.0, True), moved(4, 7, 2.0, False), moved(7, 10, 2.0, True), axis=0)}
    )
    (kernel,) = kernels(nests(graph))
    assert kernel.attrs["body"].outputs["out0"].shape == (10,)


def test_a_pooling_backward_sums_the_bias_by_the_way() -> None:
    attrs: dict[str, Any] = {"stride": (1, 1), "pad": (0, 0), "dilation": (1, 1), "groups": 1}
    w, b = (
        ops.param(name=name, shape=shape, dtype="f32") for name, shape in (("w", (8, 3, 3, 3)), ("b", (1, 8, 1, 1)))
    )
    y = expr.maximum(pooling(ops.conv(fed("x", 4, 3, 9, 9), w, **attrs) + b), 0.0)
    found = kernels(nests(differentiated(loss=expr.sum(y * y))))
    (backward,) = [k for k in found if "unwindow" in ops_of(k)]
    assert backward.attrs["kind"] == "reduce"
    assert [tuple(n.shape) for n in backward.attrs["body"].outputs.values()] == [(4, 8, 7, 7), (1, 8, 1, 1)]
