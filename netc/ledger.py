"""The fusion ledger as a table: each edge between two groups, fused by which law or kept apart for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .compiler.program import Decision
from .tables import Table, size


def ledger_table(ledger: Sequence[Decision], all_edges: bool) -> Table:
    """Edges that were not fused; with `all_edges` those that were come before them, most bytes first.

    Edges between ops of the same names, with the same reason and bytes, are one row and a count.
    """
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
            f"{count:,}",
            size(d.bytes_saved) if d.bytes_saved else "",
        ]
        for d, count in Counter(shown).items()
    ]
    head = ["", "from", "to", "layers", "law or reason", ">edges", ">bytes each"]
    if not all_edges:  # what stays apart saves nothing
        head, rows = head[:-1], [row[:-1] for row in rows]
    fused = [d for d in ledger if d.fused]
    saved = size(sum(d.bytes_saved for d in fused))
    title = f"{len(ledger)} edges looked at, {len(fused)} fused, {saved} of memory traffic saved in each call"
    return Table(title, head, rows)
