"""Explanations as values: of an error code, of what there is by a name, or of what became of a net's operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from ..grammar.source import UserError, suggest
from .tables import Table

if TYPE_CHECKING:
    from ..compiler.program import Decision
    from ..driver import Compilation


@dataclass(frozen=True)
class Explained:
    """An explanation. rows: the form of `netc explain --json`; tables or words: what the command prints."""

    rows: Any
    tables: tuple[Table, ...] = ()
    words: str = ""

    def __str__(self) -> str:
        return self.words or "\n".join(map(str, self.tables))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.words)}</pre>" if self.words else "".join(table.html() for table in self.tables)


def name_explained(name: str) -> Explained:
    """An error code, or the layers, solvers and sources of a name; UserError where there is nothing."""
    from ..grammar.codes import CODES
    from .catalogue import entries, refusals

    if (code := name.upper()) in CODES:
        title, text = CODES[code].title, CODES[code].text
        return Explained({"code": code, "title": title, "text": text}, words=f"{code}: {title}\n\n{text}")
    for refused in filter(None, refusals(name)):
        raise UserError(refused)
    found = list(entries(name))
    if not found:
        near = suggest(name.upper(), CODES)
        raise UserError(f"`{name}` is neither an error code nor a .net file{f'; {near}' if near else ''}")
    texts = []
    for entry in found:
        of = f" of the package {entry.package}" if entry.package else ""
        texts.append(f"{entry.name}: {entry.what}{of}\n\n{entry.call}\n\n{entry.text}")
    return Explained([asdict(entry) for entry in found], words="\n".join(texts))


def net_explained(made: Compilation, *, laws: bool = False, arch: str = "", whole: bool = False) -> Explained:
    """The ledger of fusion of a program, for an architecture of GPU also its kernels; or the laws that were applied.

    whole: fused edges too, and laws at each place.
    """
    from .ledger import ledger_table

    if laws:
        if arch:
            raise UserError("--arch means nothing for --laws: the same laws are applied for every GPU")
        from .laws import law_json, law_rows, law_tables

        rows = law_rows(made)
        return Explained(law_json(rows), tuple(law_tables(rows, whole)))
    if arch:
        from .kernels import compiled_for, kernel_rows, kernel_table

        program, binaries = compiled_for(made, arch)
        tables = ledger_table(program.ledger, whole), kernel_table(program, binaries, arch)
        return Explained({"ledger": _rows(program.ledger), "kernels": kernel_rows(program, binaries)}, tables)
    ledger = made.program.ledger
    return Explained(_rows(ledger), (ledger_table(ledger, whole),))


def _rows(ledger: Sequence[Decision]) -> list[dict[str, Any]]:
    return [
        {
            "producer": d.producer,
            "consumer": d.consumer,
            "layers": list(d.layers),
            "fused": d.fused,
            "reason": d.reason,
            "bytes_saved": d.bytes_saved,
        }
        for d in ledger
    ]
