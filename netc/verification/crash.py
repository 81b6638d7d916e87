"""Fault isolation for a target that fails: which kernel it is that cannot be written, or cannot be run.

A program tells no kernel when it fails, so its kernels are tried one by one, on the operands that the oracle computes:
the first that fails in the same way alone is the one. What a user did, or what the machine lacks, is no such fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..compiler import ops
from ..compiler.codegen.names import origins
from ..compiler.fault import Unproved
from ..compiler.graph import Graph, Node
from ..compiler.interpret import evaluate
from ..driver import Compilation
from ..grammar.source import SourceError, SourceErrors, UserError
from ..passes.manager import PassFailed
from ..passes.unit import Unit
from .proved import ProofFault
from .target import Array, execute, kernels_of

T = TypeVar("T")
TOLD = 200  # characters of an error
# What the caller did or the machine lacks; everything else that a target raises is a fault of it.
OTHERS = (UserError, SourceError, SourceErrors, MemoryError)


@dataclass(frozen=True)
class Crash:
    """A program that could not be made or run. doing: which of these; error: what was raised, in a line.

    kind, layers, places: of the kernel that does it alone; empty where none does.
    """

    doing: str
    program: str
    error: str
    kind: str = ""
    layers: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    def like(self, other: object) -> bool:
        """Whether both are the same failure, of nets that may be others."""
        if not isinstance(other, Crash):
            return False
        ours, theirs = ((one.doing, one.kind, one.error.partition(":")[0]) for one in (self, other))
        return ours == theirs

    def as_dict(self) -> dict[str, Any]:
        """What it adds to the form of any fault in JSON."""
        found = {"station": "crash", "name": self.doing, "kind": self.kind, "layers": list(self.layers)}
        return found | {"program": self.program, "error": self.error}

    def __str__(self) -> str:
        if not self.kind:
            return f"the program, {self.program}, cannot be {self.doing} (each kernel alone can): {self.error}"
        of = f" of {', '.join(self.layers)}" if self.layers else ""
        places = f" ({', '.join(self.places)})" if self.places else ""
        return f"the {self.kind} kernel{of}{places}, {self.program}, cannot be {self.doing}: {self.error}"


class Crashed(Exception):
    """A target failed, or a proof did; `crash` is the finding."""

    def __init__(self, crash: Crash | ProofFault) -> None:
        super().__init__(str(crash))
        self.crash = crash


def guarded(made: Compilation, graph: Graph, feeds: Mapping[str, Array], title: str, act: Callable[[Unit], T]) -> T:
    """What `act` makes of the kernels of a graph; raises Crashed with the kernel named where the target fails."""
    try:
        kernels = made.fuse(graph)
    except OTHERS:
        raise
    except Exception as error:
        raise Crashed(Crash("fused", title, _line(error))) from error
    try:
        return act(kernels)
    except OTHERS:
        raise
    except Unproved as error:
        layers, _ = made.whose(error.layers, error.places)
        raise Crashed(ProofFault(error, title, layers)) from error
    except Exception as error:
        raise Crashed(_traced(made, kernels, feeds, error, title)) from error


def _traced(made: Compilation, kernels: Unit, feeds: Mapping[str, Array], error: Exception, title: str) -> Crash:
    """The fault with the kernel that fails alone in the same way."""
    if _usable(made):
        for kernel, alone, operands in _alone(kernels, feeds):
            doing = "written"
            try:
                program = made.lower(alone)
                doing = "run"
                execute(made, program, {**feeds, **operands})
            except Exception as own:
                if _signature(own) == _signature(error):
                    layers, places = made.whose(*origins(kernel.attrs["body"]))
                    return Crash(doing, title, _line(own), kernel.attrs["kind"], layers, places)
    return Crash("made and run", title, _line(error))


def _usable(made: Compilation) -> bool:
    """Whether kernels can still be tried: a GPU on which one failed may refuse everything from then on."""
    cuda = made.request.choice.open()
    try:
        if cuda is not None:
            cuda.check()
    except Exception:  # whatever the driver says
        return False
    return True


def _alone(kernels: Unit, feeds: Mapping[str, Array]) -> Iterator[tuple[Node, Unit, dict[str, Array]]]:
    """Each kernel in a graph of its own, with inputs in the place of its operands, and the oracle's values of these."""
    known: dict[Node, Array] = {}

    def value(node: Node) -> Array:
        if node not in known:
            if node.op in (ops.input_, ops.param):
                known[node] = feeds[node.attrs["name"]].reshape(node.shape)
            else:  # a view
                known[node] = node.op.numpy(*(value(x) for x in node.inputs), **node.attrs)
        return known[node]

    for kernel, items in kernels_of(kernels.graph):
        operands = {f"in{i}": value(x) for i, x in enumerate(kernel.inputs)}
        places = {f"in{i}": (tuple(map(int, x.shape)), x.dtype) for i, x in enumerate(kernel.inputs)}
        inputs = [ops.input_(name=name, shape=shape, dtype=dtype) for name, (shape, dtype) in places.items()]
        own = kernel.with_inputs(inputs)
        outputs = {f"out{i}": ops.item(own, **item.attrs) for i, item in items.items()}
        orders = kernels.orders and {outputs[f"out{i}"]: kernels.orders[item] for i, item in items.items()}
        yield kernel, replace(kernels, graph=Graph(outputs), orders=orders), operands
        results, _ = evaluate(kernel.attrs["body"], operands)
        for i, item in items.items():
            known[item] = [*results.values()][i].reshape(item.shape)


def _line(error: Exception) -> str:
    """An error in a line: its first, and where others follow, its last, which says what was raised inside."""
    error = _raised(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    told = lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"
    return f"{type(error).__name__}: {told}"[:TOLD].rstrip(": ")


def _signature(error: Exception) -> tuple[Any, ...]:
    """What two errors of one cause have in common: the numbers and names in their texts may differ.

    The last line says what was raised inside where the first one ends in a colon. Else it is whatever a process that
    ended has ever written, which may be a warning from long before.
    """
    error = _raised(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return type(error), lines[-1].partition(":")[0] if lines[0].endswith(":") else ""


def _raised(error: Exception) -> Exception:
    """What was raised in a pass, where that is known."""
    cause = error.__cause__ if isinstance(error, PassFailed) else None
    return cause if isinstance(cause, Exception) else error
