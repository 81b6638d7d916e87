"""Translation validation: checks that together prove a program, by passes, kernels and memory; layers for people.

1. After every pass the graph has the values that it had before, in double precision.
2. Every kernel, given the operands that it really had, gives what the oracle makes of its body, within the budget.
3. With the results of all kernels among its outputs, which only moves them in memory, the program gives the same.
4. A program is proved as it is written, whatever its numbers are: its memory (`compiler/codegen/lifetimes.py`), and
   each load and store of a kernel that the evaluator writes (`compiler/codegen/loops/prove.py`).
5. Where steps are replayed, a replay gives the bits of the step that was launched.

So every station on the way from the net to the program's results is right, or one of them is named. Layers are compared
in a program with taps, each from what the target gave its bottoms: that says where, not whether, something is wrong. A
value there that lies beyond its budget although no station is wrong comes of a law of algebra that moved a rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..compiler import ops
from ..compiler.codegen.names import origins
from ..compiler.graph import Graph, Node
from ..compiler.interpret import evaluate
from ..compiler.ops.rounding import Arithmetic, Array, Bounded
from ..compiler.program import Program
from ..driver import Compilation
from ..passes.unit import Unit
from .budget import analyse, measured
from .compare import Compared, compare, differing
from .crash import Crash, guarded
from .derivatives import SlopeFault
from .proved import ProofFault, ReplayFault
from .subject import Subject
from .target import Arrays, Results, execute, kernels_of, opened

# The programs of which kernels are checked, as messages name them.
FUSED, UNFUSED, TAPPED = "fused", "unfused", "with taps"


@dataclass(frozen=True)
class PassFault:
    """A pass after which values differ: which, by how much at most, and the laws found guilty, if it has laws."""

    name: str
    values: tuple[tuple[str, float], ...]
    layer: str = ""
    laws: tuple[str, ...] = ()

    def __str__(self) -> str:
        name, away = max(self.values, key=lambda item: item[1])
        where = f", layer {self.layer}" if self.layer else ""
        laws = f"; the law `{'`, `'.join(self.laws)}` is wrong" if self.laws else ""
        more = f" and {len(self.values) - 1} more" if len(self.values) > 1 else ""
        return f"the pass `{self.name}` changes {name}{more} by {away:.2g}{where}{laws}"


@dataclass(frozen=True)
class KernelFault:
    """A kernel with a wrong result: its function, kind, layers and places, and the worst result."""

    function: str
    kind: str
    layers: tuple[str, ...]
    places: tuple[str, ...]
    program: str
    worst: Compared

    def __str__(self) -> str:
        of = f" of {', '.join(self.layers)}" if self.layers else ""
        places = f" ({', '.join(self.places)})" if self.places else ""
        return f"the {self.kind} kernel `{self.function}`{of}{places}, {self.program}, is wrong: {self.worst}"


@dataclass(frozen=True)
class MemoryFault:
    """An output that is another when more of the program's values are kept: something was overwritten too early."""

    name: str
    program: str
    error: float

    def __str__(self) -> str:
        return f"the memory plan, {self.program}, spoils {self.name}: kept apart it differs by {self.error:.2g}"


Fault = PassFault | KernelFault | MemoryFault | Crash | ProofFault | ReplayFault | SlopeFault


def pass_faults(stations: Mapping[str, Graph], feeds: Arrays) -> Iterator[PassFault]:
    """The first pass (or stage of lowering) after which values differ, if there is one."""
    known: Graph | None = None
    before: Arrays = {}
    for name, graph in stations.items():
        if graph is known:
            continue
        after = values_of(graph, feeds)
        wrong = differing(before, after) if known is not None else None
        if wrong:
            yield PassFault(name, tuple(sorted(wrong.items())))
            return
        known, before = graph, after


def values_of(graph: Graph, feeds: Arrays) -> Arrays:
    """The outputs of a graph and the next values of state, by the oracle."""
    outputs, updates = evaluate(graph, feeds)
    return {**outputs, **{f"next {name}": value for name, value in updates.items()}}


@dataclass(frozen=True)
class Checked:
    """The kernels of one program: how each result compares, and the faults among them."""

    program: str
    kernels: tuple[Compared, ...]
    faults: tuple[Fault, ...]
    results: Results


def check_kernels(subject: Subject, made: Compilation, graph: Graph, arithmetic: Arithmetic, title: str) -> Checked:
    """Run a program with its kernels' results among the outputs, and compare each with the oracle.

    made: the subject's compilation, or another of the same net that makes other kernels. Raises Crashed where the
    target fails.
    """

    def ran(kernels: Unit) -> tuple[Unit, Program, Results]:
        whole = opened(kernels)
        program = made.lower(whole)
        return whole, program, execute(made, program, subject.feeds)

    whole, program, results = guarded(made, graph, subject.feeds, title, ran)
    return Checked(title, *_judged(made, program, whole.graph, subject.feeds, results, arithmetic, title), results)


def run_alone(subject: Subject, graph: Graph, title: str) -> Results:
    """Run a program with no results among its outputs but its own, as users do; raises Crashed as `check_kernels`."""
    made = subject.made
    return guarded(made, graph, subject.feeds, title, lambda kernels: execute(made, made.lower(kernels), subject.feeds))


