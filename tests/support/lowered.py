"""Lowering of a graph that a test made: through the stages of a target, to kernels or to a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netc.compiler.codegen import emit
from netc.compiler.graph import Graph
from netc.compiler.program import Program
from netc.passes import manager
from netc.passes.pipeline import LOWER
from netc.passes.unit import Choices, Unit


def kernels_of(graph: Graph, target: str, **choices: Any) -> Unit:
    """A graph of primitives as kernels for a target, each stage verified. choices: see `Choices`."""
    return manager.run(Unit(graph, Choices(**choices)), LOWER[target][:-1])


def program_of(unit: Unit, target: str, *, name: str = "test", dims: Mapping[str, int] | None = None) -> Program:
    """The program of kernels."""
    placed = manager.run(unit, LOWER[target][-1:])
    assert placed.plan is not None
    return emit(placed.graph, placed.plan, name=name, target=target, dims=dims, ledger=placed.ledger)


def lower(graph: Graph, *, target: str = "numpy", name: str = "test", **choices: Any) -> Program:
    """The program that computes a graph of primitives."""
    return program_of(kernels_of(graph, target, **choices), target, name=name)
