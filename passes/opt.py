"""Optimizer driver: stages of the compiler run on the text of a graph, one after the other (`netc opt`).

For whoever writes or tests a stage: a graph of a few lines goes in, what the stage leaves comes out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..compiler.graph import GraphError
from ..compiler.text_reader import read_graph
from ..grammar.source import UserError, suggest
from . import manager
from .pipeline import alone, plain
from .unit import Choices, Unit


def opt(text: str, names: Iterable[str], *, target: str = "numpy", file: str = "graph", **choices: Any) -> Unit:
    """What stages leave of the graph that a text says. file: the text's name in errors. choices: see `Choices`.

    Raises SourceError for a mistake in the text, UserError for a stage that does not exist or cannot take the graph.
    """
    stages = dict(alone(target))
    wanted = [plain(name) for name in names]
    for name in wanted:
        if name not in stages:
            hint = suggest(name, stages) or f"there are {', '.join(stages)}"
            raise UserError(f"there is no stage `{name}` that takes the text of a graph; {hint}")
    unit = Unit(read_graph(text, file), Choices(**choices))
    for name in wanted:
        try:
            unit = manager.run(unit, [(name, stages[name])])
        except manager.PassFailed as error:  # stages may rely on what those before them do, and on what `build` makes
            own = isinstance(error.__cause__, GraphError)  # which says in words what the stage wants
            told = error.__cause__ if own else f"the stage {name} cannot take this graph: {error.told}"
            raise UserError(f"{file}: {told}") from error
        except GraphError as error:
            raise UserError(f"{file}: {error}") from error
    return unit
