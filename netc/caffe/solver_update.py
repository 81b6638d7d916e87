"""The update of a solver of Caffe's as a program: tensor by tensor, so that diffs hold what was taken from the values.

The formulas are those of `netc train` (`passes/training`); what differs is where things lie. Order and arithmetic are
of Caffe's `SGDSolver::ApplyUpdate`: clip the sum of gradients, divide it by `iter_size`, decay, formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler import expr, ops
from ..compiler.caffe.solvers import POLICIES, SOLVERS
from ..compiler.graph import Graph, Node
from ..compiler.net import RATE
from ..compiler.program import StateInfo
from ..compiler.spec import Use
from ..grammar.caffe.message import Message
from ..grammar.source import SourceError, SourceErrors, suggest
from ..passes.training.formulas import FORMULAS, Scalars
from ..passes.training.update import change, clipping
from ..runtime.executable import Executable
from .core import ZERO, Core
from .rows import ParamSlot
from .segment import compiled

Array = npt.NDArray[Any]
TIME = ".time"  # the updates that are done


@dataclass(frozen=True)
class Plan:
    """What a SolverParameter says of updates. type: Caffe's name of the solver."""

    type: str
    solver: Use
    schedule: Use
    clip: float | None
    batches: int

    @property
    def histories(self) -> int:
        """How many each parameter has; Caffe's SGD keeps one without a momentum, too."""
        return max(FORMULAS[self.solver.name].histories(self.solver), 1)


def plan_of(message: Message, type_: str) -> Plan:
    """The plan of a solver; SourceErrors for a type, a policy or a regularization that there is not."""
    ours, fields = _known(message, "type", type_, SOLVERS)
    policy = message.get("lr_policy")
    names = _known(message, "lr_policy", policy, POLICIES)
    how = _known(message, "regularization_type", message.get("regularization_type"), {"L2": "l2", "L1": "l1"})
    if message.get("momentum") and "momentum" not in fields:
        place = message.place("momentum")
        raise SourceErrors([SourceError("E720", f"{type_} has no momentum", place, "leave it out")])
    settings = {name: float(message.get(name)) for name in fields}
    settings |= {"lr": float(message.get("base_lr")), "weight_decay": float(message.get("weight_decay"))}
    schedule = {
        name: tuple(message.all(caffe)) if caffe == "stepvalue" else message.get(caffe) for caffe, name in names.items()
    }
    clip = float(message.get("clip_gradients"))
    return Plan(
        type_,
        Use(ours, (*settings.items(), ("decay", how))),
        Use(policy, tuple(schedule.items())),
        clip if clip >= 0 else None,
        max(int(message.get("iter_size")), 1),
    )


def _known(message: Message, field: str, value: str, table: Any) -> Any:
    if value not in table:
        hint = suggest(value, table) or f"there are {', '.join(table)}"
        raise SourceErrors(
            [SourceError("E720", f"`{field}` is `{value}`, which there is not", message.place(field), hint)]
        )
    return table[value]


class Update:
    """The update of a net's parameters. slots: all of them, each once, in Caffe's order."""

    def __init__(self, core: Core, plan: Plan) -> None:
        self.core, self.plan = core, plan
        self.slots: list[ParamSlot] = []
        for row in core.rows:
            self.slots += [slot for slot in row.slots if slot.owned is None]
        infos = [
            StateInfo(self.history(slot, number), slot.info.type, "history", ZERO)
            for slot in self.slots
            for number in range(plan.histories)
        ]
        core.hold(infos)
        self._executable: Executable | None = None
        self._bound: object = None

    def history(self, slot: ParamSlot, number: int) -> str:
        """The name of a history in the state."""
        return f".history{number}/{slot.key}"

    def histories(self) -> list[Array]:
        """All histories in the order of a solverstate: first all first ones."""
        buffers = self.core.state.buffers
        return [buffers[self.history(slot, i)] for i in range(self.plan.histories) for slot in self.slots]

    def run(self, rate: float, done: int) -> None:
        """An update at a rate, after so many."""
        if not self.slots:
            return
        if self._executable is None or self._bound is not self.core.shared:
            self._executable = self._load()
            self._bound = self.core.shared
        inputs = self._executable.program.inputs
        feeds: dict[str, Any] = {RATE: np.float32(rate), TIME: np.float64(done + 1)}
        self._executable.run({name: array for name, array in feeds.items() if name in inputs})

    def _load(self) -> Executable:
        made = compiled(self.core, (), self._graph())
        return Executable(made.program, self.core.state, made.request.device)

    def _graph(self) -> Graph:
        plan = self.plan
        rate = ops.input_(name=RATE, shape=(), dtype="f32")
        time = ops.input_(name=TIME, shape=(), dtype="f64")
        gradients = [_param(slot.diff, slot.shape) for slot in self.slots]
        scale = self._scale(gradients, rate)
        decay = float(plan.solver.get("weight_decay"))
        updates: dict[str, Node] = {}
        for slot, g in zip(self.slots, gradients, strict=True):
            w = _param(slot.key, slot.shape)
            held = FORMULAS[plan.solver.name].histories(plan.solver)
            kept = tuple(_param(self.history(slot, i), slot.shape) for i in range(held))
            scalars = Scalars(plan.solver, rate * slot.info.lr, time, decay * slot.info.decay)
            step, new = change(plan.solver, w, g, kept, scale=scale, scalars=scalars)
            updates |= {slot.key: w - step, slot.diff: step}
            updates |= {self.history(slot, i): node for i, node in enumerate(new or (step,))}
        return Graph({}, updates)

    def _scale(self, gradients: Sequence[Node], rate: Node) -> Node | None:
        plan, scale = self.plan, None
        if plan.clip is not None:
            squares = [expr.reshape(expr.sum(g * g), ()) for g in gradients]
            total = squares[0]
            for square in squares[1:]:
                total = total + square
            scale = clipping(ops.sqrt(total), plan.clip)
        if plan.batches > 1:
            share = expr.constant(1.0 / plan.batches, rate)
            scale = share if scale is None else scale * share
        return scale


def _param(name: str, shape: Sequence[int]) -> Node:
    return ops.param(name=name, shape=tuple(shape), dtype="f32")
