"""Faults that the numbers of a run do not show: kernels that the interpreter runs well, and a GPU, which runs them at
once, may not; and steps that a GPU launches well and replays wrong.

Triton's interpreter lets every access to memory be looked at (`runtime/triton/interpreter/watch.py`); on a GPU, and
for the numpy target, nobody looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..compiler.codegen.unproved import Unproved
from .target import Results

if TYPE_CHECKING:
    from ..runtime.triton.interpreter.accesses import AccessFault


@dataclass(frozen=True)
class UnsafeFault:
    """A race, an access beside its buffer, or a read of memory that holds something else."""

    access: AccessFault
    program: str

    def __str__(self) -> str:
        return f"{self.access} ({self.access.kind}, {self.program})"

    def as_dict(self) -> dict[str, Any]:
        """What it adds to the form of any fault in JSON."""
        access = self.access
        found = {"station": "access", "name": access.function, "kind": access.kind, "layers": list(access.layers)}
        return found | {"program": self.program, "buffer": access.buffer, "count": access.count, "line": access.line}


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


@dataclass(frozen=True)
class Accesses:
    """What the kernels of a program did to memory: how many elements they read and wrote, and the faults.

    unwatched: why nobody looked; then the rest says nothing.
    """

    program: str
    count: int
    faults: tuple[UnsafeFault, ...]
    unwatched: str = ""

    def __str__(self) -> str:
        if self.unwatched:
            return f"accesses to memory, {self.program}: not watched: {self.unwatched}"
        count = len(self.faults)
        sound = "no races, none beside its buffer, none to what nobody wrote"
        return f"accesses to memory, {self.program}: {self.count:,}, {f'{count} WRONG' if count else sound}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "program": self.program,
            "count": self.count,
            "faults": len(self.faults),
            "unwatched": self.unwatched,
        }


def accesses(title: str, runs: Sequence[Results]) -> Accesses:
    """Of runs of one program, with its results kept and without: every fault once."""
    found = {(one.kind, one.function, one.buffer, one.line): one for run in runs for one in run.faults}
    faults = tuple(UnsafeFault(one, title) for one in found.values())
    return Accesses(title, sum(run.accesses for run in runs), faults, runs[0].unwatched)
