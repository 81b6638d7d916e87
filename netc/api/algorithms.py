"""Algorithm selection by timing: each way to compute a product of a net runs on this processor; the best is kept.

For each number of a candidate there is a program of C in which every node that has so many is computed by that one, by
itself: its data are made from one image by a kernel before it, so they lie in memory as activations do and are as warm
as what a layer has just written, and one element of its result is looked at, so its memory serves the next node. All
nodes run in turn, as in a step, and the programs run in turns; so what else the machine does meets all alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from ..compiler import ops
from ..compiler.codegen import emit
from ..compiler.codegen.c import tile_axes
from ..compiler.graph import Graph, Node, at
from ..compiler.program import Program, StateInfo
from ..driver import Compilation
from ..grammar.source import UserError
from ..machine import microarchitecture
from ..passes import manager, pipeline
from ..passes.lowering import algorithms
from ..passes.lowering.measured import CPU, Measured, TuningEntry, TuningKey, TuningTable, plain, shape_text
from ..passes.prepared import Prepared
from ..passes.unit import Choices, Unit
from ..report.tables import Table as Shown
from ..runtime.executable import Executable
from ..runtime.state import State

GAIN = 0.98  # what is faster than the rule's choice by less is noise
WARM, LEAST, MOST = 1, 7, 400  # rounds: not counted, at least, at most
ENOUGH = 4.0  # seconds of rounds after which those that there are suffice, if they agree
AGREE = 1.05  # times the least of the rounds, below which there is another where they do
NEAR = 1.5  # times the least of a site, above which a candidate is out of the question
SCOPE = "site"


Times = Sequence[Mapping[int, Sequence[float]]]


@dataclass(frozen=True)
class ChoiceSite:
    """A node that is measured, by the hash under which a file knows it.

    names: the algorithms by which it can be computed, direct sums first; one where there is no choice. layers: those
    that have such nodes. uses: how many nodes there are in a step.
    """

    key: str
    node: Node
    rule: str
    layers: tuple[str, ...]
    uses: int
    names: tuple[str, ...] = (algorithms.DIRECT,)


class Stopwatch(Protocol):
    """What times programs: for each program, for each of its sites by number, the seconds in each of some rounds.

    budget: seconds that all of them may take.
    """

    def __call__(self, programs: Sequence[Program], budget: float) -> Times: ...


@dataclass(frozen=True)
class Timing:
    """One way to compute a site: microseconds of all its kernels, the least and the median of the rounds."""

    algorithm: str
    us: float
    median: float


@dataclass(frozen=True)
class Chosen:
    """A site with its candidates, direct sums first."""

    site: ChoiceSite
    candidates: tuple[Timing, ...]
    chosen: str

    def timing(self, algorithm: str) -> Timing:
        return next(one for one in self.candidates if one.algorithm == algorithm)

    def as_dict(self) -> dict[str, Any]:
        site = self.site
        return {
            "layers": list(site.layers),
            "kind": site.node.op.name,
            "space": shape_text(algorithms.space_of(site.node)),
            "uses": site.uses,
            "candidates": [{"algorithm": c.algorithm, "us": c.us, "us_median": c.median} for c in self.candidates],
            "rule": site.rule,
            "chosen": self.chosen,
        }


@dataclass(frozen=True)
class Algorithms:
    """What was measured. rows: the sites that have a choice. table: an entry for every site."""

    net: str
    processor: str
    threads: int
    rows: tuple[Chosen, ...]
    table: TuningTable = field(repr=False)
    form = "tune.algorithms/1"

    def totals(self) -> tuple[float, float]:
        """Microseconds of all sites in a step, as the rule has them and as chosen."""
        by_rule, now = (
            [row.timing(name).us * row.site.uses for row, name in zip(self.rows, names, strict=True)]
            for names in ([row.site.rule for row in self.rows], [row.chosen for row in self.rows])
        )
        return sum(by_rule), sum(now)

    def as_dict(self) -> dict[str, Any]:
        """The form of `netc tune --json` for the target c."""
        by_rule, now = self.totals()
        rows = [row.as_dict() for row in self.rows]
        about = {"net": self.net, "processor": self.processor, "threads": self.threads}
        return {**about, "us_by_rule": by_rule, "us": now, "sites": rows}

    def shown(self, most: int | None = None) -> Shown:
        """The sites, the slowest first."""
        rows = []
        for row in sorted(self.rows, key=lambda row: -row.timing(row.chosen).us * row.site.uses)[:most]:
            times = ", ".join(f"{c.algorithm} {c.us:.1f}" for c in row.candidates)
            site = row.site
            space = shape_text(algorithms.space_of(site.node))
            rows.append([", ".join(site.layers), site.node.op.name, space, times, site.rule, row.chosen])
        head = ["layers", "kind", "shape", "us", "by rule", "chosen"]
        return Shown(f"{self.net} on {self.processor}, {self.threads} threads", head, rows)


def chosen_algorithms(made: Compilation, watch: Stopwatch | None = None, *, budget: float = 300.0) -> Algorithms:
    """Measure what the products of a program can be computed by. watch: what times; without it this machine.

    budget: seconds of rounds, at most. UserError where there is no compiler, or --direct leaves no choice.
    """
    if made.request.numbers.direct:
        raise UserError("all algorithms are measured: leave out --direct here, and give it where they are used")
    graph, threads = made.alone().simplified, made.threads
    found, programs = candidates(sites_of(graph), threads, learns=bool(graph.updates))
    timed = (watch or stopwatch)(programs, budget) if programs else []
    rows = []
    for number, site in enumerate(found):
        times = {name: timed[k][number] for k, name in enumerate(site.names)}
        each = tuple(Timing(name, min(s) * 1e6, statistics.median(s) * 1e6) for name, s in times.items())
        rows.append(Chosen(site, each, _best(times, site.rule)))
    processor = plain(microarchitecture())
    entries = {
        TuningKey(CPU, processor, row.site.key, threads): TuningEntry(
            row.site.node.op.name,
            shape_text(algorithms.space_of(row.site.node)),
            row.chosen,
            row.timing(row.chosen).us,
            ", ".join(row.site.layers)[:200],
        )
        for row in rows
    }
    several = tuple(row for row in rows if len(row.candidates) > 1)
    return Algorithms(made.net.name, processor, threads, several, TuningTable(entries))


def sites_of(graph: Graph) -> list[ChoiceSite]:
    """The sites of a graph of primitives, in its order; what they can be computed by is not known yet."""
    learns, same = bool(graph.updates), dict[str, list[Node]]()
    for node in algorithms.sites(graph):
        same.setdefault(algorithms.key_of(node, learns=learns), []).append(node)
    return [
        ChoiceSite(
            key,
            nodes[0],
            algorithms.by_rule(nodes[0], learns=learns),
            tuple(dict.fromkeys(node.scope for node in nodes if node.scope)),
            len(nodes),
        )
        for key, nodes in same.items()
    ]


def candidates(sites: Sequence[ChoiceSite], threads: int, *, learns: bool) -> tuple[list[ChoiceSite], list[Program]]:
    """The sites with their algorithms, and a program for each number of one, of the sites that have so many.

    Sites have their numbers in all of them.
    """
    if not sites:
        return [], []
    direct = _unit(dict(enumerate(sites)), 0, threads, learns)
    assert direct.plan is not None
    axes = tile_axes(direct.graph, direct.plan)
    found = []
    for i, site in enumerate(sites):
        along = (f"{algorithms.ALONG}{names}" for names in axes.get(f"{SCOPE}{i}", ())[1:])
        found.append(replace(site, names=(*site.names, *along, *algorithms.others(site.node))))
    units = [direct]
    for number in range(1, max(len(site.names) for site in found)):
        those = {i: site for i, site in enumerate(found) if len(site.names) > number}
        units.append(_unit(those, number, threads, learns))
    return found, [_program(unit) for unit in units]


def _unit(sites: Mapping[int, ChoiceSite], number: int, threads: int, learns: bool) -> Unit:
    """The kernels of sites, each by its algorithm of a number, placed in memory."""
    outputs: dict[str, Node] = {}
    for i, site in sites.items():
        read = [_operand(site.node, k, f"{'xw'[k]}{i}", learns) for k in range(2)]
        with at(None, f"{SCOPE}{i}"):
            node = site.node.op(*read, **site.node.attrs)
        rank = len(node.shape)
        outputs[f"y{i}"] = ops.slice_(node, start=(0,) * rank, stop=(1,) * rank, step=(1,) * rank)
    trial = {algorithms.key_of(site.node, learns=False): site.names[number] for site in sites.values()}
    # Sites stay apart: small kernels of several would be one, whose time is nobody's.
    apart = [f"{SCOPE}{i}" for i in sites]
    how = Choices(nofuse=apart, threads=threads, arch=CPU, measured=Measured(trial=trial))
    return manager.run(Unit(Graph(outputs), how), pipeline.LOWER["c"])


def _operand(node: Node, k: int, name: str, learns: bool) -> Node:
    """What stands for an operand of a site: weights, an input of the net, or values that a layer makes."""
    x, turns = node.inputs[k], list[tuple[int, ...]]()
    weights = Prepared()(x) if node.op is ops.dot else k == 1 and node.op is not ops.conv_weight_grad
    if node.op is ops.dot:
        turns = list(algorithms.turned(x))
        for _ in turns:
            x = x.inputs[0]
    made = _stand_in(x, name, learns, weights=weights)
    for perm in reversed(turns):
        made = ops.transpose(made, perm=perm)
    return made


def _stand_in(x: Node, name: str, learns: bool, *, weights: bool) -> Node:
    """What lies in memory as a value does. weights: it depends on the state alone."""
    shape = tuple(map(int, x.shape))
    if weights:
        # Weights that learn are packed and transformed in each step, others once.
        made = ops.input_ if learns else ops.param
        return made(name=name, shape=shape, dtype=x.dtype)
    if x.op is ops.input_:
        return ops.input_(name=name, shape=shape, dtype=x.dtype)
    one = ops.input_(name=name, shape=(1, *shape[1:]), dtype=x.dtype)
    return ops.exp(ops.broadcast(one, shape=shape))


def _program(unit: Unit) -> Program:
    assert unit.plan is not None
    return emit(unit.graph, unit.plan, name="candidates", target="c")


def stopwatch(programs: Sequence[Program], budget: float, clock: Callable[[], float] = time.perf_counter) -> Times:
    """The seconds of sites on this machine. See `Stopwatch`."""
    rng = np.random.default_rng(0)
    types = {**programs[0].inputs, **programs[0].state}
    values = {name: rng.standard_normal(tuple(map(int, t.shape)), np.float32) * 0.1 for name, t in types.items()}
    state = State([StateInfo(name, t, "statistic", buffer=name) for name, t in programs[0].state.items()])
    for name in programs[0].state:
        np.copyto(state.buffers[name], values[name])
    state.touch()
    loaded = [(Executable(p, state), {name: values[name] for name in p.inputs}) for p in programs]
    found: list[dict[int, list[float]]] = [{} for _ in programs]
    start = clock()
    for turn in range(WARM + MOST):
        for k in range(len(loaded)):
            k = (k + turn) % len(loaded)  # no candidate always follows the same one
            for number, seconds in _of_sites(*loaded[k]).items():
                if turn >= WARM:
                    found[k].setdefault(number, []).append(seconds)
        spent = clock() - start
        if turn > WARM and spent > budget:
            break
        if turn >= WARM + LEAST - 1 and spent > ENOUGH and _agree(found):
            break
    return found


def _of_sites(exe: Executable, feeds: Mapping[str, Any]) -> dict[int, float]:
    """The seconds of the kernels of each site."""
    found: dict[int, float] = {}
    for launch, seconds in exe.timed(feeds):
        for layer in launch.layers:
            number = int(layer.removeprefix(SCOPE))
            found[number] = found.get(number, 0.0) + seconds
    return found


def _agree(found: Times) -> bool:
    """Whether the least time of each candidate was met twice, so that it is no round that others disturbed."""
    least = [{number: min(seconds) for number, seconds in of.items()} for of in found]
    best = {number: min(of[number] for of in least if number in of) for of in least for number in of}
    return all(
        least[k][number] > NEAR * best[number] or _second(seconds) < AGREE * least[k][number]
        for k, of in enumerate(found)
        for number, seconds in of.items()
    )


def _second(seconds: Sequence[float]) -> float:
    return sorted(seconds)[:2][-1]


def _best(times: Mapping[str, Sequence[float]], rule: str) -> str:
    """The fastest, by the least time; the rule's where that is not clearly slower in both of their two best rounds."""
    best = min(times, key=lambda name: min(times[name]))
    clear = all(of(times[best]) < GAIN * of(times[rule]) for of in (min, _second))
    return best if clear else rule
