"""The solver as graph: the next parameters and histories from the gradients, over ranges of flat buffers.

Order of one update, as in Caffe's `SGDSolver::ApplyUpdate`: clip the sum of gradients by its norm, divide it by the
number of accumulated batches, add the decay, apply the formula. All of it is elementwise work over the ranges of
`.parameters` that `flatten` lays out, and one reduction for the norm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ...compiler import expr, ops
from ...compiler.graph import Graph, Node
from ...compiler.net import RATE, STEP
from ...compiler.program import StateInfo
from ...compiler.spec import Filler, Use
from ...compiler.types import TensorType
from ..manager import Pass
from .flatten import PARAMETERS, Range, learned, length, part, ranges, share
from .formulas import FORMULAS, Scalars
from .gradient import GRADIENT
from .scaling import OverflowGuard, Scaling, scale_of, scaling_state

HISTORY = ".history"
GRADIENTS = ".gradients"
FINITE = ".finite"


def update(
    solver: Use,
    layout: Sequence[StateInfo],
    *,
    clip: float | None = None,
    scaling: Scaling | None = None,
    shown: Collection[str] = (),
) -> Pass:
    """A pass that turns the gradients of the learned parameters into the updates of a training step.

    It consumes the outputs `<parameter>.grad` (a parameter without one has the gradient 0) and adds the next values of
    `.parameters`, `.history0`, `.history1` and `.step`; the input `.rate` is the rate of this step. clip: the largest
    global L2 norm of the gradient. scaling: the gradients are those of a scaled loss. shown: names whose gradients stay
    outputs, as they are of the loss.
    """

    def run(graph: Graph) -> Graph:
        """Add the solver's update."""
        outputs, gradients = _collected(graph, layout, shown, scale_of(graph) if scaling else None)
        step = _counter(graph)
        guard = OverflowGuard(gradients, scale_of(graph)) if scaling and gradients is not None else None
        state = _solve(solver, layout, gradients, clip=clip, batches=1, time=_real(step) + 1.0, guard=guard)
        if guard is None or scaling is None:
            return graph.with_roots(outputs, {**graph.updates, **state, STEP: step + 1})
        kept = guard.updates(graph, {STEP: step + 1})
        return graph.with_roots(outputs, {**kept, **state, **guard.next(scaling)})

    return run


def accumulate(
    layout: Sequence[StateInfo],
    *,
    batches: int = 2,
    scaling: Scaling | None = None,
    shown: Collection[str] = (),
    finite: bool = False,
) -> Pass:
    """A pass after which a program adds its gradients to `.gradients`, and counts its batch in `.step`.

    batches: that share an update; one writes `.gradients`, with nothing to add to. scaling: the gradients are those of
    a scaled loss. A batch whose gradients are not finite leaves running statistics alone, but is counted and added, so
    that the update sees it; finite: whether they are, as the output `.finite`, 0 or 1. shown: names whose gradients
    stay outputs.
    """

    def run(graph: Graph) -> Graph:
        """Add the gradients to those of the batches before."""
        outputs, gradients = _collected(graph, layout, shown, scale_of(graph) if scaling else None)
        if gradients is None:
            return graph.with_roots(outputs)
        updates = graph.updates
        if scaling:
            scale = scale_of(graph)
            guard = OverflowGuard(gradients, scale)
            updates = guard.updates(graph, {})
            gradients = gradients * (1.0 / scale)
            outputs = {**outputs, FINITE: ops.cast(guard.finite, dtype="f32")} if finite else outputs
        summed = _flat(GRADIENTS, layout) + gradients if batches > 1 else gradients
        return graph.with_roots(outputs, {**updates, GRADIENTS: summed, STEP: _counter(graph) + 1})

    return run


