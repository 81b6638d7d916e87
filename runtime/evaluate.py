"""The means of losses and metrics over test data, each record counting once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .state import State

Array = npt.NDArray[Any]


class ProgramText(Protocol):
    """What the loop asks of a program."""

    @property
    def inputs(self) -> Mapping[str, Any]: ...

    @property
    def returned(self) -> Mapping[str, Any]: ...

    @property
    def source(self) -> str: ...


class Runnable(Protocol):
    """What the loop asks of an `Executable`."""

    @property
    def program(self) -> ProgramText: ...

    @property
    def state(self) -> State: ...

    def run(self, feeds: Mapping[str, Array], /) -> Mapping[str, Array]: ...


class Batch(Protocol):
    """A batch of test data: `weight` records count in it; batches that repair a mean have a negative one."""

    @property
    def columns(self) -> Mapping[str, Array]: ...

    @property
    def weight(self) -> int: ...


class PassData(Protocol):
    """What gives one pass over test data."""

    def one_pass(self) -> Iterable[Batch]: ...


class TrainData(Protocol):
    """What the loop asks of a stream of training data; `position` is JSON, and `seek` takes it back.

    `next` raises EndOfData where nothing follows.
    """

    @property
    def batch(self) -> int: ...

    @property
    def position(self) -> Any: ...

    def next(self) -> Batch: ...

    def seek(self, position: Any, /) -> None: ...


class EndOfData(Exception):
    """Training data came to an end; what the message says is followed by the step."""


def never() -> bool:
    """No reason to stop."""
    return False


def evaluate(
    executable: Runnable, data: PassData, names: Collection[str], *, stop: Callable[[], bool] = never
) -> tuple[dict[str, float], int] | None:
    """The weighted mean of each named output over one pass, and the number of records; None if `stop` said so.

    An output of several numbers (accuracy per class) gives `name[0]`, `name[1]`, and so on.
    """
    sums: dict[str, Array] = {}
    records = 0
    for batch in data.one_pass():
        if stop():
            return None
        outputs = executable.run(feeds(executable, batch.columns))
        for name in names:
            value = np.asarray(outputs[name], np.float64) * batch.weight
            sums[name] = sums[name] + value if name in sums else value
        records += batch.weight
    return numbers({name: total / records for name, total in sums.items()}), records


def feeds(executable: Runnable, columns: Mapping[str, Array]) -> dict[str, Array]:
    """Those columns that a program reads."""
    return {name: columns[name] for name in executable.program.inputs if name in columns}


def numbers(arrays: Mapping[str, Array]) -> dict[str, float]:
    """One float a name; an array of several is spread over `name[i]`."""
    found: dict[str, float] = {}
    for name, array in arrays.items():
        flat = np.asarray(array).reshape(-1)
        if flat.size == 1:
            found[name] = float(flat[0])
        else:
            found.update({f"{name}[{i}]": float(value) for i, value in enumerate(flat)})
    return found
