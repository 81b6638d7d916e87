"""Pass manager: a pipeline is a table of names and passes; between them the graph is verified, timed and shown.

A pass gets a valid graph and leaves a valid graph: it changes no node, reads no file and keeps nothing from one call to
the next. Stages of lowering are passes over units, which hold a graph. Whatever wants to look in (printing a stage,
timing, tests of equality) is an observer, not a part of a pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..compiler.fault import Fault
from ..compiler.graph import Graph, GraphError, Node
from ..compiler.ops import TypeRuleError
from ..compiler.text import print_graph
from ..grammar.source import SourceError, SourceErrors, UserError
from .unit import Unit

Pass = Callable[[Graph], Graph]
# Name and pass, in the order in which they run.
Pipeline = tuple[tuple[str, Pass], ...]
Lowering = tuple[tuple[str, Callable[[Unit], Unit]], ...]
Passed = TypeVar("Passed", Graph, Unit)


# What a user did or the machine lacks: no fault of a pass.
OTHERS = (UserError, SourceError, SourceErrors, MemoryError, OSError)


class PassFailed(Fault, GraphError):
    """A pass that failed, or that left what is no graph. `graph` is the text of what it was given."""


@contextmanager
def guarded(what: str, before: Graph | Unit) -> Iterator[None]:
    """The context of what works on a graph: what it raises becomes a PassFailed, unless it is no fault of netc."""
    try:
        yield
    except (*OTHERS, Fault):
        raise
    except TypeRuleError as error:
        raise PassFailed(f"{what} made an ill-typed node: {error.message}", _text(before)) from error
    except Exception as error:
        raise PassFailed(f"{what} failed: {type(error).__name__}: {error}", _text(before)) from error


def _text(before: Graph | Unit) -> str:
    """The text of a graph, as far as it can be printed."""
    try:
        return before.text() if isinstance(before, Unit) else print_graph(before)
    except Exception as error:  # a graph that breaks rules may have no text; what broke it is to be told
        return f"# the graph cannot be printed: {type(error).__name__}: {error}\n"


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
    not counted. Raises PassFailed where a pass fails, or leaves a graph that breaks a rule.
    """
    known: set[Node] = set()
    if verify:
        graph.verify(known)
    for name, apply in passes:
        before = graph
        start = time.perf_counter()
        with guarded(f"the pass {name}", before):
            graph = apply(before)
        seconds = time.perf_counter() - start
        if verify:
            try:
                graph.verify(known)
            except (GraphError, TypeRuleError) as error:
                raise PassFailed(f"the pass {name} left an invalid graph: {error}", _text(before)) from error
        if observe is not None:
            observe(Stage(name, (apply.__doc__ or "").partition("\n")[0], before, graph, seconds))
    return graph