def apply(
    solver: Use,
    layout: Sequence[StateInfo],
    *,
    batches: int,
    clip: float | None = None,
    scaling: Scaling | None = None,
    parts: int = 1,
    owner: tuple[int, int] | None = None,
) -> Graph:
    """The graph that follows `batches` accumulating steps: the update by `.gradients`, which become zero if added to.

    `.step` counts batches, so that each draws its own random numbers: the solver's time is a `batches`-th of it.
    parts: of a batch, of which `.gradients` is the sum; their mean is what is clipped and taken.
    owner: the process, and of how many, whose share is updated; all gradients are read for their norm.
    """
    if not learned(layout):
        return Graph({})
    gradients = _flat(GRADIENTS, layout) * (1.0 / parts) if parts > 1 else _flat(GRADIENTS, layout)
    time = _real(_counter(Graph({}))) * (1.0 / batches)
    guard = OverflowGuard(gradients, scale_of(Graph({})), scaled=False) if scaling else None
    own, start = (layout, 0) if owner is None else share(layout, *owner)
    state = _solve(solver, own, gradients, clip=clip, batches=batches, time=time, guard=guard, start=start)
    more = guard.next(scaling) if guard and scaling else {}
    empty = {GRADIENTS: expr.zeros(gradients.type)} if batches > 1 else {}
    return Graph({}, {**state, **empty, **more})


def solver_state(
    solver: Use,
    layout: Sequence[StateInfo],
    *,
    batches: int = 1,
    scaling: Scaling | None = None,
    parts: int = 1,
) -> tuple[StateInfo, ...]:
    """What a solver keeps between steps: histories, `.gradients` where these come from several batches, `.step`.

    scaling: then also the scale of the loss, and the count of good steps. parts: of a batch.
    """
    flat = TensorType((length(layout),), "f32")
    names = [f"{HISTORY}{i}" for i in range(FORMULAS[solver.name].histories(solver))] if learned(layout) else []
    zero = Filler("constant", (("value", 0.0),))
    kept = [StateInfo(name, flat, "history", zero, buffer=name) for name in names]
    if max(batches, parts) > 1 and learned(layout):
        kept.append(StateInfo(GRADIENTS, flat, "gradient", zero, buffer=GRADIENTS))
    if all(info.name != STEP for info in layout):
        kept.append(StateInfo(STEP, TensorType((), "i64"), "counter", zero, buffer=STEP))
    if scaling and learned(layout):
        kept += scaling_state(scaling)
    return tuple(kept)


def owned(solver: Use, layout: Sequence[StateInfo], owner: tuple[int, int]) -> tuple[tuple[StateInfo, ...], int]:
    """The pieces of parameters that one of several processes updates, its histories, and where the pieces begin."""
    own, start = share(layout, *owner)
    return (*own, *(info for info in solver_state(solver, own) if info.kind == "history")), start


def _counter(graph: Graph) -> Node:
    """`.step`, which dropout may read already."""
    return graph.params.get(STEP) or ops.param(name=STEP, shape=(), dtype="i64")


def _real(step: Node) -> Node:
    # In double precision: 1 - momentum2^t loses four digits in single precision while t is small.
    return ops.cast(step, dtype="f64")


def _flat(name: str, layout: Sequence[StateInfo]) -> Node:
    return ops.param(name=name, shape=(length(layout),), dtype="f32")


def _collected(
    graph: Graph, layout: Sequence[StateInfo], shown: Collection[str], scale: Node | None
) -> tuple[Mapping[str, Node], Node | None]:
    """The outputs with no gradients but those shown, divided by the scale; and those of parameters end to end."""
    kept = {name + GRADIENT for name in shown}
    names = {info.name + GRADIENT for info in learned(layout)}
    outputs = {name: node for name, node in graph.outputs.items() if name in kept or name not in names}
    if scale is not None:
        outputs |= {name: outputs[name] * expr.cast(1.0 / scale, outputs[name].dtype) for name in kept}
    parts: list[Node] = []
    for info in learned(layout):
        grad = graph.outputs.get(info.name + GRADIENT)
        grad = expr.zeros(info.type) if grad is None else grad
        parts.append(expr.reshape(grad, (info.type.count,)))
    if not parts:
        return outputs, None
    return outputs, parts[0] if len(parts) == 1 else ops.concat(*parts, axis=0)


