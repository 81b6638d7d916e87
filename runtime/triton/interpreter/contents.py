"""What lies in the arena: which launch stored each byte last, and as a part of which buffer.

At the beginning of a step the arena holds what was prepared and nothing else. A buffer may only be read where the last
one to store there stored the same buffer: else it was never written, or something else lies over it by now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .spans import Elements

Array = npt.NDArray[Any]
Calls = Sequence[Sequence[Elements]]
PHASES = ("prepare", "step")


@dataclass(frozen=True)
class Store:
    """An argument of a launch: where it stands, and the buffer that it is a part of."""

    phase: str
    call: int
    argument: int
    root: str


@dataclass(frozen=True)
class Lost:
    """A value that is prepared once, read in each step, and overwritten in the first: where, and by whom."""

    reader: tuple[int, int]  # call and argument
    place: int
    count: int
    writer: int


class Contents:
    """The arena of a program, of so many bytes."""

    def __init__(self, memory: str, size: int, phases: Mapping[str, Calls], outputs: Sequence[Elements]) -> None:
        self.memory = memory
        held = [span for phase in PHASES for call in phases[phase] for span in call if span.memory == memory]
        held += [span for span in outputs if span.memory == memory]
        self.unit = min((span.item for span in held), default=1)
        self.stores: list[Store | None] = [None]
        self._numbers: dict[tuple[str, int, int], int] = {}
        roots = {span.root: number + 1 for number, span in enumerate(held)}
        of = [0]
        for phase in PHASES:
            for i, call in enumerate(phases[phase]):
                for k, span in enumerate(call):
                    if span.written and span.memory == memory:
                        self._numbers[phase, i, k] = len(self.stores)
                        self.stores.append(Store(phase, i, k, span.root))
                        of.append(roots[span.root])
        self._last = max((n for (phase, _, _), n in self._numbers.items() if phase == "prepare"), default=0)
        self._roots, self._root_of = roots, np.array(of, np.int32)
        self.writer: Array = np.zeros(-(-size // self.unit), np.uint16 if len(of) < 1 << 16 else np.uint32)
        self._needed: dict[tuple[int, int], tuple[Elements, Array]] = {}

    def begin(self, phase: str) -> None:
        """Forget what does not live on."""
        self.writer[self.writer > (self._last if phase == "step" else 0)] = 0
        self._needed = {}

    def _part(self, span: Elements) -> Array:
        """A view of what is noted of a buffer's reach, one row for each element."""
        whole = self.writer[span.start // self.unit : span.stop // self.unit]
        return whole.reshape(-1, span.item // self.unit)

    def stale(self, span: Elements) -> Array | None:
        """Of the elements that a buffer reaches over those that hold something else than it; None if there are none."""
        wrong: Array = (self._root_of[self._part(span)] != self._roots[span.root]).any(axis=1)
        if span.own is not None:
            wrong &= span.own
        return wrong if wrong.any() else None

    def unwritten(self, span: Elements) -> Array:
        """Of the elements that a buffer reaches over its own that nobody has written."""
        missing: Array = (self._part(span) == 0).any(axis=1)
        return missing if span.own is None else missing & span.own

    def writer_of(self, span: Elements, place: int) -> Store | None:
        """Who stored an element of a buffer's reach, as far as somebody did."""
        return self.stores[int(self._part(span)[place].max())]

    def use(self, span: Elements, call: int, argument: int) -> None:
        """Note that a launch of the step reads what was prepared, if it does."""
        if self._last and (call, argument) not in self._needed:
            part = self._part(span)
            prepared: Array = np.all((part > 0) & (part <= self._last), axis=1)
            if span.own is not None:
                prepared = prepared & span.own
            if prepared.any():
                self._needed[call, argument] = span, prepared

    def mark(self, phase: str, call: int, argument: int, span: Elements, written: Array) -> None:
        """Note what a launch stored through an argument: `written` has a truth for each unit of its reach."""
        number = self._numbers.get((phase, call, argument))
        if number is None:
            return
        part = self._part(span)
        where = written.reshape(part.shape)
        if span.own is not None:
            where = where & span.own[:, None]
        part[where] = number

    def lost(self) -> list[Lost]:
        """What the next step will miss."""
        found = []
        for reader, (span, prepared) in self._needed.items():
            part = self._part(span)
            gone = np.flatnonzero(prepared & (part > self._last).any(axis=1))
            if gone.size:
                found.append(Lost(reader, int(gone[0]), int(gone.size), int(part[gone[0]].max())))
        return found
