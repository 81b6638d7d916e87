"""Online variance of a part of the rows: squared deviations, summed in the same pass over its elements as the sum.

Each lane of the block keeps a sum s and the squares about its own mean: with its k-th element x, already in s, they
grow by (x - s / k)^2 k / (k - 1) (Youngs and Cramer, 1971). At the end the lanes' squares are added, and what their
means deviate from the part's (Chan, Golub and LeVeque, 1983); the final reduction combines parts in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..loops.body import Body
from ..loops.place import SUM, Value
from ..loops.reductions import Accumulator
from .dialect import TYPES


@dataclass(frozen=True)
class Squares:
    """The names of what all squares of a part share: of iteration k, k itself, 1 / k and k / (k - 1)."""

    body: Body
    dtype: str
    turns: str
    share: str
    weight: str

    @classmethod
    def start(cls, body: Body, dtype: str) -> Squares:
        """Write the count's first value."""
        turns = body.variable("turns", Value("0", dtype, number=0))
        return cls(body, dtype, turns, body.name("share"), body.name("weight"))

    def step(self) -> None:
        """Write, inside of the loop, that an iteration begins."""
        self.body.put(f"{self.turns} += 1.0")
        self.body.put(f"{self.share} = 1.0 / {self.turns}")
        self.body.put(f"{self.weight} = {self.turns} / tl.maximum({self.turns} - 1.0, 1.0)")

    def update(self, squares: Accumulator, total: Accumulator, x: Value, inside: str) -> None:
        """Write what an element does to the squares, after it was added to the total. inside: whether there is one."""
        away = self.body.name("away")
        text = f"{x.within(SUM + 1)} - {total.name} * {self.share}"
        self.body.put(f"{away} = " + (f"tl.where({inside}, {text}, 0.0)" if inside else text))
        self.body.put(f"{squares.name} += {away} * {away} * {self.weight}")

    def of_lanes(self, squares: Accumulator, total: Accumulator, whole: Value, left: str, lanes: str) -> str:
        """What each lane adds to the squares of the part.

        whole: the part's sum. left: how many elements the part has, lanes: how many of them each lane, as text.
        """
        body = self.body
        away, each = body.name("away"), self._number(lanes, "each")
        body.put(f"{away} = {total.name} - {each} * ({whole.text} / {self._number(left, 'left')})")
        return f"{squares.name} + {away} * {away} / {each if lanes.isdigit() else f'tl.maximum({each}, 1.0)'}"

    def _number(self, text: str, name: str) -> str:
        """A whole number, by its text, in the type of the squares."""
        if text.isdigit():
            return f"{text}.0"
        name = self.body.name(name)
        self.body.put(f"{name} = ({text}).to({TYPES[self.dtype]})")
        return name
