"""Data of the caller's own as training data: arrays in memory, data sets by index, and iterables of batches.

An array's row, or an item of a data set, is a record of a source like any other: shuffled by the seed, resumed to the
same record. An iterable gives batches of any sizes, or single records, in an order of its own; they are cut anew into
the batches that a program takes. Libraries that make such objects are not imported here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...compiler.program import TensorType, UserError, printable, shown
from .source import Array, ArraySource, Column, Indices, Source

Types = Mapping[str, TensorType]


def array_of(name: str, value: Any) -> Array:
    """Numbers of numpy, of another library that hands them to numpy, or lists of them; UserError for anything else."""
    for away in ("detach", "cpu"):  # of a tensor that a gradient is asked for, or that a GPU has
        if hasattr(value, away):
            value = getattr(value, away)()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):
        raise UserError(f"{name} is no array of numbers: {type(value).__name__:.60}") from None
    if array.dtype.kind not in "fiub":
        raise UserError(f"{name} holds {printable(str(array.dtype), 40)}, not numbers")
    return array


def named(what: str, value: Any, inputs: Sequence[str]) -> dict[str, Array]:
    """Arrays by input: of a dictionary by name, of a tuple or list in the order of the inputs, or the only one.

    UserError where one is missing, or another number of them is given. A dictionary may hold more than is read.
    """
    if isinstance(value, Mapping):
        if missing := [name for name in inputs if name not in value]:
            held = ", ".join(printable(str(key), 40) for key in value) or "nothing"
            raise UserError(f"{what}: there is no `{missing[0]}`; it holds {held}")
        parts = [value[name] for name in inputs]
    elif isinstance(value, tuple | list) and (len(inputs) > 1 or isinstance(value, tuple)):
        parts = list(value)
    else:
        parts = [value]
    if len(parts) != len(inputs):
        wants = f"({', '.join(inputs)})" if len(inputs) > 1 else f"`{', '.join(inputs)}` alone"
        given = f"{len(parts)} arrays" if len(parts) != 1 else "one array"
        raise UserError(f"{what}: {given} for the inputs {wants}")
    return {name: array_of(f"{what}: `{name}`", part) for name, part in zip(inputs, parts, strict=True)}


def checked(what: str, arrays: Mapping[str, Array], types: Types, rank: int = 0) -> int:
    """The rows of arrays, which fit the inputs from the second axis on; rank: 1 for single records, which have none."""
    for name, array in arrays.items():
        type_ = types[name]
        shape = tuple(map(int, type_.shape))[1:]
        if array.shape[1 - rank :] != shape or array.ndim != len(shape) + 1 - rank:
            raise UserError(f"{what}: `{name}` has the shape {list(array.shape)}, the input is {type_}")
        if not np.can_cast(array.dtype, type_.numpy_dtype, "same_kind"):
            raise UserError(f"{what}: `{name}` holds {array.dtype}, the input is {type_}")
    counts = {name: len(array) for name, array in arrays.items()} if not rank else {}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"`{name}` {count:,}" for name, count in counts.items())
        raise UserError(f"{what}: the arrays differ in their numbers of rows: {shown}")
    return next(iter(counts.values()), 1)


def in_memory(what: str, arrays: Mapping[str, Array], types: Types) -> ArraySource:
    """Arrays as a source, a row a record."""
    count = checked(what, arrays, types)
    if not count:
        raise UserError(f"{what}: there is no record in it")
    columns = {name: Column(array.shape[1:], array.dtype) for name, array in arrays.items()}
    return ArraySource(columns, count, {name: lambda array=array: array for name, array in arrays.items()}, None)  # type: ignore[misc]


class Items(Source):
    """A data set that is asked for records by number, each a dictionary or a tuple of arrays as a net's inputs."""

    def __init__(self, what: str, given: Any, types: Types) -> None:
        self._what, self._given, self._types = what, given, types
        self.records = len(given)
        if not self.records:
            raise UserError(f"{what}: there is no record in it")
        self._held: tuple[Indices | None, list[dict[str, Array]]] = (None, [])
        self._lock = threading.Lock()
        first = self._item(0)
        self.columns = {name: Column(array.shape, array.dtype) for name, array in first.items()}

    def _item(self, index: int) -> dict[str, Array]:
        what = f"{self._what}: record {index:,}"
        found = named(what, self._given[index], list(self._types))
        checked(what, found, self._types, rank=1)
        return found

    def record(self, column: str, index: int) -> Array:
        return self._item(index)[column]

    def gather(self, column: str, indices: Indices, out: Array) -> None:
        with self._lock:  # the columns of a batch are asked for one after the other: its records are made once
            if self._held[0] is not indices:
                self._held = indices, [self._item(int(index)) for index in indices]
            for row, item in enumerate(self._held[1]):
                if not np.can_cast(item[column].dtype, out.dtype, "same_kind"):
                    kinds = f"{item[column].dtype}, that of the first {out.dtype}"
                    raise UserError(f"{self._what}: `{column}` of a record holds {kinds}")
                out[row] = item[column]


def passes(what: str, given: Any) -> tuple[Callable[[], Iterator[Any]], bool]:
    """What begins a pass over an iterable, or over what a function returns; and whether there is more than one.

    UserError for what is neither.
    """
    if callable(given) and not isinstance(given, Iterable):

        def begin() -> Iterator[Any]:
            found = given()
            if not isinstance(found, Iterable):
                raise UserError(f"{what}: the function returns {shown(found)}, not an iterator")
            return iter(found)

        return begin, True
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        return lambda: iter(given), not isinstance(given, Iterator)
    raise UserError(
        f"`{what}` takes arrays by the names of inputs, a tuple of them, a data set, batches or a function that "
        f"returns an iterator of them, not {shown(given)}"
    )
