"""Optimization remarks of the laws: which was applied where, and which was refused there and why.

The passes are run again for whoever asks, each with a ledger that remembers places; else nobody counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from inspect import signature

from ...compiler.graph import Graph, Node, Origin
from .. import manager
from .rewrite import Ledger, Rule


@dataclass(frozen=True)
class Remark:
    """What became of a law at one place.

    stage: the pass. why: the reason that it is allowed where rounding may differ. refused: why it was not applied; ""
    where it was. times: at how many nodes.
    """

    stage: str
    law: str
    why: str
    origin: Origin
    refused: str
    times: int


class Places(Ledger):
    """A ledger that knows the nodes as well."""

    def __init__(self) -> None:
        super().__init__()
        self.whys: dict[str, str] = {}
        self.applied: Counter[tuple[str, Origin]] = Counter()
        self.left: dict[tuple[str, str, Node], None] = {}

    def apply(self, rule: Rule, node: Node) -> None:
        super().apply(rule, node)
        self.whys[rule.law] = rule.why
        self.applied[rule.law, node.origin] += 1

    def refuse(self, rule: Rule, node: Node, reason: str) -> None:
        super().refuse(rule, node, reason)
        self.whys[rule.law] = rule.why
        self.left[rule.law, reason, node] = None  # once, in however many ways the pattern fits

    def again(self) -> None:
        super().again()
        self.left.clear()

    def remarks(self, stage: str) -> list[Remark]:
        left = Counter((law, reason, node.origin) for law, reason, node in self.left)
        found = [Remark(stage, law, self.whys[law], at, "", times) for (law, at), times in self.applied.items()]
        return found + [Remark(stage, law, self.whys[law], at, no, times) for (law, no, at), times in left.items()]


def remarks(graph: Graph, passes: Iterable[tuple[str, manager.Pass]]) -> list[Remark]:
    """What the laws did in a pipeline: of those passes that keep a ledger, in their order."""
    ledgers: dict[str, Places] = {}

    def watched(name: str, apply: Callable[..., Graph]) -> manager.Pass:
        if "ledger" not in signature(apply).parameters:
            return apply
        ledgers[name] = Places()
        return partial(apply, ledger=ledgers[name])

    manager.run(graph, [(name, watched(name, apply)) for name, apply in passes], verify=False)
    return [remark for name, ledger in ledgers.items() for remark in ledger.remarks(name)]
