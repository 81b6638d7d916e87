"""How texts of Caffe's are read: what a user says beside the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from ..spec import DataSpec

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


class Records(Protocol):
    """Opens data, and gives the shape of a record of each column. failed: what was said of data that did not open."""

    @property
    def failed(self) -> Sequence[str]: ...

    def __call__(self, data: Sequence[DataSpec], /) -> Shapes: ...


@dataclass(frozen=True)
class Reading:
    """shapes: of what data layers bring, by top. lenient: fields that Caffe does not have are passed over.

    records: without it no data is opened. found: what it gave, where a text has been read before.
    """

    shapes: Shapes = field(default_factory=dict)
    lenient: bool = False
    records: Records | None = None
    found: Shapes = field(default_factory=dict)
