"""The pipelines: which passes run, and in what order, from the builder's graph to one that is ready to be fused.

train     gradient, update or accumulate, flatten, simplify       a training step
apply     simplify                                                the update after accumulating steps
gradients gradient, flatten, simplify                             gradients as outputs, nothing learned
test      erase surrogate, flatten, simplify, fold weights        values only
"""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler.graph import Graph
from ..compiler.net import OBJECTIVE
from ..compiler.program import StateInfo, Use
from .flatten import flatten, learned
from .gradient import erase_surrogate, gradient
from .manager import Pipeline
from .simplify import simplify
from .update import accumulate, update
from .weights import fold_weights


def train(
    graph: Graph, solver: Use, layout: Sequence[StateInfo], *, clip: float | None = None, batches: int = 1
) -> Pipeline:
    """The passes that make a training step of a net built in training mode.

    batches: how many steps share one update; above 1 a step only accumulates, and `update.apply` makes the other graph.
    """
    read = [info.name for info in learned(layout) if info.name in graph.params]
    learn = update(solver, layout, clip=clip) if batches == 1 else accumulate(layout)
    return (
        ("gradient", gradient(read)),
        ("update" if batches == 1 else "accumulate", learn),
        ("flatten", flatten(layout)),
        ("simplify", simplify),
    )


def apply() -> Pipeline:
    """The passes over the graph of `update.apply`."""
    return (("simplify", simplify),)


def gradients(wrt: Sequence[str], layout: Sequence[StateInfo], *, objective: str = OBJECTIVE) -> Pipeline:
    """The passes that add `<name>.grad` outputs for inputs and parameters, and learn nothing."""
    return (("gradient", gradient(wrt, objective)), ("flatten", flatten(layout)), ("simplify", simplify))


def test(layout: Sequence[StateInfo]) -> Pipeline:
    """The passes over a net built in test mode; what depends on state alone may then be computed once."""
    return (
        ("erase surrogate", erase_surrogate),
        ("flatten", flatten(layout)),
        ("simplify", simplify),
        ("fold weights", fold_weights),
    )
