"""Where a solver of Caffe's stopped: SolverState in a `.solverstate`, its histories as blobs.

The histories stand in the order of the net's learnable parameters; of solvers with two (AdaDelta, Adam) all second ones
follow all first ones. The statistics of a batch norm count as parameters, whose histories are 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...compiler.program import UserError
from ..atomic import replace_file
from .blob import Blob, blob_size, read_blob, write_blob
from .wire import MAX_MESSAGE, Damaged, Message, mapped, opening, text, whole

ITER, LEARNED_NET, HISTORY, CURRENT_STEP = 1, 2, 3, 4
MAX_HISTORIES = 1 << 18


@dataclass(frozen=True)
class SolverState:
    """iter: updates done. learned_net: the path of the weights, as it was written. current_step: of `multistep`."""

    iter: int
    history: tuple[Blob, ...]
    learned_net: str = ""
    current_step: int = 0


def read_solver_state(path: Path) -> SolverState:
    """The state in a `.solverstate`, its histories as views; a `UserError` where it is none."""
    with mapped(path, "a solverstate") as message:
        if not len(message):
            raise Damaged("it is empty")
        return parse_solver_state(message)


def parse_solver_state(message: Message) -> SolverState:
    """The state that a message holds; `Damaged` where something does not fit."""
    number, net, step = 0, "", 0
    history: list[Blob] = []
    for found in message.fields():
        if found.number == ITER:
            number = message.number(found)
        elif found.number == LEARNED_NET:
            net = message.text(found)
        elif found.number == CURRENT_STEP:
            step = message.number(found)
        elif found.number == HISTORY:
            if len(history) == MAX_HISTORIES:
                raise Damaged(f"more than {MAX_HISTORIES:,} histories")
            history.append(read_blob(message.inner(found)))
    return checked_state(number, history, net, step)


def checked_state(number: int, history: list[Blob], net: str, step: int) -> SolverState:
    """A state with numbers that can be; `Damaged` otherwise."""
    if not 0 <= number < 1 << 31 or not 0 <= step < 1 << 31:
        raise Damaged(f"iteration {number}, step {step} of the learning rate")
    return SolverState(number, tuple(history), net, step)


def write_solver_state(path: Path, state: SolverState) -> None:
    """Write a `.solverstate`, whole or not at all; a `UserError` where Caffe could not read it."""
    size = sum(blob_size(blob) + 16 for blob in state.history)
    if size > MAX_MESSAGE:
        raise UserError(f"{path}: {size:,} bytes, and Caffe reads at most {MAX_MESSAGE:,}: write a .solverstate.h5")

    def write(part: Path) -> None:
        with part.open("wb") as file:
            _write(state, file.write)

    replace_file(path, write)


def _write(state: SolverState, write: Callable[[bytes | memoryview], object]) -> None:
    write(whole(ITER, state.iter) + text(LEARNED_NET, state.learned_net))
    for blob in state.history:
        write(opening(HISTORY, blob_size(blob)))
        write_blob(blob, write)
    write(whole(CURRENT_STEP, state.current_step))
