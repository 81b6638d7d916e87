"""Pass manager: a pipeline is a table of names and passes; between them the graph is verified, timed and shown.

A pass gets a valid graph and leaves a valid graph: it changes no node, reads no file and keeps nothing from one call to
the next. Stages of lowering are passes over units, which hold a graph. Whatever wants to look in (printing a stage,
timing, tests of equality) is an observer, not a part of a pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..compiler.graph import Graph, GraphError, Node
from ..compiler.ops import TypeRuleError
from .unit import Unit

Pass = Callable[[Graph], Graph]
# Name and pass, in the order in which they run.
Pipeline = tuple[tuple[str, Pass], ...]
Lowering = tuple[tuple[str, Callable[[Unit], Unit]], ...]
Passed = TypeVar("Passed", Graph, Unit)


@dataclass(frozen=True)
class Stage(Generic[Passed]):
    """What an observer sees after each pass: its name, the graphs (or units) around it, and the seconds it took.

    what: the pass does, the first line of its docstring.
    """

    name: str
    what: str
    before: Passed
    after: Passed
    seconds: float


def run(
    graph: Passed,
    passes: Iterable[tuple[str, Callable[[Passed], Passed]]],
    observe: Callable[[Stage[Passed]], None] | None = None,
    *,
    verify: bool = True,
) -> Passed:
    """The graph (or unit) after all passes, in order.

    observe: called after each pass. verify: check the graph before the first pass and after each; the time it takes is
    not counted. Raises GraphError, with the name of the pass, where a pass leaves a graph that breaks a rule.
    """
    known: set[Node] = set()
    if verify:
        graph.verify(known)
    for name, apply in passes:
        before = graph
        start = time.perf_counter()
        try:
            graph = apply(before)
        except TypeRuleError as error:
            raise GraphError(f"pass {name} made an ill-typed node: {error.message}") from error
        seconds = time.perf_counter() - start
        if verify:
            try:
                graph.verify(known)
            except (GraphError, TypeRuleError) as error:
                raise GraphError(f"pass {name} left an invalid graph: {error}") from error
        if observe is not None:
            observe(Stage(name, (apply.__doc__ or "").partition("\n")[0], before, graph, seconds))
    return graph
