"""Batches in order, prefetched: what training and a test pass take, and the place in the data that a run resumes at.

The place counts the records that were taken, never those that were only prefetched. Several data side by side go
through one thread and are at the same place; datas of one length keep their rows together, shuffled, cropped and
mirrored alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ...compiler.program import UserError, ValueRange, placed
from ..value_ranges import check_ranges
from .prefetch import Prefetch
from .reader import ColumnType, Reader
from .source import DATA, Array

PREFETCH = 3  # batches; Caffe keeps 4, of which one is in use
MAX_EPOCHS = 1 << 62  # the random order of an epoch counts them in 64 bits

Job = tuple[int, int]
"""The place of a batch, and how many of its rows are records of their own."""
Slot = tuple[dict[str, Array], list[dict[str, Array]]]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: arrays by column, the caller's until the next batch is taken; not to be written to.

    In a test pass every record counts once though the last batch may not be full. The first `valid` rows are records
    that have not been counted before, the others repeat the first record of the data. A mean over the rows of each
    batch, averaged with `weight`, is the exact mean over all records: the batch with repeated rows weighs as a whole
    one, and one more batch of nothing but the repeated record (`valid` 0) takes them off again with a negative
    weight. The weights of a pass add up to the number of records.
    """

    columns: dict[str, Array]
    valid: int
    weight: int


@dataclass(frozen=True, slots=True)
class Share:
    """The rows of each batch that this process reads: the `rank`-th of `ranks` equal parts."""

    rank: int = 0
    ranks: int = 1


class Stream:
    """Batches of one data, or of several side by side; a context manager that ends its thread.

    share: the readers then have the batch of one process, `batch` is that of all; what a batch says of its rows
    (`valid`, `weight`) is of all, too.
    """

    def __init__(
        self,
        readers: Sequence[Reader],
        *,
        prefetch: int = PREFETCH,
        ranges: Sequence[ValueRange] = (),
        share: Share | None = None,
    ) -> None:
        first, share = readers[0], share or Share()
        self._ranges = tuple(ranges)
        self._rows = first.batching.batch
        self._first_row = share.rank * self._rows
        self.batch: int = self._rows * share.ranks
        self.records: int = first.records
        self.batches: int = first.batching.batches
        self.columns: dict[str, ColumnType] = {}
        self.known = tuple(name for reader in readers for name in reader.known)
        for reader in readers:
            if reader.batching.batch != self._rows or reader.batching.batches != self.batches:
                raise UserError(
                    f"{first.name} has batch {self._rows}, {reader.name} {reader.batching.batch}; data side by side "
                    f"need the same `batch` and `batches`"
                )
            if reader.records == self.records and reader.batching.shuffle != first.batching.shuffle:
                raise UserError(
                    f"{first.name} and {reader.name} lie side by side: shuffle both or neither, "
                    f"so that their records stay together"
                )
            for name in reader.columns:
                if name in self.columns:
                    raise UserError(
                        f"{reader.name}: there is a column `{name}` already; rename it with `columns: [...]`"
                    )
            self.columns.update(reader.columns)
        self._readers = list(readers)
        self._slots = max(1, prefetch) + 1
        self._taken = 0
        self._prefetch: Prefetch[Job, Slot] | None = None

    def start(self) -> None:
        """Begin to read, so that the first batch is ready when it is wanted."""
        if self._prefetch is None:
            places = itertools.count(self._taken, self.batch)
            self._prefetch = self._fill_ahead(zip(places, itertools.repeat(self.batch)))

    def next(self) -> Batch:
        """The next batch; the data begin again at their end, within a batch if need be (as Caffe's cursor)."""
        self.start()
        assert self._prefetch is not None
        taken = self._prefetch.take()
        assert taken is not None, "the jobs of a stream have no end"
        self._taken += self.batch
        return Batch(taken[1][0], self.batch, self.batch)

    @property
    def position(self) -> dict[str, int]:
        """The place of the next batch: `epoch` and `record` in it; and `records`, the length of the data."""
        epoch, record = divmod(self._taken, self.records)
        return {"epoch": epoch, "record": record, "records": self.records}

    def seek(self, position: Any) -> None:
        """Go on at a place that `position` gave (and a file kept), for data of the same length."""
        if not isinstance(position, Mapping):
            raise UserError(f"{self._readers[0].name} has no place {str(position)[:40]}")
        epoch, record = position.get("epoch", -1), position.get("record", -1)
        records = position.get("records", self.records)
        if not all(isinstance(number, int) for number in (epoch, record, records)):
            raise UserError(f"{self._readers[0].name} has no place {str(dict(position))[:100]}")
        if records != self.records:
            raise UserError(
                f"{self._readers[0].name} has {self.records:,} records, the place to go on at is in data of {records:,}"
            )
        if not 0 <= epoch < MAX_EPOCHS or not 0 <= record < self.records:
            raise UserError(f"{self._readers[0].name} has no place {str(dict(position))[:100]}")
        self.close()
        self._taken = epoch * self.records + record

    def one_pass(self, first: int = 0, every: int = 1) -> Iterator[Batch]:
        """A pass over the data from its first record, whatever the stream's own place: the same one every time.

        first, every: of its batches the first-th and each every-th after it; others are not read.

        With `batches` set, that many whole batches, beginning again at the end of the data; otherwise every record
        counts once (see `Batch`).
        """
        others = [reader for reader in self._readers if reader.records != self.records]
        if others and not self.batches:
            raise UserError(
                f"{self._readers[0].name} has {self.records:,} records, {others[0].name} {others[0].records:,}: "
                f"one pass needs the same number; or set `batches`"
            )
        prefetch = self._fill_ahead(itertools.islice(self._pass_jobs(), first, None, every))
        try:
            while (taken := prefetch.take()) is not None:
                (_, valid), (columns, _) = taken
                weight = valid if valid == self.batch else self.batch if valid else self._rest - self.batch
                yield Batch(columns, valid, weight)
        finally:
            prefetch.close()

    @property
    def _rest(self) -> int:
        """The records in the last batch of a pass where it is not full, else 0."""
        return 0 if self.batches else self.records % self.batch

    def _pass_jobs(self) -> Iterator[Job]:
        whole = self.batches or self.records // self.batch
        for number in range(whole):
            yield number * self.batch, self.batch
        if self._rest:
            yield whole * self.batch, self._rest
            yield 0, 0

    def _fill_ahead(self, jobs: Iterator[Job]) -> Prefetch[Job, Slot]:
        readers, ranges, rows, first = self._readers, self._ranges, self._rows, self._first_row
        names = ", ".join(reader.name for reader in readers)

        def fill(job: Job, slot: Slot) -> None:
            place, valid = job[0] + first, min(max(job[1] - first, 0), rows)
            for reader, scratch in zip(readers, slot[1], strict=True):
                with placed(DATA, reader.span):
                    reader.fill(place, valid, slot[0], scratch)
            with placed(DATA, readers[0].span):
                check_ranges(ranges, slot[0], names)

        scratch = [reader.scratch() for reader in readers]  # one thread fills, so one set
        slots: list[Slot] = []
        for _ in range(self._slots):
            columns = {name: array for reader in readers for name, array in reader.buffers().items()}
            slots.append((columns, scratch))
        return Prefetch(jobs, fill, slots)

    def close(self) -> None:
        """End the thread. The place stays; taking a batch begins again there."""
        if self._prefetch is not None:
            self._prefetch.close()
            self._prefetch = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