def _factor(gradients: Node, clip: float | None, guard: OverflowGuard | None) -> Node | None:
    """What to multiply gradients by, so that they are those of the loss and their norm is at most `clip`."""
    inverse = guard.inverse if guard else None
    if clip is None:
        return inverse
    norm = ops.sqrt(expr.sum(gradients * gradients))
    norm = norm if inverse is None else norm * inverse
    clipped = clipping(norm, clip)
    return clipped if inverse is None else clipped * inverse


def clipping(norm: Node, clip: float) -> Node:
    """What to multiply gradients of a norm by, so that it is at most `clip`."""
    return expr.where(expr.less(clip, norm), expr.div(clip, norm), expr.constant(1.0, norm))


def change(
    solver: Use, w: Node, g: Node, histories: tuple[Node, ...], *, scale: Node | None, scalars: Scalars
) -> tuple[Node, tuple[Node, ...]]:
    """What a solver takes from w, and the next histories. g: the gradient before it is scaled and decays."""
    formula = FORMULAS[solver.name]
    if scale is not None:
        g = g * scale
    if scalars.decay and not formula.decoupled:
        g = g + (expr.sign(w) if solver.get("decay") == "l1" else w) * scalars.decay
    return formula.step(scalars, w, g, histories)


@dataclass(frozen=True)
class _Flat:
    parameters: Node
    gradients: Node
    histories: tuple[Node, ...]
    start: int = 0  # of the parameters in the gradients

    def part(self, of: Range) -> _Flat:
        return _Flat(
            part(self.parameters, of.start, of.stop),
            part(self.gradients, self.start + of.start, self.start + of.stop),
            tuple(part(h, of.start, of.stop) for h in self.histories),
        )


def _solve(
    solver: Use,
    layout: Sequence[StateInfo],
    gradients: Node | None,
    *,
    clip: float | None,
    batches: int,
    time: Node,
    guard: OverflowGuard | None,
    start: int = 0,
) -> dict[str, Node]:
    """The next values of `.parameters` and the histories. start: of these in the gradients."""
    if gradients is None:
        return {}
    formula = FORMULAS[solver.name]
    rate = ops.input_(name=RATE, shape=(), dtype="f32")
    names = [f"{HISTORY}{i}" for i in range(formula.histories(solver))]
    flat = _Flat(_flat(PARAMETERS, layout), gradients, tuple(_flat(name, layout) for name in names), start)
    scale = _factor(gradients, clip, guard)
    if batches > 1:
        scale = expr.constant(1.0 / batches, rate) if scale is None else scale * (1.0 / batches)
    weight_decay = float(solver.get("weight_decay", 0.0))
    parameters: list[Node] = []
    histories: list[tuple[Node, ...]] = []
    for group in ranges(layout):
        at = flat.part(group)
        w = at.parameters
        scalars = Scalars(solver, rate * group.lr, time, weight_decay * group.decay)
        step, kept = change(solver, w, at.gradients, at.histories, scale=scale, scalars=scalars)
        new = [w - step, *kept]
        if guard:
            # Within each range, so that what is new is written over what was.
            new = [guard.only(value, old) for value, old in zip(new, (w, *at.histories), strict=True)]
        parameters.append(new[0])
        histories.append(tuple(new[1:]))
    joined = [_joined(parts) for parts in zip(*histories, strict=True)]
    return {PARAMETERS: _joined(parameters), **dict(zip(names, joined, strict=True))}


def _joined(parts: Sequence[Node]) -> Node:
    return parts[0] if len(parts) == 1 else ops.concat(*parts, axis=0)
