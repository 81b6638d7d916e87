"""Which numbers a setting takes: what its annotation says beside its type. It imports the standard library only.

    def sgd(*, lr: NotNegative, momentum: Share = 0.0) -> None: ...

`kinds.py` reads it, so that all calls of a `.net` file are checked alike. What depends on the sizes of tensors, or on
two settings at once, is refused by the function itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`. above, below: without `low`, without `high`."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies in it."""
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}" if self.above else f"from {self.low:g} up"
        if self.below:
            return f"from {self.low:g} up and below {self.high:g}"
        return f"from {self.low:g} to {self.high:g}"


NotNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, above=True)]
Share = Annotated[float, Range(0, 1, below=True)]
Part = Annotated[float, Range(0, 1)]
Count = Annotated[int, Range(0)]
AtLeastOne = Annotated[int, Range(1)]
