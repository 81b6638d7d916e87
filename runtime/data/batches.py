"""An iterable's batches, of any sizes, cut anew into those of a program: for training, and for passes of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, Self

import numpy as np

from ...compiler.program import UserError
from ..evaluate import EndOfData
from .feeding import Types, checked, named
from .source import Array
from .stream import Batch


class Batches:
    """A stream over what an iterator gives; a context manager, as streams are.

    begin: begins a pass. again: whether there is more than one. An item is a batch, or a record where its arrays have
    an axis less. The place in the data is the number of records taken in this pass: a run that resumes passes over so
    many, so it goes on to the same bits where every pass is the same.
    """

    def __init__(self, what: str, begin: Callable[[], Iterator[Any]], *, again: bool) -> None:
        self.what, self._begin, self._again = what, begin, again
        self._types: Types = {}
        self.batch = 0
        self._first: Iterator[Any] | None = None  # a pass of which an item was looked at
        self._begun = False
        self._pieces: Iterator[dict[str, Array]] | None = None
        self._left: list[dict[str, Array]] = []
        self._passes = self._taken = 0

    def rows(self, types: Types) -> int:
        """The records of the first item: 0 where it is a single one. UserError where there is none."""
        items = self._items()
        first = next(items, None)
        if first is None:
            raise UserError(f"{self.what}: there is no batch in it")
        self._first = chain([first], items)
        arrays = named(self.what, first, list(types))
        return 0 if self._single(arrays, types) else checked(self.what, arrays, types)

    def open(self, types: Types, batch: int) -> Self:
        """The same for a program's inputs and batch."""
        self._types, self.batch = types, batch
        return self

    @staticmethod
    def _single(arrays: Mapping[str, Array], types: Types) -> bool:
        return all(array.ndim == len(types[name].shape) - 1 for name, array in arrays.items())

    def _items(self) -> Iterator[Any]:
        found, self._first, self._begun = self._first, None, True
        return found if found is not None else self._begin()

    def _cut(self) -> Iterator[dict[str, Array]]:
        """A pass: arrays with a row a record."""
        for number, item in enumerate(self._items(), 1):
            what = f"{self.what}: item {number:,}"
            arrays = named(what, item, list(self._types))
            if single := self._single(arrays, self._types):
                arrays = {name: array[None] for name, array in arrays.items()}
            if checked(what, arrays, self._types) or single:
                yield arrays

    def next(self) -> Batch:
        """The next batch; where a pass ends another begins, and without another the data are at their end."""
        parts: list[dict[str, Array]] = []
        count = 0
        while count < self.batch:
            piece = self._take(self.batch - count)
            parts.append(piece)
            count += _rows(piece)
        return Batch(_joined(parts), self.batch, self.batch)

    def _take(self, most: int) -> dict[str, Array]:
        """Rows of what stands next, at most so many."""
        fresh = False
        while not self._left:
            if self._pieces is None:
                self._pieces, fresh = self._cut(), True
            piece = next(self._pieces, None)
            if piece is not None:
                self._left.append(piece)
            elif fresh:
                raise UserError(f"{self.what}: there is no batch in it")
            elif not self._again:
                raise EndOfData(f"{self.what} came to its end")
            else:
                self._pieces, self._passes, self._taken = None, self._passes + 1, 0
        whole = self._left.pop()
        if _rows(whole) > most:
            self._left.append({name: array[most:] for name, array in whole.items()})
            whole = {name: array[:most] for name, array in whole.items()}
        self._taken += _rows(whole)
        return whole

    @property
    def position(self) -> dict[str, int]:
        """The place of the next batch: the pass, and the records that were taken in it."""
        return {"epoch": self._passes, "record": self._taken}

    def seek(self, position: Any) -> None:
        """Go on at a place that `position` gave, by passing over what lies before it."""
        place = [position.get(key) for key in ("epoch", "record")] if isinstance(position, Mapping) else []
        whole = [one for one in place if isinstance(one, int) and one >= 0]
        if len(whole) != 2:
            raise UserError(f"{self.what} has no place {str(position)[:100]}")
        self._left, self._pieces, self._taken = [], None, 0
        here, record = whole
        self._passes = here
        try:
            while self._taken < record and self._passes == here:
                self._take(record - self._taken)
        except EndOfData:
            self._passes += 1
        if self._passes != here:
            raise UserError(f"{self.what} has fewer than {record:,} records, where the run would go on")

    def one_pass(self) -> Iterator[Batch]:
        """A pass in which every record counts once (see `Batch` in stream.py)."""
        if self._begun and not self._again and self._first is None:
            raise UserError(
                f"{self.what}: an iterator gives one pass, and another is needed: give a list, arrays, or a function "
                "that returns an iterator"
            )
        held: list[dict[str, Array]] = []
        first: dict[str, Array] | None = None
        count = 0
        for piece in self._cut():
            first = {name: array[:1].copy() for name, array in piece.items()} if first is None else first
            held.append(piece)
            count += _rows(piece)
            while count >= self.batch:
                rows = _joined(held)
                yield Batch({name: array[: self.batch] for name, array in rows.items()}, self.batch, self.batch)
                held = [{name: array[self.batch :] for name, array in rows.items()}]
                count -= self.batch
        if first is None:
            raise UserError(f"{self.what}: there is no batch in it")
        if count:
            again = {name: np.repeat(array, self.batch, axis=0) for name, array in first.items()}
            rest = _joined([*held, {name: array[count:] for name, array in again.items()}])
            yield Batch(rest, count, self.batch)
            yield Batch(again, 0, count - self.batch)

    def close(self) -> None:
        """Forget the pass."""
        self._left, self._pieces = [], None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _rows(arrays: Mapping[str, Array]) -> int:
    return len(next(iter(arrays.values())))


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return parts[0] if len(parts) == 1 else {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}