def _judged(
    made: Compilation,
    program: Program,
    graph: Graph,
    feeds: Arrays,
    results: Results,
    arithmetic: Arithmetic,
    title: str,
) -> tuple[tuple[Compared, ...], tuple[Fault, ...]]:
    values: dict[Node, Array] = {}
    given = {node: results.outputs[name] for name, node in graph.outputs.items()}
    given.update({node: results.updates[name] for name, node in graph.updates.items() if node not in given})

    def value(node: Node) -> Array:
        """What the target had for a node outside of kernels: fed, a kernel's result, or a view of these."""
        if node not in values:
            if node.op in (ops.input_, ops.param):
                values[node] = feeds[node.attrs["name"]]
            elif node.op is ops.item:
                values[node] = given[node].reshape(node.shape)
            else:
                values[node] = np.asarray(node.op.numpy(*(value(x) for x in node.inputs), **node.attrs))
        return values[node]

    found: list[Compared] = []
    faults: list[Fault] = []
    for number, (kernel, items) in enumerate(kernels_of(graph)):
        own = _of_kernel(kernel, items, value, arithmetic)
        found += own
        wrong = [one for one in own if not one.ok]
        if wrong:
            worst = max(wrong, key=lambda one: one.ratio)
            layers, places = made.whose(*origins(kernel.attrs["body"]))
            function = _function(program, kernel, layers, places) or f"kernel {number + 1}"
            faults.append(KernelFault(function, kernel.attrs["kind"], layers, places, title, worst))
    return tuple(found), tuple(faults)


def _of_kernel(
    kernel: Node, items: Mapping[int, Node], value: Callable[[Node], Array], arithmetic: Arithmetic
) -> list[Compared]:
    """The results of one kernel against the oracle's evaluation of its body on the target's operands."""
    body: Graph = kernel.attrs["body"]
    results = [*body.outputs.values()]
    feeds = {f"in{i}": value(x) for i, x in enumerate(kernel.inputs)}
    found: list[Compared] = []

    def seen(node: Node, want: Bounded) -> Bounded:
        got = value(items[results.index(node)])
        name = f"{node.scope}.{node.op.name}" if node.scope else node.op.name
        found.append(compare(node, want, got, arithmetic, name=name, layer=node.scope, kind="kernel"))
        return want

    watched = [node for k, node in enumerate(results) if k in items]
    analyse(body, feeds, arithmetic, watched, seen)
    return found


def _function(program: Program, kernel: Node, layers: tuple[str, ...], places: tuple[str, ...]) -> str:
    """The name that the program's text gives a kernel's function, if it can be told."""
    flops = kernel.op.flops(kernel.result, **kernel.attrs)
    for launch in program.launches:
        if set(launch.layers) == set(layers) and set(launch.places) == set(places) and launch.flops == flops:
            return launch.function
    return ""


def memory_faults(alone: Results, kept: Results, title: str) -> Iterator[MemoryFault]:
    """Outputs and state that differ although the same kernels made them.

    They are the same to the bit as a rule. A target that may order its sums by where they lie (BLAS by alignment) is
    given four digits; what was overwritten has none in common.
    """
    for mine, other in ((alone.outputs, kept.outputs), (alone.updates, kept.updates)):
        for name, value in mine.items():
            if not np.array_equal(value, other[name], equal_nan=value.dtype.kind == "f"):
                a, b = value.astype(np.float64), other[name].astype(np.float64)
                scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
                if not np.allclose(a, b, rtol=1e-4, atol=1e-4 * scale, equal_nan=True):
                    yield MemoryFault(name, title, float(np.nanmax(np.abs(a - b))))


def check_layers(subject: Subject, arithmetic: Arithmetic) -> list[Compared]:
    """Layers' values and gradients, losses, metrics and the next state, each from what the target had before."""
    made, tapped = subject.made, subject.tapped
    results = run_alone(subject, tapped.final, TAPPED)
    # A pass chooses types of 16 bits, and the roundings to them belong to the budget.
    graph = tapped.exact if made.types is None else tapped.final
    names: dict[Node, list[str]] = {}
    for name, node in graph.outputs.items():
        if name in tapped.taps:
            names.setdefault(_kept(node), []).append(name)
    states: dict[Node, list[str]] = {}
    for name, node in graph.updates.items():
        states.setdefault(node, []).append(name)
    found: list[Compared] = []

    def seen(node: Node, want: Bounded) -> Bounded:
        got: Array | None = None
        for name in names.get(node, ()):
            tap, got = tapped.taps[name], results.outputs[name]
            found.append(compare(node, want, got, arithmetic, name=tap.name, layer=tap.layer, kind=tap.kind))
        for name in states.get(node, ()):
            got = results.updates[name]
            found.extend(_of_state(subject, name, node, want, got, arithmetic))
        return want if got is None else measured(node, got.reshape(node.shape), arithmetic)

    analyse(graph, subject.feeds, arithmetic, [*names, *states], seen)
    return found


def _kept(node: Node) -> Node:
    """The value of 16 bits that an output shows in f32: it is the one that other layers read."""
    if node.op is ops.cast and node.dtype == "f32" and node.inputs[0].dtype in ("f16", "bf16"):
        return node.inputs[0]
    return node


def _of_state(
    subject: Subject, buffer: str, node: Node, want: Bounded, got: Array, arithmetic: Arithmetic
) -> Iterator[Compared]:
    """The next value of a buffer of state: of a flat one, each tensor that lies in it."""
    parts = [i for i in subject.made.layout if i.buffer == buffer and i.name != buffer]
    if not parts:
        yield compare(node, want, got, arithmetic, name=buffer, layer="", kind="state")
    for info in parts:
        cut = slice(info.offset, info.offset + info.type.count)
        part = Bounded(want.value.reshape(-1)[cut], _cut(want.error, cut), _cut(want.choice, cut))
        yield compare(
            node, part, got.reshape(-1)[cut], arithmetic, name=f"next {info.name}", layer=info.layer, kind="state"
        )


def _cut(bound: Array | None, cut: slice) -> Array | None:
    return None if bound is None else bound.reshape(-1)[cut]
