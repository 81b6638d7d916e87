"""Pass pipelines: which passes run, and in what order, from the builder's graph to the memory plan.

train     gradient, update or accumulate, flatten, simplify       a training step
apply     simplify                                                the update after accumulating steps
gradients gradient, flatten, simplify                             gradients as outputs, nothing learned
test      erase surrogate, flatten, simplify, fold weights        values only

Where a layer computes in 16 bits, `precision` ends each of them but `apply`. Then come the stages of a target: `LOWER`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..compiler.graph import Graph, GraphError, Node
from ..compiler.net import OBJECTIVE
from ..compiler.program import StateInfo
from ..compiler.spec import Use
from .lowering import stages
from .lowering.stages import NESTS, TILES
from .manager import Lowering, Pass, Pipeline
from .rules.fold_weights import fold_weights
from .rules.simplify import simplify
from .training.flatten import flatten, learned
from .training.gradient import erase_surrogate, gradient
from .training.precision import Types, precision
from .training.scaling import Scaling, fixed_scale, scale_of, unscale
from .training.update import accumulate, update
from .unit import Unit

# From a graph of primitives to kernels that are placed in memory, for each target. The last stage is the memory plan.
LOWER: dict[str, Lowering] = {
    "numpy": (
        ("materialize", stages.materialize),
        ("fuse", stages.fuse(TILES)),
        ("schedule", stages.tile),
        ("plan", stages.plan),
    ),
    "c": (
        ("algorithms", stages.choose_algorithms),
        ("pack_weights", stages.copy_weights),
        ("join_ranges", stages.join_ranges),
        ("materialize", stages.materialize),
        ("recompute", stages.recompute),
        ("fuse", stages.fuse(NESTS)),
        ("layout", stages.layout),
        ("weight_layout", stages.lay_weights),
        ("tiles", stages.lay_tiles),
        ("plan", stages.plan),
    ),
    "triton": (
        ("pad_channels", stages.pad_channels),
        ("pack_weights", stages.pack_weights),
        ("join_ranges", stages.join_ranges),
        ("materialize", stages.materialize),
        ("recompute", stages.recompute),
        ("fuse", stages.fuse(NESTS)),
        ("layout", stages.layout),
        ("schedule", stages.schedule),
        ("split", stages.split),
        ("plan", stages.plan),
    ),
}


def _gradient(graph: Graph) -> Graph:
    """Add the gradients by all inputs and parameters of floats, and erase `surrogate`."""
    if OBJECTIVE not in graph.outputs:
        raise GraphError(f"no gradient: the graph returns no {OBJECTIVE}")
    return gradient(sorted(name for name, x in {**graph.params, **graph.inputs}.items() if x.type.is_float))(graph)


# Passes that need nothing beside a graph: `netc opt` runs these, and the stages of lowering.
ALONE: Pipeline = (
    ("gradient", _gradient),
    ("erase surrogate", erase_surrogate),
    ("simplify", simplify),
    ("fold weights", fold_weights),
)


def plain(name: str) -> str:
    """The name of a stage as one word: `fold weights` and `fold-weights` are `fold_weights`."""
    return name.replace(" ", "_").replace("-", "_")


def alone(target: str) -> Lowering:
    """The stages that a unit can go through, whatever it comes from, by their names as one word."""

    def lifted(apply: Pass) -> Callable[[Unit], Unit]:
        return lambda unit: replace(unit, graph=apply(unit.graph))

    return (*((plain(name), lifted(apply)) for name, apply in ALONE), *LOWER[target])


def train(
    graph: Graph,
    solver: Use,
    layout: Sequence[StateInfo],
    *,
    clip: float | None = None,
    batches: int = 1,
    parts: int = 1,
    types: Types | None = None,
    scaling: Scaling | None = None,
    shown: Mapping[str, Node] | None = None,
    regions: Mapping[str, int] | None = None,
) -> Pipeline:
    """The passes that make a training step of a net built in training mode.

    batches: how many steps share one update; parts: in how many a batch is cut. Above 1 a step only makes gradients,
    and `update.apply` makes the other graph.
    types: those of the layers, where any is of 16 bits. scaling: of the loss, for f16. shown: values by name whose
    gradients are outputs as well. regions: layers that are recomputed.
    """
    shown = shown or {}
    read = [info.name for info in learned(layout) if info.name in graph.params]
    wrt = list(dict.fromkeys((*read, *shown)))
    whole = batches == parts == 1
    apart = accumulate(layout, batches=batches, scaling=scaling, shown=shown, finite=parts > 1)
    learn = update(solver, layout, clip=clip, scaling=scaling, shown=shown) if whole else apart
    return (
        ("gradient", gradient(wrt, scale=scale_of if scaling else None, values=shown, regions=regions)),
        ("update" if whole else "accumulate", learn),
        ("flatten", flatten(layout)),
        ("simplify", simplify),
        *_narrowed(types),
    )


def _narrowed(types: Types | None) -> Pipeline:
    return () if types is None else (("precision", precision(types)),)


def apply() -> Pipeline:
    """The passes over the graph of `update.apply`."""
    return (("simplify", simplify),)


def gradients(
    wrt: Sequence[str],
    layout: Sequence[StateInfo],
    *,
    objective: str = OBJECTIVE,
    types: Types | None = None,
    values: Mapping[str, Node] | None = None,
    regions: Mapping[str, int] | None = None,
) -> Pipeline:
    """The passes that add `<name>.grad` outputs for inputs, parameters and `values`, and learn nothing."""
    scaled = types is not None and "f16" in types.narrow
    return (
        (
            "gradient",
            gradient(wrt, objective, scale=fixed_scale if scaled else None, values=values, regions=regions),
        ),
        *((("unscale", unscale(wrt)),) if scaled else ()),
        ("flatten", flatten(layout)),
        ("simplify", simplify),
        *_narrowed(types),
    )


def test(layout: Sequence[StateInfo], *, types: Types | None = None) -> Pipeline:  # noqa: PT028  (no test of pytest's)
    """The passes over a net built in test mode; what depends on state alone may then be computed once."""
    return (
        ("erase surrogate", erase_surrogate),
        ("flatten", flatten(layout)),
        ("simplify", simplify),
        ("fold weights", fold_weights),
        *_narrowed(types),
    )
