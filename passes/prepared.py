"""Loop-invariant values of a program: what only unchanging state decides is computed once, and not at each step."""

from __future__ import annotations

from collections.abc import Collection

from ..compiler import ops
from ..compiler.graph import Node


class Prepared:
    """Whether a node depends on constants and state alone; of primitives and of kernels.

    changed: the states that the graph changes, which are none of that. apart: nodes that are computed at each step all
    the same.
    """

    def __init__(self, changed: Collection[str] = (), apart: Collection[Node] = ()) -> None:
        self.changed = changed
        self.known = dict.fromkeys(apart, False)

    def __call__(self, node: Node) -> bool:
        stack = [node]
        while stack:
            top = stack[-1]
            waiting = [] if top in self.known else [x for x in top.inputs if x not in self.known]
            if waiting:
                stack += waiting
                continue
            self.known.setdefault(stack.pop(), not self._fed(top) and all(self.known.get(x) for x in top.inputs))
        return self.known[node]

    def _fed(self, node: Node) -> bool:
        """Whether a node is another one at each step by itself."""
        if node.op is ops.param:
            return node.attrs["name"] in self.changed
        drawn = node.attrs["body"].order if node.op is ops.kernel else ()
        return node.op in (ops.input_, ops.random) or any(x.op is ops.random for x in drawn)
