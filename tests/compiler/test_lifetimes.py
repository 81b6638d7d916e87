"""Liveness and aliasing of a program's memory: proved of a right plan, and refused with each kind of planted fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netc.compiler import ops
from netc.compiler.codegen.lifetimes import ARENA, Region, lifetimes
from netc.compiler.codegen.strides import strides_of
from netc.compiler.fault import Unproved
from netc.compiler.graph import Graph, Node
from netc.compiler.plan import Home, Plan, pack
from netc.compiler.types import SIZES
from netc.driver import compilation
from netc.passes.lowering import memory
from support.numpy_program import tiles
from support.short_nodes import fed, state

LENET = Path(__file__).parents[2] / "examples" / "lenet.net"
Regions = dict[Node, Region]


class Planned:
    """A graph of kernels, one for each op, with a plan, and its values in the arena, row-major."""

    def __init__(self, outputs: dict[str, Node], updates: dict[str, Node] | None = None) -> None:
        self.graph = tiles(Graph(outputs, updates or {}), enabled=False).graph
        self.plan = memory.plan(self.graph, threads=1, inner=False)

    def placed(self, plan: Plan) -> tuple[Regions, int]:
        here = [node for node, home in plan.homes.items() if home.space == "arena"]
        offsets, size = pack([(node.type.nbytes, *plan.lives[node]) for node in here])
        found = {}
        for node, offset in zip(here, offsets, strict=True):
            shape = tuple(map(int, node.shape))
            found[node] = Region(ARENA, offset, SIZES[node.dtype], shape, strides_of(shape, range(len(shape))))
        return found, size

    def prove(
        self,
        plan: Plan | None = None,
        regions: Regions | None = None,
        scratch: dict[Node, list[Region]] | None = None,
    ) -> int:
        """With another plan, or with some of its regions in other places."""
        own, size = self.placed(plan or self.plan)
        return lifetimes(self.graph, plan or self.plan, own | (regions or {}), scratch or {}, size)

    def unproved(self, kind: str, told: str, **changed: Any) -> Unproved:
        """What is raised, of this kind and in these words, although all is proved without the change."""
        assert self.prove() > 0
        with pytest.raises(Unproved) as found:
            self.prove(**changed)
        assert found.value.kind == kind
        assert told in str(found.value)
        return found.value

    def kernel(self, name: str) -> Node:
        """The kernel of an op."""
        return next(k for k in self.plan.kernels if k.attrs["body"].order[-1].op.name == name)

    def value(self, name: str) -> Node:
        """The result of that kernel."""
        return next(node for node in self.graph.order if node.op is ops.item and node.inputs[0] is self.kernel(name))

    def ordered(self, *names: str) -> Plan:
        return replace(self.plan, kernels=tuple(map(self.kernel, names)))


def chain() -> Planned:
    """A value that is read at once, and again at the end, when others have come and gone."""
    x = fed("x", 40, 40)
    early = ops.tanh(x)
    late = ops.neg(ops.exp(ops.abs_(early)))
    return Planned({"y": ops.add(late, early)})


def test_a_read_before_the_write() -> None:
    made = chain()
    order = [k.attrs["body"].order[-1].op.name for k in made.plan.kernels]
    order[0], order[1] = order[1], order[0]
    made.unproved("order", "nobody has written the result `tanh` when it reads that", plan=made.ordered(*order))


def test_a_value_that_is_overwritten_before_its_last_reader() -> None:
    made = chain()
    over = {made.value("exp"): made.placed(made.plan)[0][made.value("tanh")]}
    made.unproved("order", "the result `tanh` is overwritten when it reads that, by the kernel of", regions=over)


def test_an_output_that_does_not_live_to_the_end() -> None:
    x = fed("x", 40, 40)
    made = Planned({"y": ops.tanh(x), "z": ops.sum_(ops.exp(ops.abs_(x)), axes=(0, 1))})
    plan = made.ordered("tanh", "abs", "exp", "sum")
    short = replace(plan, lives={**made.plan.lives, made.value("tanh"): (0, 0), made.value("abs"): (1, 2)})
    made.unproved("order", "the result `tanh` is overwritten at the end of the step", plan=short)


def test_state_that_is_overwritten_before_its_last_reader() -> None:
    x, w = fed("x", 30, 30), state("w", 30, 30)
    made = Planned({"y": ops.dot(x, w)}, {"w": ops.mul(w, x)})
    assert made.plan.kernels[0] is made.kernel("dot")
    error = made.unproved("order", "the state w is overwritten when it reads that", plan=made.ordered("mul", "dot"))
    assert "not of the net" in str(error)


def test_the_next_value_of_a_state_that_lies_elsewhere() -> None:
    x, w = fed("x", 30, 30), state("w", 30, 30)
    made = Planned({"y": ops.dot(x, w)}, {"w": ops.mul(w, x)})
    away = {made.value("mul"): Region("state:w", 4, 4, (30, 29), (29, 1))}
    made.unproved("overlap", "the next value of the state w does not lie where the state does", regions=away)


def test_a_state_without_an_update_stays() -> None:
    x, w = fed("x", 30, 30), state("w", 30, 30)
    made = Planned({"y": ops.tanh(ops.dot(x, w))})
    over = {made.value("tanh"): Region("state:w", 0, 4, (30, 30), (30, 1))}
    made.unproved("order", "the state w is overwritten at the end of the step", regions=over)


def prepared() -> Planned:
    x, w = fed("x", 20, 30), state("w", 30, 30)
    return Planned({"y": ops.tanh(ops.dot(x, ops.exp(w)))})


def test_what_is_prepared_is_there_in_every_step() -> None:
    made = prepared()
    value = made.value("exp")
    assert made.kernel("exp") in made.plan.prepare
    short = replace(made.plan, lives={**made.plan.lives, value: (0, 1), made.value("tanh"): (2, 3)})
    made.unproved("order", "the result `exp` is overwritten when it reads that", plan=short)


def test_what_is_prepared_depends_on_nothing_that_changes() -> None:
    made = prepared()
    wrong = replace(made.plan, prepare=frozenset((made.kernel("exp"), made.kernel("dot"))))
    made.unproved("order", "it is prepared once, but the input x changes in each step", plan=wrong)
    x, w = fed("x", 20, 30), state("w", 30, 30)
    learning = Planned({"y": ops.dot(x, ops.exp(w))}, {"w": ops.neg(w)})
    wrong = replace(learning.plan, prepare=frozenset((learning.kernel("exp"),)))
    learning.unproved("order", "it is prepared once, but the state w changes in each step", plan=wrong)


def joined() -> Planned:
    x, y = fed("x", 40, 50), fed("y", 40, 30)
    return Planned({"z": ops.dot(ops.concat(ops.exp(x), ops.tanh(y), axis=1), fed("w", 80, 7))})


def at(made: Planned, name: str, start: int) -> Regions:
    """An operand of a concat, from another element of that on."""
    value = made.value(name)
    home: Home = made.plan.homes[value]
    assert home.parent is not None
    outer = made.placed(made.plan)[0][home.parent]
    shape = tuple(map(int, value.shape))
    return {value: Region(outer.memory, outer.start + 4 * start, 4, shape, outer.strides)}


def test_operands_of_a_concat_lie_apart_and_inside_of_it() -> None:
    made = joined()
    made.unproved("overlap", "the result `exp` and the result `tanh` lie over each other", regions=at(made, "tanh", 49))
    made.unproved(
        "overlap", "the result `tanh` does not lie inside of the result `joined`", regions=at(made, "tanh", 51)
    )


def test_a_view_lies_inside_of_what_it_is_a_view_of() -> None:
    x, w, v = fed("x", 8, 8), state("w", 300), state("v", 8, 8)
    part = ops.reshape(ops.slice_(w, start=(100,), stop=(164,), step=(1,)), shape=(8, 8))
    made = Planned({"y": ops.dot(x, ops.add(part, v))})
    view = next(node for node in made.graph.order if node.op is ops.slice_)
    away = {view: Region("state:v", 0, 4, (64,), (1,))}
    made.unproved("overlap", "a view of the state w does not lie inside of it", regions=away)


def test_a_value_beyond_the_end_of_the_arena() -> None:
    made = chain()
    far = {made.value("exp"): replace(made.placed(made.plan)[0][made.value("exp")], start=1 << 20)}
    made.unproved("bounds", "the result `exp` lies beyond the end of arena", regions=far)


def test_a_result_over_part_of_an_operand() -> None:
    """Programs of a kernel run in any order: in place is element by element, or not at all."""
    made = chain()
    regions, _ = made.placed(made.plan)
    operand = regions[made.value("abs")]
    over = {made.value("exp"): replace(operand, start=operand.start + 4, shape=(39, 40))}
    made.unproved("overlap", "lies over the result `abs`, which the kernel reads", regions=over)


def test_scratch_lies_apart() -> None:
    made = chain()
    regions, size = made.placed(made.plan)
    kernel = made.kernel("exp")

    def scratch(start: int) -> dict[Node, list[Region]]:
        return {kernel: [Region(ARENA, start, 1, (64,), (1,))]}

    of = {name: regions[made.value(name)].start for name in ("abs", "exp", "tanh")}
    made.unproved("overlap", "its scratch lies over the result `abs`", scratch=scratch(of["abs"]))
    made.unproved("overlap", "lie over each other", scratch=scratch(of["exp"]))
    made.unproved("order", "the result `tanh` is overwritten", scratch=scratch(of["tanh"]))
    made.unproved("bounds", "its scratch lies beyond the end", scratch=scratch(size))


@pytest.mark.parametrize("start", range(4))
def test_parts_of_one_whole_are_told_apart_wherever_it_begins(start: int) -> None:
    """Rows of six numbers: of each the first four, or the last two."""
    left, right = Region(ARENA, start, 4, (5, 4), (6, 1)), Region(ARENA, start + 16, 4, (5, 2), (6, 1))
    assert not left.meets(right)
    assert not right.meets(left)
    assert left.meets(replace(right, start=start + 15))
    assert left.meets(replace(right, start=start + 20))
    assert left.inside(Region(ARENA, start, 4, (5, 6), (6, 1)))
    assert replace(left, start=start + 4, shape=(5, 3)).inside(left)
    assert not replace(left, start=start + 8, shape=(4, 3)).inside(left)
    assert not left.meets(Region(ARENA, start, 4, (0, 4), (6, 1)))


@pytest.mark.parametrize("target", ["numpy", "triton"])
def test_no_target_writes_a_program_with_a_wrong_plan(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """Values give their memory away at once."""
    lives = memory._lives

    def short(graph: Graph, homes: Any, kernels: list[Node], prepare: set[Node]) -> dict[Node, tuple[int, int]]:
        found = lives(graph, homes, kernels, prepare)
        return {node: (a, b if b == len(kernels) else a) for node, (a, b) in found.items()}

    def program() -> int:
        made = compilation(LENET, mode="train", dims={"N": 2}, target=target)
        return made.program.proved.reads

    assert program() > 50
    monkeypatch.setattr(memory, "_lives", short)
    with pytest.raises(Unproved, match=r"of conv1.*lenet.net.*(overwritten when|lies over the result)"):
        program()
