"""Explanations as values: of an error code, of what there is by a name, or of what became of a net's operations."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from ..grammar.source import UserError, suggest
from .tables import Table

if TYPE_CHECKING:
    from ..driver import Compilation


@dataclass(frozen=True)
class Explained:
    """An explanation. document, form: what `netc explain --json` prints, and the name of its schema; rows: the list in
    it; tables or words: what the command prints.
    """

    form: str
    document: dict[str, Any]
    rows: list[dict[str, Any]]
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
    from .catalogue import entries, meant, refusals

    if (code := name.upper()) in CODES:
        title, text = CODES[code].title, CODES[code].text
        document = {"code": code, "title": title, "text": text}
        return Explained("explain.code/1", document, [document], words=f"{code}: {title}\n\n{text}")
    for refused in filter(None, refusals(name)):
        raise UserError(refused)
    found = list(entries(name))
    if not found:
        near = suggest(name.upper(), CODES) or meant(name)
        kinds = "no error code, layer, solver, schedule, filler, source of data or .net file"
        raise UserError(f"`{name}` is {kinds}{f'; {near}' if near else ''}")
    texts = []
    for entry in found:
        of = f" of the package {entry.package}" if entry.package else ""
        texts.append(f"{entry.name}: {entry.what}{of}\n\n{entry.call}\n\n{entry.text}")
    rows = [asdict(entry) for entry in found]
    return Explained("explain.name/1", {"entries": rows}, rows, words="\n".join(texts))


def net_explained(made: Compilation, *, laws: bool = False, arch: str = "", whole: bool = False) -> Explained:
    """The ledger of fusion of a program, for an architecture of GPU also its kernels; or the laws that were applied.

    whole: fused edges too, and laws at each place.
    """
    from .ledger import ledger_table

    if laws:
        if arch:
            raise UserError("--arch means nothing for --laws: the same laws are applied for every GPU")
        from .laws import law_json, law_rows, law_tables

        found = law_rows(made)
        applied = law_json(found)
        return Explained(
            "explain.laws/1", {"net": made.net.name, "laws": applied}, applied, tuple(law_tables(found, whole))
        )
    kernels: list[dict[str, Any]] | None = None
    tables: tuple[Table, ...] = (ledger_table(made.program.ledger, whole),)
    if arch:
        from .kernels import compiled_for, kernel_rows, kernel_table

        program, binaries = compiled_for(made, arch)
        kernels = kernel_rows(program, binaries)
        tables = ledger_table(program.ledger, whole), kernel_table(program, binaries, arch)
    edges = [
        {
            "producer": d.producer,
            "consumer": d.consumer,
            "layers": list(d.layers),
            "fused": d.fused,
            "reason": d.reason,
            "bytes_saved": d.bytes_saved,
        }
        for d in made.program.ledger
    ]
    document: dict[str, Any] = {"net": made.net.name, "edges": edges, "kernels": kernels}
    return Explained("explain.fusion/1", document, edges, tables)
