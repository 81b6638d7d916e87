"""Algorithm selection by timing: each way to compute a convolution of a net runs on this processor; the best is kept.

For each number of a candidate there is a program of C in which every node that has a choice is computed so, by itself:
its data are made from one image by a kernel before it, so they lie in memory as activations do and are as warm as what
a layer has just written, and one element of its result is looked at, so its memory serves the next node. All nodes run
in turn, as in a step, and the programs run in turns; so what else the machine does meets all alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..compiler import ops
from ..compiler.codegen import emit
from ..compiler.graph import Graph, Node, at
from ..compiler.program import Program, StateInfo
from ..driver import Compilation
from ..grammar.source import UserError
from ..machine import microarchitecture
from ..passes import manager, pipeline
from ..passes.lowering import algorithms
from ..passes.lowering.measured import CPU, Measured, TuningEntry, TuningKey, TuningTable, plain, shape_text
from ..passes.unit import Choices, Unit
from ..report.tables import Table as Shown
from ..runtime.executable import Executable
from ..runtime.state import State

GAIN = 0.98  # what is faster than the rule's choice by less is noise
WARM, LEAST, MOST = 1, 7, 60  # rounds: not counted, at least, at most
ENOUGH = 4.0  # seconds of rounds after which those that there are suffice
SCOPE = "site"


@dataclass(frozen=True)
class ChoiceSite:
    """A node that can be computed in several ways, by the hash under which a file knows it.

    layers: that have such nodes. uses: how many nodes there are in a step.
    """

    key: str
    node: Node
    names: tuple[str, ...]
    rule: str
    layers: tuple[str, ...]
    uses: int


class Stopwatch(Protocol):
    """What times programs: for each program and each site, by its number, the seconds in each of some rounds.

    budget: seconds that all of them may take.
    """

    def __call__(self, programs: Sequence[Program], budget: float) -> Sequence[Sequence[Sequence[float]]]: ...


@dataclass(frozen=True)
class Timing:
    """One way to compute a site: microseconds of all its kernels, the least and the lower quartile of the rounds."""

    algorithm: str
    us: float
    quartile: float


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
            "candidates": [{"algorithm": c.algorithm, "us": c.us, "us_quartile": c.quartile} for c in self.candidates],
            "rule": site.rule,
            "chosen": self.chosen,
        }


@dataclass(frozen=True)
class Algorithms:
    """What was measured. table: an entry for every site."""

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
    """Measure what the convolutions of a program can be computed by. watch: what times; without it this machine.

    budget: seconds of rounds, at most. UserError where there is no compiler, or direct sums are all that is wanted.
    """
    if made.request.numbers.direct:
        raise UserError("--direct sums all convolutions directly, so there is nothing to measure: leave it out")
    graph, threads = made.alone().simplified, made.threads
    learns = bool(graph.updates)
    found = sites_of(graph)
    programs = candidates(found, threads, learns=learns)
    timed = (watch or stopwatch)(programs, budget) if programs else []
    rows = []
    for number, site in enumerate(found):
        times = {name: timed[k][number] for k, name in enumerate(site.names)}
        each = tuple(Timing(name, min(s) * 1e6, _quartile(s) * 1e6) for name, s in times.items())
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
    return Algorithms(made.net.name, processor, threads, tuple(rows), TuningTable(entries))


def sites_of(graph: Graph) -> list[ChoiceSite]:
    """The sites of a graph of primitives, in its order."""
    learns, same = bool(graph.updates), dict[str, list[Node]]()
    for node in algorithms.sites(graph):
        same.setdefault(algorithms.key_of(node, learns=learns), []).append(node)
    return [
        ChoiceSite(
            key,
            nodes[0],
            algorithms.names(nodes[0]),
            algorithms.by_rule(nodes[0], learns=learns),
            tuple(dict.fromkeys(node.scope for node in nodes if node.scope)),
            len(nodes),
        )
        for key, nodes in same.items()
    ]


def candidates(sites: Sequence[ChoiceSite], threads: int, *, learns: bool) -> list[Program]:
    """A program for each number of a candidate: all sites by that one; those that have fewer, by their last."""
    return [_program(sites, number, threads, learns) for number in range(max((len(s.names) for s in sites), default=0))]


def _program(sites: Sequence[ChoiceSite], number: int, threads: int, learns: bool) -> Program:
    outputs: dict[str, Node] = {}
    trial: dict[str, str] = {}
    for i, site in enumerate(sites):
        x, weight = site.node.inputs
        one = ops.input_(name=f"x{i}", shape=(1, *map(int, x.shape[1:])), dtype=x.dtype)
        # Weights that learn are packed and transformed in each step, others once.
        made = ops.input_ if learns else ops.param
        w = made(name=f"w{i}", shape=tuple(map(int, weight.shape)), dtype=weight.dtype)
        every = ops.exp(ops.broadcast(one, shape=tuple(map(int, x.shape))))
        with at(None, f"{SCOPE}{i}"):
            node = site.node.op(every, w, **site.node.attrs)
        trial[algorithms.key_of(node, learns=False)] = site.names[min(number, len(site.names) - 1)]
        rank = len(node.shape)
        outputs[f"y{i}"] = ops.slice_(node, start=(0,) * rank, stop=(1,) * rank, step=(1,) * rank)
    # Sites stay apart: small kernels of several would be one, whose time is nobody's.
    apart = [f"{SCOPE}{i}" for i in range(len(sites))]
    how = Choices(nofuse=apart, threads=threads, arch=CPU, measured=Measured(trial=trial))
    unit = manager.run(Unit(Graph(outputs), how), pipeline.LOWER["c"])
    assert unit.plan is not None
    return emit(unit.graph, unit.plan, name="candidates", target="c")


def stopwatch(
    programs: Sequence[Program], budget: float, clock: Callable[[], float] = time.perf_counter
) -> list[list[list[float]]]:
    """The seconds of each site in each of some rounds, for each program. See `Stopwatch`."""
    rng = np.random.default_rng(0)
    types = {**programs[0].inputs, **programs[0].state}
    values = {name: rng.standard_normal(tuple(map(int, t.shape)), np.float32) * 0.1 for name, t in types.items()}
    state = State([StateInfo(name, t, "statistic", buffer=name) for name, t in programs[0].state.items()])
    for name in programs[0].state:
        np.copyto(state.buffers[name], values[name])
    state.touch()
    feeds = {name: values[name] for name in programs[0].inputs}
    loaded = [Executable(program, state) for program in programs]
    found: list[list[list[float]]] = [[[] for _ in range(len(programs[0].outputs))] for _ in programs]
    start = clock()
    for turn in range(WARM + MOST):
        for k in range(len(loaded)):
            k = (k + turn) % len(loaded)  # no candidate always follows the same one
            seconds = _of_sites(loaded[k], feeds)
            if turn >= WARM:
                for number, of in enumerate(found[k]):
                    of.append(seconds[number])
        spent = clock() - start
        if turn >= WARM and spent > (budget if turn < WARM + LEAST - 1 else min(ENOUGH, budget)):
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


def _quartile(seconds: Sequence[float]) -> float:
    """The lower quartile: on a machine with other work more than half of the rounds may have been disturbed."""
    return sorted(seconds)[len(seconds) // 4]


def _best(times: Mapping[str, Sequence[float]], rule: str) -> str:
    """The fastest, by the least time; the rule's where that is not clearly slower by the least and the quartile."""
    best = min(times, key=lambda name: min(times[name]))
    clear = all(of(times[best]) < GAIN * of(times[rule]) for of in (min, _quartile))
    return best if clear else rule
