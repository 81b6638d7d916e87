"""Accesses of kernels are proved as they are written: those of examples are, each kind of planted fault is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.codegen.loops.body import Body
from netc.compiler.codegen.loops.place import MemRef, Spread, Value
from netc.compiler.codegen.triton import product, reduce, templates
from netc.compiler.codegen.triton.dialect import TRITON
from netc.compiler.fault import Unproved
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import evaluate
from netc.compiler.loops import contraction, view
from netc.compiler.loops.view import Expr, Guard, Index, Var
from netc.compiler.program import Program
from netc.driver import compilation
from netc.grammar.source import Source
from netc.numbers import Numbers, Precision
from support.example_nets import LARGE, REPEATED
from support.numpy_program import made_up
from support.triton_program import program_of, run

EXAMPLES = Path(__file__).parents[2] / "examples"
SLOW = [pytest.mark.slow]
NETS = [
    pytest.param(path.stem, marks=SLOW if path.stem in LARGE | REPEATED else [])
    for path in sorted(EXAMPLES.glob("*.net"))
]
MACHINES: tuple[tuple[Precision, str], ...] = (
    ("f32", "cuda:90"),
    ("f16", "cuda:90"),
    ("bf16", "cuda:80"),
    ("f32", "interpreter"),
    ("f32", "hip:gfx942"),
)


@pytest.mark.parametrize("name", NETS)
def test_all_accesses_of_the_examples_are_proved(name: str) -> None:
    """At emission: a program that is not proved is not written."""
    for mode in ("test", "train"):
        for precision, arch in MACHINES:
            made = compilation(
                EXAMPLES / f"{name}.net",
                mode=mode,
                dims={"N": 2 if name in LARGE else 4},
                target="triton",
                device="cpu",
                arch=arch,
                numbers=Numbers(precision),
            )
            proved = made.program.proved
            assert proved.stores >= len(made.program.launches)
            assert proved.loads > proved.stores // 2
            assert proved.reads > 0


# One kernel by hand.

GRAPH = Graph({"y": ops.input_(name="in0", shape=(6, 10), dtype="f32")})
X = MemRef("in0", (6, 10), (10, 1), "f32", count=60, memory="input:x")
Y = MemRef("out0", (6, 10), (10, 1), "f32", count=60, memory="arena:y")


class Kernel:
    """A program takes 16 of the numbers from 0 to 59, and the last one is cut off."""

    def __init__(self, operand: MemRef = X, result: MemRef = Y) -> None:
        self.body = Body(GRAPH, [operand], [result], TRITON, ("BLOCK",))
        self.operand, self.result = operand, result
        self.i = self.body.bind(Var("i", 60), "i", 0, "i < 60", Spread("blocks", 4, 16))
        self.row, self.column = self.i // 10, self.i % 10

    def load(self, *index: Expr, guards: Sequence[Guard] = ()) -> Value:
        return self.body.load(self.operand, index, guards, 0.0)

    def store(self, *index: Expr, value: Value | None = None) -> None:
        self.body.store(self.result, index, value or Value("v", "f32", frozenset({0})))

    def finish(self) -> None:
        self.body.proof.grid((4,))
        self.body.proof.finish()


def refused(kind: str, told: str, act: Callable[[], object]) -> None:
    with pytest.raises(Unproved) as found:
        act()
    assert found.value.kind == kind
    assert told in found.value.told


def test_a_copy_is_proved() -> None:
    made = Kernel()
    made.store(made.row, made.column, value=made.load(made.row, made.column))
    made.finish()
    assert (made.body.proof.loads, made.body.proof.stores) == (1, 1)


def test_a_load_beside_its_place() -> None:
    made = Kernel()
    refused(
        "bounds",
        "reads `in0` (f32[6, 10]) beside its elements: index i // 10 + 1 of 6",
        lambda: made.load(made.row + 1, made.column),
    )
    refused("bounds", "index i % 10 - 1 of 10", lambda: made.load(made.row, made.column - 1))
    made.load(made.row + 1, made.column, guards=[Guard(made.row, 0, 5)])
    made.load(made.row, made.column - 1, guards=[Guard(made.column, 1, 10)])
    wide = [Guard(made.row, 0, 6)]
    refused("bounds", "where 0 <= i // 10 < 6", lambda: made.load(made.row + 1, made.column, guards=wide))


def test_a_guard_on_what_may_pass_its_end_says_nothing_of_the_others() -> None:
    """Of a variable beyond its end a difference may be small although the other one is too large."""
    made = Kernel()
    j = made.body.bind(Var("j", 10), "j", 0, "j < 10", Spread("others", 1, 16))
    guard = Guard(made.i - j, 0, 6)
    refused("bounds", "beside its elements", lambda: made.load(made.i, Expr.of(0), guards=[guard]))


def test_what_intervals_do_not_tell_is_tried() -> None:
    made = Kernel()
    odd = (made.i * 7) % 5 + made.i % 5
    made.load(made.row, odd, guards=[Guard(odd, 0, 10)])
    refused("bounds", "of 6", lambda: made.load(odd, made.column))
    made.load(odd, made.column, guards=[Guard(odd, 0, 6)])


def test_a_store_beside_its_place() -> None:
    made = Kernel()
    refused("bounds", "writes `out0`", lambda: made.store(made.row + 1, made.column))


def test_two_lanes_that_write_one_element() -> None:
    made = Kernel()
    refused("race", "one element twice", lambda: made.store(made.row, made.column // 2))


def test_programs_that_write_one_element() -> None:
    made = Kernel(result=MemRef("out0", (1, 10), (10, 1), "f32", count=10))
    j = made.body.bind(Var("j", 10), "j", 0, "j < 10", Spread("others", 1, 16))
    refused(
        "race", "writes `out0` (f32[1, 10]) j in all programs, whatever their i is", lambda: made.store(Expr.of(0), j)
    )


def test_lanes_that_write_one_element() -> None:
    made = Kernel(result=MemRef("out0", (), (), "f32", count=1))
    made.body.bounds.clear()
    refused("race", "0 in all lanes along a side of the block", lambda: made.store())
    made.store(value=Value("v", "f32"))


def test_elements_that_nobody_writes() -> None:
    made = Kernel(result=MemRef("out0", (6, 11), (11, 1), "f32", count=66))
    made.store(made.row, made.column)
    refused("complete", "writes `out0` (f32[6, 11]) 60 of its 66 elements", made.finish)


def test_parts_of_a_result_are_complete_together() -> None:
    halves = MemRef("out0", (2, 6, 10), (60, 10, 1), "f32", count=120)
    made = Kernel(result=halves)
    made.store(Expr.of(0), made.row, made.column)
    refused("complete", "60 of its 120 elements", made.finish)
    made.store(Expr.of(1), made.row, made.column)
    made.finish()
    made.store(Expr.of(1), made.row, made.column)
    refused("race", "twice", made.finish)


def test_values_that_no_program_takes() -> None:
    made = Kernel()
    few = Spread("few", 3, 16)
    refused("complete", "j takes 48 of its 60 values", lambda: made.body.bind(Var("j", 60), "j", 0, "j < 60", few))
    refused("complete", "a grid of 3 programs runs", lambda: made.body.proof.grid((3,)))


def test_an_end_that_nothing_asks() -> None:
    made = Kernel()
    bind = made.body.bind
    refused(
        "bounds", "j takes 64 values, past its end at 60", lambda: bind(Var("j", 60), "j", 0, "", Spread("b", 4, 16))
    )


# A state that is updated in place.

W = replace(X, memory="state:w")
NEW = replace(Y, memory="state:w")


def test_in_place_is_element_by_element() -> None:
    made = Kernel(W, NEW)
    made.store(made.row, made.column, value=made.load(made.row, made.column))
    made.finish()
    across = Kernel(W, NEW)
    across.store(across.row, across.column, value=across.load(across.row, 9 + across.column * -1))
    refused("race", "over an operand that is read at", across.finish)


def test_in_place_reads_come_first() -> None:
    made = Kernel(W, NEW)
    made.store(made.row, made.column)
    made.load(made.row, made.column)
    refused("order", "after it has written that", made.finish)


@pytest.mark.parametrize("fenced", [True, False])
def test_what_all_threads_hold_is_written_behind_a_barrier(fenced: bool) -> None:
    """A number that all threads read, and put into a larger result, before some of them write the next one over it."""
    scale = MemRef("in0", (1,), (1,), "f32", count=1, memory="state:scale")
    body = Body(GRAPH, [scale], [Y, replace(scale, name="out1")], TRITON, ("BLOCK",))
    i = body.bind(Var("i", 60), "i", 0, "i < 60", Spread("blocks", 1, 64))
    value = body.load(scale, (Expr.of(0),))
    body.store(Y, (i // 10, i % 10), Value("v", "f32", frozenset({0})))
    if fenced:
        body.proof.barrier()
    body.store(body.results[1], (Expr.of(0),), value)
    if fenced:
        body.proof.finish()
    else:
        refused("order", "which late threads may still read, without a barrier", body.proof.finish)


def updates() -> dict[str, Node]:
    """Next values of a state of which an element depends on others of the old one."""
    w, x = ops.param(name="w", shape=(24, 24), dtype="f32"), ops.input_(name="x", shape=(24, 24), dtype="f32")
    turned = ops.transpose(w, perm=(1, 0))
    sums = ops.sum_(ops.mul(w, w), axes=(0,))
    return {
        "product": ops.dot(w, x),
        "turned": ops.add(w, ops.mul(turned, x)),
        "columns": ops.div(w, ops.broadcast(sums, shape=(24, 24))),
        "itself": ops.add(w, ops.mul(x, ops.exp(w))),
    }


@pytest.mark.parametrize("name", updates())
def test_a_next_state_of_other_elements_of_the_old_one_is_copied(name: str) -> None:
    """Programs that write over the old state would race with those that still read it."""
    graph = Graph({}, {"w": updates()[name]})
    feeds = made_up(graph)
    wanted = evaluate(graph, feeds)[1]["w"]
    for result in (run(graph, feeds), run(graph, feeds, fused=False)):
        np.testing.assert_allclose(result[1]["w"], wanted, rtol=2e-5, atol=2e-5)
    assert len(program_of(graph).launches) == (2 if name in ("product", "turned") else 1)


# Faults in the code generator.

NET = """net small {
    input image: f32[N, 3, 9, 9]
    input label: i32[N]
    x = image |> conv(5, 3, pad: 1, stride: 2) as conv1 |> tanh |> max_pool(2) |> lrn
    y = concat(x, x |> conv(4, 1) as conv2, axis: 1) |> batch_norm as bn
    loss nll = softmax_loss(y |> linear(70) as score, label)
}
data points = npz("points.npz", arrays: [image, label], batch: 4)
train small {
    from: points
    solver: sgd(lr: 0.1, momentum: 0.9)
    steps: 2
}
"""


def written() -> Program:
    """The program of a training step, as a GPU would run it."""
    return compilation(Source("small.net", NET), mode="train", dims={"N": 600}, target="triton", arch="cuda:90").program


def wider(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard of a padding lets one more element through."""
    own = view._pull_pad

    def pulled(node: Node, index: Index) -> view.Pulled:
        found = own(node, index)
        return replace(found, guards=tuple(replace(g, high=g.high + g.step) for g in found.guards))

    monkeypatch.setattr(view, "_pull_pad", pulled)


