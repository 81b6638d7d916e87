"""Tests of passes as text: files that hold a graph, stages, and the graph that each stage leaves.

    == a title, in a file of several cases
    graph { … }
    -> simplify
    graph { … }

The first graph is the input, and written by hand; the others are what comes out, and are rewritten by `pytest
--update-golden`. Stages are those of `netc opt`, separated by commas where only the last one's graph is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netc.compiler.graph import Graph
from netc.compiler.text import print_graph
from netc.compiler.text_reader import read_graph
from netc.passes.manager import Pass
from netc.passes.opt import opt

FOLDER = Path(__file__).parents[1] / "passes" / "golden"
Golden = Callable[[Path, str], None]


@dataclass(frozen=True)
class Case:
    """A graph, and the stages that it goes through."""

    title: str
    before: str
    stages: tuple[str, ...]

    @property
    def graph(self) -> Graph:
        return read_graph(self.before, self.title)


def cases(name: str) -> dict[str, Case]:
    """The cases of a file by their titles; one without a title has the file's name."""
    found: dict[str, Case] = {}
    for part in f"\n{(FOLDER / f'{name}.txt').read_text(encoding='utf-8')}".split("\n== "):
        if part.strip():
            title, _, text = part.partition("\n") if not part.startswith("\n") else (name, "", part)
            before, *after = text.strip("\n").split("\n-> ")
            assert title not in found, f"two cases of {name}.txt are called {title}"
            found[title] = Case(title, f"{before}\n", tuple(one.partition("\n")[0] for one in after))
    return found


def check(name: str, golden: Golden, passes: Mapping[str, Pass] | None = None, **choices: Any) -> None:
    """Hold a file to what its stages leave.

    passes: of stages that need more than a graph, by name. choices: of `opt`.
    """
    shown = []
    for case in cases(name).values():
        texts, graph = [case.before], case.graph
        assert print_graph(graph, comments=False) == case.before, (
            f"{case.title}: the input is not as it would be printed"
        )
        for stage in case.stages:
            if passes is not None and stage in passes:
                graph = passes[stage](graph).verify()
            else:
                graph = opt(print_graph(graph), stage.split(", "), file=f"{name}.txt", **choices).graph
            texts.append(f"-> {stage}\n{print_graph(graph, comments=False)}")
        shown.append(f"== {case.title}\n{''.join(texts)}" if len(cases(name)) > 1 else "".join(texts))
    golden(FOLDER / f"{name}.txt", "\n".join(shown))
