"""What a source of data is: records that can be read in any order, so that shuffling and resuming are exact.

A source knows its columns and how many records it has when it is made, from headers and lists; the values are read on
first use. It hands out values as they are stored (`u8` pixels stay bytes); `transform.py` makes numbers of them.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...compiler.program import Span, UserError

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
Mode = Literal["train", "test"]
DATA = "E440"  # the code of mistakes in data


@dataclass(frozen=True)
class Column:
    """The shape and the stored type of one record of a column."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Place:
    """Where a source is opened: the data's name, the folder of its paths, `--data`, and remarks for the user.

    span: the place in a `.net` file that says so.
    """

    name: str
    base: Path
    data_dir: Path | None = None
    notes: list[str] = field(default_factory=list)
    span: Span | None = None

    def path(self, text: str) -> Path:
        """A path of the `.net` file, relative to the folder of that file; `~` is the home folder."""
        try:
            return self.base / Path(text).expanduser()
        except RuntimeError:
            raise UserError(f"{text}: there is no such home folder") from None


class Source(ABC):
    """Records of named columns; `image` is the column that scale, mean, crop and mirror of a source apply to, if any.

    In a source that is `uneven` the images differ in size: the column's shape is that of the first, and only `record`
    reads the others.
    """

    columns: Mapping[str, Column]
    records: int
    image: str | None = None
    uneven: bool = False

    @abstractmethod
    def record(self, column: str, index: int) -> Array:
        """One record as it is stored; a view where it is in memory, so not to be written to."""

    @abstractmethod
    def gather(self, column: str, indices: Indices, out: Array) -> None:
        """The records of these indices, each in 0..records-1, into `out`: the stored type, [len(indices), *shape]."""


class DrawnSource(Source):
    """A source whose batches are drawn at random rather than taken in an order, and transformed as they are drawn."""

    @abstractmethod
    def draw(self, drawn: npt.NDArray[np.uint64], valid: int, out: Mapping[str, Array]) -> None:
        """A batch into columns by their names here; drawn: four words for each row; rows from `valid` on are equal."""

    def record(self, column: str, index: int) -> Array:
        raise TypeError("what is drawn has no order")

    def gather(self, column: str, indices: Indices, out: Array) -> None:
        raise TypeError("what is drawn has no order")


class ArraySource(Source):
    """A source whose columns are arrays, each read by its function when it is first needed."""

    def __init__(
        self,
        columns: Mapping[str, Column],
        records: int,
        load: Mapping[str, Callable[[], Array]],
        image: str | None,
    ) -> None:
        self.columns = columns
        self.records = records
        self.image = image
        self._load = dict(load)
        self._arrays: dict[str, Array] = {}
        self._lock = threading.Lock()  # a test pass may read while a training stream does

    def array(self, column: str) -> Array:
        """The whole column, [records, *shape]; read now if it was not yet."""
        array = self._arrays.get(column)
        if array is None:
            with self._lock:
                if column not in self._arrays:
                    self._arrays[column] = self._load[column]()
                array = self._arrays[column]
        return array

    def record(self, column: str, index: int) -> Array:
        record: Array = self.array(column)[index]
        return record

    def gather(self, column: str, indices: Indices, out: Array) -> None:
        # mode="raise" would copy through a buffer of its own; the indices are in range by contract
        np.take(self.array(column), indices, axis=0, out=out, mode="clip")

    def renamed(self, names: Mapping[str, str]) -> ArraySource:
        """The same source with other names for its columns."""
        columns = {names[name]: column for name, column in self.columns.items()}
        load = {names[name]: function for name, function in self._load.items()}
        return ArraySource(columns, self.records, load, self.image and names[self.image])
