"""Some steps of a solver as graphs, in float64, on parameters of several multipliers whose gradients are inputs."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from netc.compiler import expr, ops
from netc.compiler.graph import Graph
from netc.compiler.interpret import evaluate
from netc.compiler.net import OBJECTIVE
from netc.compiler.program import StateInfo
from netc.compiler.schema.solvers import SOLVERS
from netc.compiler.spec import Use
from netc.compiler.types import TensorType
from netc.passes import pipeline
from netc.passes.manager import run
from netc.passes.training.flatten import flat_layout, learned
from netc.passes.training.update import solver_state
from support.equality import Array


def learned_info(name: str, *shape: int, lr: float = 1.0, decay: float = 1.0) -> StateInfo:
    return StateInfo(name, TensorType(shape, "f32"), lr=lr, decay=decay)


STATE = (
    learned_info("a.weight", 2, 3),
    learned_info("a.bias", 2, lr=2.0, decay=0.0),
    learned_info("b.weight", 4, lr=0.0),
    learned_info("c.weight", 5),
)


def solver_of(name: str, **settings: Any) -> Use:
    defaults = {k: p.default for k, p in inspect.signature(SOLVERS[name]).parameters.items()}
    return Use(name, tuple({**defaults, **settings}.items()))


def objective(state: tuple[StateInfo, ...]) -> Graph:
    """A sum of products of each parameter with an input: the gradient of `p` is the input `d/p`."""
    total = ops.const(value=0.0, shape=(), dtype="f32")
    for info in state:
        w = ops.param(name=info.name, shape=info.type.shape, dtype="f32")
        total = total + expr.sum(w * ops.input_(name=f"d/{info.name}", shape=info.type.shape, dtype="f32"))
    return Graph({OBJECTIVE: total})


def fed_with(state: tuple[StateInfo, ...], seed: int, scale: float = 1.0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {f"d/{i.name}": scale * rng.standard_normal(i.type.shape) for i in state}


def first_state(solver: Use, layout: tuple[StateInfo, ...], batches: int = 2) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    found: dict[str, Array] = {i.name: np.zeros(i.type.shape) for i in solver_state(solver, layout, batches=batches)}
    for info in layout:
        found.setdefault(info.buffer, np.zeros(sum(i.type.count for i in layout if i.buffer == info.buffer)))
        found[info.buffer][info.offset : info.offset + info.type.count] = rng.standard_normal(info.type.count)
    return found


def stepped(solver: Use, gradients: list[dict[str, Array]], *, clip: float | None = None) -> dict[str, Array]:
    layout = flat_layout(STATE)
    graph = run(objective(STATE), pipeline.train(objective(STATE), solver, layout, clip=clip))
    state = first_state(solver, layout)
    for fed in gradients:
        state |= evaluate(graph, {**state, **fed, ".rate": 0.1})[1]
    return state


def end_to_end(layout: tuple[StateInfo, ...], fed: dict[str, Array]) -> Array:
    return np.concatenate([fed[f"d/{i.name}"].ravel() for i in learned(layout)])
