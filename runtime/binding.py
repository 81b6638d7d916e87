"""What a program can be bound to in the place of its own memory: arrays of the caller, and states of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import Program, StateInfo, TensorType, UserError
from .state import State

Array = npt.NDArray[Any]
Given = tuple[dict[str, Array], dict[str, Array]]  # inputs and outputs by name
SHOWN = 5


def arrays_for(program: Program, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Given:
    """Arrays that can be inputs and outputs of a program; UserError for others, and for two in the same memory."""
    for name, array in inputs.items():
        _check(f"the input `{name}`", array, program.inputs.get(name), written=False)
    for name, array in outputs.items():
        _check(f"the output `{name}`", array, program.outputs.get(name), written=True)
    everything = [*inputs.items(), *outputs.items()]
    for i, (name, array) in enumerate(everything):
        for other, more in everything[i + 1 :]:
            if np.may_share_memory(array, more) and other in outputs:
                raise UserError(f"`{name}` and `{other}` lie in the same memory, and one of them is written")
    return dict(inputs), dict(outputs)


def check_state(program: Program, held: State, other: State) -> None:
    """UserError where another state does not hold what a program reads in the places of the one that it has."""
    read = [info for info in held.infos.values() if (info.buffer or info.name) in program.state]
    wrong = [info.name for info in read if _place(other.infos.get(info.name)) != _place(info)]
    if wrong:
        listed = ", ".join(wrong[:SHOWN]) + (f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else "")
        raise UserError(f"the state does not fit {program.name}: it lacks {listed}, or holds it elsewhere")


def _check(what: str, array: Any, type_: TensorType | None, *, written: bool) -> None:
    if type_ is None:
        raise UserError(f"{what} is not one of the program's")
    shape = tuple(map(int, type_.shape))
    wanted = f"a row-major array of {type_.numpy_dtype}{shape}"
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != type_.numpy_dtype:
        told = f"{array.dtype}{array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise UserError(f"{what} is bound to {wanted}, not {told}")
    if not array.flags.c_contiguous or (written and not array.flags.writeable):
        raise UserError(f"{what} is bound to {wanted}, {'that can be written' if written else 'in one piece'}")


def _place(info: StateInfo | None) -> tuple[TensorType, str, int] | None:
    return None if info is None else (info.type, info.buffer or info.name, info.offset)