def loose(monkeypatch: pytest.MonkeyPatch) -> None:
    """A convolution's taps reach one element beyond the image."""
    own = contraction.replaced

    def side(*args: Any) -> Any:
        found = own(*args)
        return replace(found, guards=tuple(replace(g, low=g.low - 1) for g in found.guards))

    monkeypatch.setattr(product, "replaced", side)


def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid has one program too few."""
    for module in (templates, reduce):
        monkeypatch.setattr(module, "Spread", lambda axis, n, block: Spread(axis, max(1, n - 1), block))


def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing asks whether a variable is beyond its end."""
    own = Body.bind

    def bind(
        body: Body, var: Var, text: str, axis: int | None = None, _: str = "", spread: Spread | None = None
    ) -> Expr:
        return own(body, var, text, axis, "", spread)

    monkeypatch.setattr(Body, "bind", bind)


def halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two columns of a product's tile are one."""

    def number(self: product._ProductKernel, var: Var, axes: tuple[Var, ...]) -> dict[Var, Expr]:
        return dict(zip(axes, view.unflat(Expr.of(var) // 2, [v.size for v in axes]), strict=True))

    monkeypatch.setattr(product._ProductKernel, "_number", number)


def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """All programs store their part of a sum in one place."""
    monkeypatch.setattr(reduce._ReduceKernel, "_part", lambda *_: Expr.of(0))


FAULTS: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    wider: "bounds",
    loose: "bounds",
    fewer: "complete",
    endless: "bounds",
    halved: "race",
    together: "race",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_in_the_code_generator_is_found(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]
) -> None:
    assert written().proved.loads > 20
    fault(monkeypatch)
    with pytest.raises(Unproved, match=r"small\.net:") as found:
        written()
    assert found.value.kind == FAULTS[fault]
    assert found.value.command == "netc verify small.net --mode train --target triton --dim N=600 --arch cuda:90"
