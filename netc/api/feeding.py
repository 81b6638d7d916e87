"""Data given to a function of the API, in the place of data that a file names: what kind it is, and its stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from ..compiler.spec import DataSpec
from ..compiler.types import TensorType
from ..grammar.source import UserError
from ..runtime.data import Batch, Mode, Stream
from ..runtime.data.batches import Batches
from ..runtime.data.feeding import Items, checked, in_memory, named, passes
from ..runtime.data.reader import Batching, Reader
from ..runtime.data.source import Place, Source
from ..runtime.data.transform import Pixels

Array = npt.NDArray[Any]
Types = Mapping[str, TensorType]
BATCH = 64  # records at a time, where neither the data nor anybody says


class Fed(Protocol):
    """What gives batches to train on, or passes to test on: `Stream` and `Batches`."""

    @property
    def batch(self) -> int: ...

    @property
    def position(self) -> Any: ...

    def next(self) -> Batch: ...

    def seek(self, position: Any, /) -> None: ...

    def one_pass(self) -> Iterator[Batch]: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class Feed:
    """Data of the caller: arrays (a dictionary, a tuple, one), a data set by index, or an iterable of batches.

    what: the argument's name. UserError for anything else.
    """

    def __init__(self, what: str, given: Any) -> None:
        self.what, self._given = what, given
        self._batches: Batches | None = None
        self.in_memory = isinstance(given, Mapping | tuple) or hasattr(given, "__array__")
        self._by_index = not self.in_memory and _by_index(given)
        if not (self.in_memory or self._by_index):
            begin, again = passes(what, given)
            self._batches = Batches(what, begin, again=again)

    def arrays(self, types: Types) -> dict[str, Array]:
        """The arrays of one that is in memory, by input."""
        return named(self.what, self._given, list(types))

    def batch(self, said: int, types: Callable[[], Types]) -> int:
        """Records in a batch: as many as its batches have; else as the file says, or as there are, at most 64."""
        if self._batches is not None:
            return self._batches.rows(types()) or said or BATCH
        if said:
            return said
        count = len(self._given) if self._by_index else checked(self.what, self.arrays(types()), types())
        return min(BATCH, max(count, 1))

    def open(self, types: Types, *, shuffle: bool, seed: int, mode: Mode) -> Fed:
        """Batches of it for the inputs of a program."""
        batch = int(next(iter(types.values())).shape[0])
        if self._batches is not None:
            return self._batches.open(types, batch)
        source: Source = in_memory(self.what, self.arrays(types), types) if self.in_memory else self._items(types)
        batching, place = Batching(batch, shuffle=shuffle), Place(self.what, Path())
        return Stream([Reader(source, batching, Pixels(), place, mode=mode, seed=seed, only=None)])

    def _items(self, types: Types) -> Items:
        return Items(self.what, self._given, types)


def _by_index(given: Any) -> bool:
    """Whether it is a data set that has a length and gives each record by its number."""
    if isinstance(given, list | str | bytes | set | frozenset | range | np.generic):
        return False
    if isinstance(given, type) or not (hasattr(given, "__len__") and hasattr(given, "__getitem__")):
        return False
    try:
        return len(given) == 0 or given[0] is not None
    except NotImplementedError:  # what torch's data sets of iterators have
        return False


@dataclass(frozen=True)
class FedData(DataSpec):
    """The data of a `train` block or a test, given by the caller."""

    feed: Feed | None = None


def fed_data(name: str, feed: Feed, batch: int, *, shuffle: bool) -> FedData:
    """Data by that name, in batches of so many."""
    return FedData(name, "python", (("batch", batch), ("shuffle", shuffle)), Path(), feed=feed)


def open_fed(data: FedData, inputs: Types, *, seed: int, mode: Mode) -> Fed:
    """The stream for a program's inputs; UserError for a program that reads nothing, or has no axis for records."""
    assert data.feed is not None
    if not inputs or any(not type_.shape for type_ in inputs.values()):
        shown = ", ".join(f"{name}: {type_}" for name, type_ in inputs.items()) or "nothing"
        raise UserError(f"`{data.feed.what}` holds records, and the net reads {shown}")
    return data.feed.open(inputs, shuffle=bool(data.get("shuffle")), seed=seed, mode=mode)
