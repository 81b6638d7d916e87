"""Static proofs and replays: faults that the numbers of a run do not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..compiler.fault import Unproved
from ..compiler.program import Proofs
from .target import Results


@dataclass(frozen=True)
class Proved:
    """What was proved of a program as it was written, whatever its numbers are."""

    program: str
    of: Proofs

    def __str__(self) -> str:
        told = [f"{self.of.reads:,} reads of values come after their writes and before anything lies over them"]
        if self.of.loads or self.of.stores:
            told.append(f"{self.of.loads:,} loads and {self.of.stores:,} stores of kernels are in bounds")
            threads = f", also those of {self.of.shared:,} kernels that threads share out" if self.of.shared else ""
            told.append(f"stores are apart and complete{threads}")
        return f"proved, {self.program}: {', '.join(told)}"


@dataclass(frozen=True)
class ProofFault:
    """What could not be proved when a program was written; so it was not written. layers: of the kernel."""

    error: Unproved
    program: str
    layers: tuple[str, ...]

    def like(self, other: object) -> bool:
        """Whether both are the same fault, of nets that may be others."""
        return isinstance(other, ProofFault) and other.error.kind == self.error.kind

    def __str__(self) -> str:
        return f"the program, {self.program}, is not proved: {self.error}"

    def as_dict(self) -> dict[str, Any]:
        """What it adds to the form of any fault in JSON."""
        found = {"station": "proof", "name": self.error.kind, "kind": self.error.kind, "layers": list(self.layers)}
        return found | {"program": self.program, "told": self.error.told}


@dataclass(frozen=True)
class ReplayFault:
    """Outputs and buffers of state (names) that a replay of a program gives other bits than its launches did."""

    names: tuple[str, ...]
    program: str

    def __str__(self) -> str:
        more = f" and {len(self.names) - 1} more" if len(self.names) > 1 else ""
        return (
            f"the replay of the program, {self.program}, gives {self.names[0]}{more} other bits than its launches did"
        )

    def as_dict(self) -> dict[str, Any]:
        """What it adds to the form of any fault in JSON."""
        return {"station": "replay", "name": self.names[0], "layers": [], "program": self.program}


def replay_faults(title: str, runs: Sequence[Results]) -> list[ReplayFault]:
    """Of runs of one program, with its results kept and without: what differed, once."""
    names = tuple(dict.fromkeys(name for run in reversed(runs) for name in run.differing))
    return [ReplayFault(names, title)] if names else []
