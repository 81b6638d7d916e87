"""What a file defines: constants, ops, blocks, nets and data by name, its own and those of the files it imports.

Constants, functions (ops and blocks), nets and data are four sets of names. An entry's position is the number of the
definition (or import) that brought it: ops, blocks and constants see what stands above them, nets see all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from ...grammar import tree
from ...grammar.source import Source, SourceError, Span
from ..spec import DataSpec
from .problems import Problems

EVERYTHING = 2**31  # the position from which all definitions of a file are seen

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A value under a name, with the place of its definition (or of the import) and its position in the file."""

    value: T
    span: Span
    position: int


@dataclass(frozen=True, eq=False)
class Function:
    """A block or an op, with the file that it stands in."""

    definition: tree.BlockDef | tree.OpDef
    module: Module
    position: int

    @property
    def name(self) -> str:
        return self.definition.name.name

    @property
    def kind(self) -> str:
        return "op" if isinstance(self.definition, tree.OpDef) else "block"


@dataclass(frozen=True, eq=False)
class NetEntry:
    """A net, with the file that it stands in."""

    definition: tree.NetDef
    module: Module

    @property
    def formals(self) -> list[str]:
        return [formal.name.name for formal in self.definition.formals]


@dataclass(eq=False)
class Module:
    """One file. `incomplete`: an import failed, so a name that is missing may be one of its.

    foreign: it is Caffe's, so that names may be any text. refused: why a net cannot be had in a mode, by both.
    """

    source: Source
    file: tree.File
    folder: Path
    consts: dict[str, Entry[Any]] = field(default_factory=dict)
    functions: dict[str, Entry[Function]] = field(default_factory=dict)
    nets: dict[str, Entry[NetEntry]] = field(default_factory=dict)
    data: dict[str, Entry[DataSpec | None]] = field(default_factory=dict)
    imports: dict[str, Module] = field(default_factory=dict)
    incomplete: bool = False
    foreign: bool = False
    refused: Mapping[tuple[str, str], tuple[SourceError, ...]] = field(default_factory=dict)

    def own(self, table: str) -> Iterator[tuple[str, Entry[Any]]]:
        """The entries of one table that this file defines itself."""
        found: dict[str, Entry[Any]] = getattr(self, table)
        return ((name, entry) for name, entry in found.items() if not self._imported(entry))

    def _imported(self, entry: Entry[Any]) -> bool:
        return isinstance(self.file.definitions[entry.position], tree.Import)

    def define(self, table: str, name: str, entry: Entry[Any], what: str, problems: Problems) -> None:
        """Enters a definition; E209 where another thing has its name."""
        found: dict[str, Entry[Any]] = getattr(self, table)
        other = found.get(name)
        if other is None:
            found[name] = entry
        elif other.value is not entry.value or not self._imported(other):
            message = f"{what} `{name}` is defined twice"
            problems.add(SourceError("E209", message, entry.span, notes=[f"the first is at {other.span}"]))
