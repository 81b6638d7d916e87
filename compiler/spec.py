"""Specifications of data, training and tests, as a file's `data` and `train` blocks say them: checked, as plain data.

With `program.py` it is all that the runtime sees of the compiler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..grammar.source import Span

Settings = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Use:
    """A name with settings, as in `inv(gamma: 0.0001, power: 0.75)`; bound and checked, defaults filled in."""

    name: str
    settings: Settings = ()

    def __getitem__(self, key: str) -> Any:
        return dict(self.settings)[key]

    def get(self, key: str, default: Any = None) -> Any:
        return dict(self.settings).get(key, default)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{k}: {v}' for k, v in self.settings)})"


class Filler(Use):
    """How a parameter gets its first values: `constant uniform gaussian positive_unitball xavier msra bilinear`."""


class ColumnTransform(Use):
    """What happens to one column of data: its name, with `scale`, `mean`, `crop` and `mirror`."""


@dataclass(frozen=True)
class DataSpec:
    """A `data NAME = source(…)`. settings are bound; folder is that of the file, to which paths are relative; span is
    the source's place in it.
    """

    name: str
    source: str
    settings: Settings
    folder: Path
    place: str = ""
    span: Span | None = field(default=None, compare=False, repr=False)

    def get(self, key: str, default: Any = None) -> Any:
        return dict(self.settings).get(key, default)


@dataclass(frozen=True)
class TestSpec:
    """A `test:` line: a pass over the data (or `batches` of it) every so many steps (0: only at the end).

    net: the net that is tested, where it is not the one that learns. start: the first step after which it tests; 0 is
    before the first step.
    """

    data: DataSpec
    every: int = 0
    net: str = ""
    start: int = 1

    def due(self, step: int) -> bool:
        """Whether it tests after that step, apart from the last."""
        return bool(self.every) and step >= self.start and step % self.every == 0


@dataclass(frozen=True)
class Watched:
    """What tests are compared by: a loss or metric, of one data or (where that is "") of the first that has it.

    larger: whether more of it is better.
    """

    name: str
    larger: bool
    data: str = ""

    def better(self, value: float, than: float | None) -> bool:
        """Whether a value is better than the best so far (None: there is none); what is no number never is."""
        if value != value:
            return False
        return than is None or (value > than if self.larger else value < than)

    def __str__(self) -> str:
        return f"{self.data}.{self.name}" if self.data else self.name


@dataclass(frozen=True)
class TrainSpec:
    """A `train NET(…) { … }` block, checked. weights are paths; fresh are layer names that may lack weights.

    rename: layers of these files, each with its name in the net. average: the loss that is shown is the mean of so many
    steps; 0 is all since it was shown last.
    keep: snapshots left on disk, 0 for all, None as ever. best: by what the best weights are kept. stop: by what a run
    is ended, after so many tests that found nothing better.
    """

    net: str
    settings: Mapping[str, Any]
    data: tuple[DataSpec, ...]
    tests: tuple[TestSpec, ...]
    solver: Use
    schedule: Use
    steps: int
    display: int
    snapshot: int
    clip: float | None
    accumulate: int
    seed: int
    weights: tuple[str, ...] | None
    fresh: tuple[str, ...]
    folder: Path
    place: str = ""
    average: int = 0
    rename: tuple[tuple[str, str], ...] = ()
    keep: int | None = None
    best: Watched | None = None
    stop: tuple[Watched, int] | None = None
    weights_span: Span | None = field(default=None, compare=False, repr=False)
