"""Data parallel training of a block: the rows of each process, and the programs as all of them run them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from ..compiler.program import HostCall
from ..compiler.spec import DataSpec
from ..grammar.source import UserError
from ..request import Mode, Request
from ..runtime.distributed.alone import Alone

if TYPE_CHECKING:
    from ..runtime.executable import Executable


def check_same(group: Alone, text: str, want: Request) -> None:
    """UserError where the processes are of other versions, or are to train something else."""
    from .. import __version__

    how = f"{want.target} on {want.device}"
    group.check_same({"netc": __version__, "file": fingerprint(text, repr(want.settings)), "target": how})


def fingerprint(*texts: str) -> str:
    """What two texts have in common only if they are equal."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def rows(data: DataSpec, batch: int, mode: Mode, want: Request) -> int:
    """Of a batch the records that a program takes; UserError where the parts of a step would not be equal."""
    shares = want.shares if mode == "train" else want.ranks
    if mode == "train" and batch % shares:
        near, what = max(shares, round(batch / shares) * shares), "parts" if want.parts else "processes"
        raise UserError(
            f"{data.name}: {shares} {what} cannot share batches of {batch} equally; "
            f"start another number, or use --batch {near}"
        )
    return max(1, batch // shares)


def step_of(made: list[Executable], accumulate: int, want: Request, group: Alone) -> list[Any]:
    """The programs of a step: the last is the step, the one before it what accumulates."""
    if want.shares == 1:
        return [*made]
    from ..runtime.distributed.step import shared

    if want.shares > group.ranks > 1 and any(isinstance(one, HostCall) for one in made[0].program.parts):
        raise UserError("--parts makes parts one after the other, and a layer that is synchronized needs all at once")
    return shared(group, made, accumulate, want.shares, exact=want.parts is not None)


def tester_of(made: list[Executable], group: Alone) -> Any:
    """The program of a test; each of several processes runs it on its share of a batch."""
    if group.ranks == 1:
        return made[-1]
    from ..runtime.distributed.step import SharedProgram

    return SharedProgram(group, made[-1])
