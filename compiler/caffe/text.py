"""A file's tree, whichever language its text is in, with what the reading of it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...grammar import tree
from ...grammar.source import SourceError


@dataclass(frozen=True)
class Text:
    """A file's tree. foreign: it is Caffe's. refused: why a net cannot be had in a mode, by net and mode."""

    file: tree.File
    foreign: bool = False
    warnings: tuple[SourceError, ...] = ()
    refused: Mapping[tuple[str, str], tuple[SourceError, ...]] = field(default_factory=dict)
