"""How a tensor's size came about, for the notes of shape errors: `28 -> conv 5 -> 24 -> max_pool 2 -> 12`.

Each node that a layer gave remembers the step that made it and the step before; layers that keep the size add none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..graph import Node
from ..schema.settings import show_type

MAX_STEPS = 12


@dataclass(frozen=True, eq=False)
class Step:
    """A size and the layer that gave it; the first has none before it."""

    size: str
    label: str = ""
    before: Step | None = None


def size_of(node: Node) -> str:
    """The size that is followed: of space where there is any (28, 12 x 16), else the whole shape."""
    shape = [int(n) for n in node.shape]
    if len(shape) < 3:
        return f"[{', '.join(map(str, node.shape))}]"
    space = shape[2:]
    return str(space[0]) if len(set(space)) == 1 and len(space) < 3 else " x ".join(map(str, space))


class History:
    """The steps and the names of nodes."""

    def __init__(self) -> None:
        self._steps: dict[Node, Step] = {}
        self._names: dict[Node, str] = {}

    def name(self, node: Node, name: str) -> None:
        """Gives a node the name that notes and the layer table show; the first one stays."""
        self._names.setdefault(node, name)

    def name_of(self, node: Node) -> str:
        """The name of a node; empty where it has none."""
        return self._names.get(node, "")

    def begin(self, node: Node) -> None:
        """A node without a history: an input, a parameter."""
        self._steps[node] = Step(size_of(node))

    def extend(self, operands: Iterable[Node], results: Iterable[Node], label: str) -> None:
        """Results that a layer gave: their sizes follow from the first operand's."""
        before = next((self._steps[x] for x in operands if x in self._steps), None)
        for node in results:
            if node in self._steps:
                continue
            size = size_of(node)
            if before is not None and before.size == size:
                self._steps[node] = before
            else:
                self._steps[node] = Step(size, label, before)

    def note(self, node: Node, written: str = "") -> str:
        """`p2 is f32[N, 50, 4, 4]: 28 -> conv 5 -> 24 -> …` for one operand, under the name written in the text."""
        name = written or self._names.get(node, "") or "the input"
        step: Step | None = self._steps.get(node)
        parts: list[str] = []
        while step is not None:
            parts.append(f"{step.label} -> {step.size}" if step.label else step.size)
            step = step.before
        text = f"{name} is {show_type(node)}"
        if len(parts) < 2:
            return text
        parts.reverse()
        if len(parts) > MAX_STEPS:
            parts = [parts[0], "…", *parts[-MAX_STEPS + 2 :]]
        return f"{text}: {' -> '.join(parts)}"


def label_of(kind: str, settings: Mapping[str, Any]) -> str:
    """A layer in a chain: its kind and its kernel."""
    kernel = settings.get("kernel")
    if kernel is None:
        return kind
    return f"{kind} {kernel if isinstance(kernel, int) else ' x '.join(map(str, kernel))}"
