"""The fusion ledger as a table: which edges between groups were fused by which law, or kept apart for which reason.

For people, edges are put together: each law or reason is said once, and under it stands a row for each layer, or pair
of layers, with its edges. The JSON of `netc explain` has every edge.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler.program import Decision
from .tables import Table, size

SHOWN = 2  # edges of a row


def ledger_table(ledger: Sequence[Decision], all_edges: bool) -> Table:
    """Edges that were not fused; with `all_edges` those that were come before them, most bytes first."""
    groups: dict[tuple[bool, str], dict[tuple[str, ...], list[Decision]]] = {}
    for d in sorted(ledger, key=lambda d: (d.layers, d.producer)):
        if all_edges or not d.fused:
            groups.setdefault((not d.fused, d.reason), {}).setdefault(d.layers, []).append(d)
    rows = []
    for (apart, reason), by_layers in sorted(groups.items(), key=lambda group: (group[0][0], *_weight(group[1]))):
        said = f"{'apart' if apart else 'fused'}: {reason}"
        for layers, edges in by_layers.items():
            saved = sum(d.bytes_saved for d in edges)
            rows.append([said, ", ".join(layers), _names(edges), f"{len(edges):,}", size(saved) if saved else ""])
            said = ""
    head = ["law or reason", "layers", "from -> to", ">edges", ">bytes"]
    if not all_edges:  # what stays apart saves nothing
        head, rows = head[:-1], [row[:-1] for row in rows]
    fused = [d for d in ledger if d.fused]
    total = size(sum(d.bytes_saved for d in fused))
    title = f"{len(ledger)} edges looked at, {len(fused)} fused, {total} of memory traffic saved in each call"
    return Table(title, head, rows)


def _weight(by_layers: dict[tuple[str, ...], list[Decision]]) -> tuple[int, int]:
    """What comes first: most bytes saved, then most edges."""
    edges = [d for found in by_layers.values() for d in found]
    return -sum(d.bytes_saved for d in edges), -len(edges)


def _names(edges: Sequence[Decision]) -> str:
    """The edges of a row, equal names once."""
    names = list(dict.fromkeys(f"{d.producer} -> {d.consumer}" for d in edges))
    more = f" +{len(names) - SHOWN}" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
