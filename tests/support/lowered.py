"""Lowering of a graph that a test made: through the stages of a target, to kernels or to a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netc.compiler.codegen import emit
from netc.compiler.graph import Graph
from netc.compiler.program import Program
from netc.driver import Compilation
from netc.passes import manager
from netc.passes.manager import Lowering
from netc.passes.pipeline import LOWER
from netc.passes.unit import Choices, Unit


def kernels_of(graph: Graph, target: str, **choices: Any) -> Unit:
    """A graph of primitives as kernels for a target, before sums are split, each stage verified. See `Choices`."""
    return manager.run(Unit(graph, Choices(**choices)), LOWER[target][: -len(placing(target))])


def placing(target: str) -> Lowering:
    """The stages that put kernels with their schedules into memory."""
    return tuple(stage for stage in LOWER[target] if stage[0] in ("split", "plan"))


def scheduled(program: Compilation) -> Unit:
    """The kernels of a net's program before sums are split."""
    (found,) = (stage.after for stage in program.lowering if stage.name == "schedule")
    return found


def program_of(unit: Unit, target: str, *, name: str = "test", dims: Mapping[str, int] | None = None) -> Program:
    """The program of kernels."""
    placed = manager.run(unit, placing(target))
    assert placed.plan is not None
    return emit(placed.graph, placed.plan, name=name, target=target, dims=dims, ledger=placed.ledger)


def lower(graph: Graph, *, target: str = "numpy", name: str = "test", **choices: Any) -> Program:
    """The program that computes a graph of primitives."""
    return program_of(kernels_of(graph, target, **choices), target, name=name)
