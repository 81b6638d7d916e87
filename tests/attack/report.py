"""Counts of an attack: tried, read, refused, faults by kind; as lines and as JSON."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Count:
    """What one kind of case came to. faults: by what makes two of them the same, with an example of each."""

    name: str
    tried: int = 0
    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: float = 0.0
    largest: int = 0

    def fault(self, where: str, said: str, example: str) -> bool:
        """Count a fault; whether it is the first of its kind."""
        self.faults[where] += 1
        if where in self.examples:
            return False
        self.examples[where] = f"{example}: {said}"
        return True

    def line(self) -> str:
        """For people."""
        refused = sum(self.refused.values())
        text = f"{self.name:20} {self.tried:8,} tried  {self.read:8,} read  {refused:8,} refused"
        text += f"  {sum(self.faults.values()):4} faults  {self.seconds:7.1f} s"
        return "\n".join([text, *(f"    {where}: {self.examples[where]}" for where in self.faults)])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "tried": self.tried,
            "read": self.read,
            "refused": sum(self.refused.values()),
            "ways to refuse": len(self.refused),
            "faults": dict(self.faults),
            "examples": self.examples,
            "seconds": round(self.seconds, 1),
            "slowest": round(self.slowest, 3),
            "largest growth of memory": self.largest,
        }


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError inside after so many seconds; in the main thread only."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
