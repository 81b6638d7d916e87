"""One data of a `.net` file, opened: which records a batch holds, read and transformed into the caller's buffers.

Everything is a function of the place, the number of records taken before; there is no cursor here (see `stream.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...compiler.program import UserError
from .files import memory_limit
from .order import Words, draws, permutation
from .source import Array, DrawnSource, Indices, Mode, Place, Source
from .transform import Pixels, Transform

ColumnType = tuple[tuple[int, ...], np.dtype[Any]]


@dataclass(frozen=True)
class Batching:
    """The settings that every source takes."""

    batch: int
    batches: int = 0
    shuffle: bool = False
    columns: Sequence[str] = ()


class Reader:
    """A source with its settings; `columns` are the types of a batch by the names that the net sees.

    pixels: what happens to the source's images. own: what happens to columns, by the names that the net sees. known:
    the names of all columns, those included that are not wanted.
    """

    def __init__(
        self,
        source: Source,
        batching: Batching,
        pixels: Pixels,
        place: Place,
        *,
        own: Mapping[str, Pixels] | None = None,
        mode: Mode,
        seed: int,
        only: Collection[str] | None,
    ) -> None:
        if batching.batch < 1 or batching.batches < 0:
            raise UserError(
                f"{place.name}: `batch` must be at least 1 and `batches` at least 0, "
                f"found {batching.batch} and {batching.batches}"
            )
        self.name, self.span = place.name, place.span
        self.source = source
        self.records = source.records
        self.batching = batching
        self.seed = seed
        self._orders: dict[int, Indices] = {}
        stored = list(source.columns)
        names = list(batching.columns) or stored
        if len(names) > len(stored) or len(set(names)) < len(names):
            raise UserError(
                f"{place.name}: `columns` names {', '.join(names)}; {len(stored)} different names fit, for "
                f"{', '.join(stored)}"
            )
        self.known = tuple(names)
        self._stored = {
            name: column for name, column in zip(names, stored, strict=False) if only is None or name in only
        }
        given = self._given(pixels, own or {}, dict(zip(names, stored, strict=False)))
        self._transforms: dict[str, Transform] = {}
        self.columns: dict[str, ColumnType] = {}
        for name, column in self._stored.items():
            kept = source.columns[column]
            shape, dtype = kept.shape, kept.dtype
            if name in given:
                transform = Transform(source, column, given[name], mode, place)
                self._transforms[name] = transform
                shape, dtype = transform.shape, np.dtype(np.float32)
            self.columns[name] = (batching.batch, *shape), dtype
            size = int(np.prod(self.columns[name][0], dtype=object)) * dtype.itemsize
            if size > memory_limit() // 4:  # several are held at a time
                raise UserError(
                    f"{place.name}: a batch of `{name}` would take {size:,} bytes; choose a smaller `batch`"
                )

    def _given(self, pixels: Pixels, own: Mapping[str, Pixels], stored: Mapping[str, str]) -> dict[str, Pixels]:
        """What happens to columns, by the names that the net sees; UserError where that cannot be, or is unclear."""
        source, columns = self.source, self.source.columns
        for name in own:
            if name not in stored:
                raise UserError(f"{self.name}: `transforms` names `{name}`; the columns are {', '.join(stored)}")
            if columns[stored[name]].dtype.kind in "ib":
                kept = columns[stored[name]].dtype
                raise UserError(f"{self.name}: `{name}` holds {kept}; floats and bytes alone are transformed")
        given = {name: pixels for name, column in stored.items() if column == source.image} | dict(own)
        if pixels.plain:
            return given
        first = next(iter(stored))
        if source.image is None:
            raise UserError(
                f"{self.name}: scale, mean, crop and mirror apply to the first column, `{first}`, which holds "
                f"{columns[stored[first]].dtype}; put the images first with `arrays: [...]`"
            )
        others = {name: columns[column] for name, column in stored.items() if column != source.image}
        also = [name for name, kept in others.items() if kept.shape and kept.dtype.kind in "fu"]
        if own or also:
            which = " and ".join(f"`{name}`" for name in [first, *also])
            raise UserError(
                f"{self.name}: scale, mean, crop and mirror are of {which}, or of which? "
                f"say it of each column: `transforms: [{first}(scale: 0.5)]`"
            )
        return given

    def buffers(self) -> dict[str, Array]:
        """New arrays for a batch."""
        return {name: np.empty(shape, dtype) for name, (shape, dtype) in self.columns.items()}

    def scratch(self) -> dict[str, Array]:
        """New arrays for stored values on their way; one set for each thread that fills."""
        staged = {}
        for name, transform in self._transforms.items():
            if transform.whole and not transform.direct:
                kept = self.source.columns[transform.column]
                staged[name] = np.empty((self.batching.batch, *kept.shape), kept.dtype)
        return staged

    def fill(self, place: int, valid: int, out: Mapping[str, Array], scratch: Mapping[str, Array]) -> None:
        """A batch of the records from the `place`-th taken on; from row `valid` on the first record of all stands.

        All those rows are equal, drawn at random or not, and so are the ones of a batch with no valid rows.
        """
        if isinstance(self.source, DrawnSource):
            columns = {column: out[name] for name, column in self._stored.items()}
            self.source.draw(self._words(place, valid), valid, columns)
            return
        indices = self.indices(place, valid)
        for name, column in self._stored.items():
            transform = self._transforms.get(name)
            if transform is None or transform.direct:
                self.source.gather(column, indices, out[name])
            elif transform.whole:
                self.source.gather(column, indices, scratch[name])
                transform.batch(scratch[name], out[name])
            else:
                drawn = self._words(place, valid) if transform.draws else None
                transform.images(self.source, indices, drawn, out[name])

    def _words(self, place: int, valid: int) -> Words:
        """The random words of a batch's rows."""
        drawn = draws(self.seed, place, self.batching.batch)
        if valid < len(drawn):
            drawn[valid:] = draws(self.seed, 0, 1)
        return drawn

    def indices(self, place: int, valid: int) -> Indices:
        """The records of a batch."""
        indices = np.empty(self.batching.batch, np.int64)
        row = 0
        while row < valid:
            epoch, start = divmod(place + row, self.records)
            count = min(valid - row, self.records - start)
            indices[row : row + count] = self._order(epoch, start, count)
            row += count
        if valid < len(indices):
            indices[valid:] = self._order(0, 0, 1)[0]
        return indices

    def _order(self, epoch: int, start: int, count: int) -> Indices:
        """A piece of the order of the records in an epoch."""
        if not self.batching.shuffle:
            return np.arange(start, start + count)
        order = self._orders.get(epoch)
        if order is None:
            order = permutation(self.seed, epoch, self.records)
            kept = list(self._orders.items())[-1:]  # a batch may lie in two epochs, a test pass in another
            self._orders = dict([*kept, (epoch, order)])
        return order[start : start + count]
