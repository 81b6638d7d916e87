"""Optimization remarks as tables: which laws of arithmetic were applied to a net, which were refused and why.

For people a law is said once, with the layers where it was applied, or a row for each place; the JSON of
`netc explain --laws` has every place. Where a law changes how numbers are rounded, a note says why it is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ..driver import Compilation
from ..passes.rules.remarks import remarks
from .tables import Table

SHOWN = 4  # layers of a row


@dataclass(frozen=True)
class LawRow:
    """What became of a law in a layer, at a place of the text. refused: why it was not applied, or ""."""

    stage: str
    law: str
    why: str
    layer: str
    place: str
    refused: str
    times: int


def law_rows(made: Compilation) -> list[LawRow]:
    """The laws of a program's passes, in the order of the passes; those that were applied first."""
    found: dict[tuple[str, str, str, str, str, str], int] = {}
    for one in remarks(made.net.graph, made.pipeline):
        span, scope = one.origin.span, one.origin.scope
        place = f"{PurePath(span.file).name}:{span.line}" if span is not None else ""
        layers, places = made.whose((scope,) if scope else (), (place,) if place else ())
        key = (one.stage, one.law, one.why, "".join(layers), "".join(places), one.refused)
        found[key] = found.get(key, 0) + one.times
    return [LawRow(*key, times) for key, times in found.items()]


def law_json(rows: Iterable[LawRow]) -> list[dict[str, Any]]:
    """Every place: what was applied has null for a reason."""
    return [
        {
            "pass": row.stage,
            "law": row.law,
            "why": row.why or None,
            "layer": row.layer,
            "place": row.place,
            "refused": row.refused or None,
            "times": row.times,
        }
        for row in rows
    ]


def law_tables(rows: Sequence[LawRow], all_places: bool) -> list[Table]:
    """What was applied, what was refused, and the notes on rounding; with `all_places` a row for each place."""
    notes = {why: number for number, why in enumerate(dict.fromkeys(row.why for row in rows if row.why), 1)}
    tables = []
    for refused, done in ((False, "applied"), (True, "refused")):
        those = [row for row in rows if bool(row.refused) == refused]
        laws = len({row.law for row in those})
        title = f"{laws} {'law' if laws == 1 else 'laws'} {done}, at {sum(row.times for row in those):,} nodes"
        tables.append(Table(title, ["pass", "law", "layers", ">times"], _lines(those, notes, all_places)))
    if notes:
        lines = [[f"({number})", why] for why, number in notes.items()]
        tables.append(Table("what may differ, and why it is allowed", [">", "note"], lines))
    return tables


def _lines(rows: Sequence[LawRow], notes: dict[str, int], all_places: bool) -> list[list[str]]:
    """The cells of a table: most often first; a refusal's reason follows its law."""
    groups: dict[tuple[str, ...], list[LawRow]] = {}
    for row in rows:
        note = f" ({notes[row.why]})" if row.why else ""
        said = f"{row.law}{note}{f': {row.refused}' if row.refused else ''}"
        groups.setdefault((row.stage, said), []).append(row)
    lines = []
    for (stage, said), those in sorted(groups.items(), key=lambda group: -sum(row.times for row in group[1])):
        if not all_places:
            layers = list(dict.fromkeys(row.layer for row in those if row.layer))
            more = f" +{len(layers) - SHOWN}" if len(layers) > SHOWN else ""
            lines.append([stage, said, ", ".join(layers[:SHOWN]) + more, f"{sum(row.times for row in those):,}"])
            continue
        for row in those:
            lines.append([stage, said, f"{row.layer} {row.place}".strip(), f"{row.times:,}"])
            stage = said = ""
    return lines
