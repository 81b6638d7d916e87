"""The fusion ledger as a table: each edge between two groups, fused by which law or kept apart for which reason."""

from __future__ import annotations

from collections.abc import Sequence

from .compiler.program import Decision
from .tables import Table, size


def ledger_table(ledger: Sequence[Decision], all_edges: bool) -> Table:
    """Edges that were not fused, most bytes first; with `all_edges` those that were come before them."""
    shown = sorted(
        (d for d in ledger if all_edges or not d.fused), key=lambda d: (not d.fused, -d.bytes_saved, d.producer)
    )
    rows = [
        [
            "fused" if d.fused else "apart",
            d.producer,
            d.consumer,
            ", ".join(d.layers),
            d.reason,
            size(d.bytes_saved) if d.bytes_saved else "",
        ]
        for d in shown
    ]
    fused = [d for d in ledger if d.fused]
    saved = size(sum(d.bytes_saved for d in fused))
    title = f"{len(ledger)} edges looked at, {len(fused)} fused, {saved} of memory traffic saved in each call"
    return Table(title, ["", "from", "to", "layers", "law or reason", ">bytes"], rows)
