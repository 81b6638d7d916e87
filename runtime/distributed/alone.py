"""Single-process execution: what the training loop asks of the processes of a run, answered by one that is alone.

`Group` (`group.py`) answers the same for several. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from ..state import State

Array = npt.NDArray[Any]
Answer = TypeVar("Answer")


class Signalled(Protocol):
    """Whoever catches signals; the number of the one that came."""

    @property
    def signal(self) -> int | None: ...

    def came(self) -> bool: ...


class Alone:
    """A run of one process. rank: its number; ranks: how many there are."""

    rank = 0
    ranks = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files of the run and shows how it goes."""
        return self.rank == 0

    @property
    def whole(self) -> bool:
        """Whether this process has the whole state."""
        return True

    def stopped_by(self, signals: Signalled) -> Signalled:
        """The signals at which all processes stop after the same step."""
        return signals

    def told(self, value: Any, source: int = 0) -> Any:
        """What one process says."""
        return value

    def check_same(self, facts: Mapping[str, str]) -> None:
        """UserError where processes differ in a fact."""

    def settled(self, call: Callable[[], Answer]) -> Answer | None:
        """What the first process gets of a call; its `UserError` is everybody's."""
        return call()

    def mean(self, array: Array) -> Array:
        """The mean of an array over all processes."""
        return array

    def sums_and_signal(self, values: Array) -> Array:
        """The sums over all processes, which hear then of signals that came to one of them."""
        return values

    def tree_sum(self, array: Array) -> None:
        """Add up an array over all processes, in place, two and two."""

    def in_turns(self, arrays: dict[str, Array], batch: int) -> dict[str, Array]:
        """The rows of all processes on the first, where they took batches in turn; on others their own."""
        return arrays

    def begin(self, opened: Callable[[], Answer], run: Any) -> Answer | None:
        """Open the files of a run, which stands then where they say."""
        return opened()

    def room(self, state: State) -> State:
        """A state with room for all that a snapshot holds."""
        return state

    def collect(self, state: State) -> None:
        """Before the state is tested or written: what each process has for itself becomes one."""

    def whole_state(self, state: State) -> State:
        """What a snapshot holds, on the first process."""
        return state


ALONE = Alone()
