"""A net's layers with their blobs: what `table.py` says, with memory, pieces of graph and parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..compiler.program import StateInfo
from .blob import Blob
from .piece import Piece
from .table import LayerEntry, Version

__all__ = ["Named", "ParamSlot", "Row", "Version"]


class Named(Blob):
    """A blob of a net."""

    def __init__(self, name: str) -> None:
        super().__init__((0,))
        self.name = name


@dataclass(eq=False)
class ParamSlot:
    """A parameter of a layer. key: its name in the state. owned: the parameter it shares, of another layer.

    gets_gradient: a backward pass through its layer adds to its gradient.
    """

    key: str
    shape: tuple[int, ...]
    info: StateInfo
    owned: ParamSlot | None = None
    gets_gradient: bool = True

    @property
    def owner(self) -> ParamSlot:
        return self.owned or self

    @property
    def diff(self) -> str:
        """The name of its gradient in the state."""
        return f".diff/{self.owner.key}"


@dataclass(eq=False)
class Row:
    """A layer. named: its parameters by the names of its piece; carried: what it leaves to the next pass, likewise.

    built: the shapes of its bottoms when it was set up. host: what runs it, where it is not compiled.
    """

    entry: LayerEntry
    bottoms: list[Named]
    tops: list[Named]
    piece: Piece | None = None
    built: list[tuple[int, ...]] | None = None
    slots: list[ParamSlot] = field(default_factory=list)
    named: dict[str, ParamSlot] = field(default_factory=dict)
    carried: dict[str, str] = field(default_factory=dict)
    host: Any = None
    blobs: Any = None

    @property
    def number(self) -> int:
        return self.entry.number
