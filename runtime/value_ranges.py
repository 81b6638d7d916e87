"""Bounds checks of inputs: labels are held against the classes of the net, indices against the rows of their table.

A label outside of the classes would match none of them: the loss would stay small, the net learn nonsense in silence.
Those that a program computes are known after it ran, by the flags among its outputs: a step that learns has written its
state then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import UserError, ValueRange

Array = npt.NDArray[Any]


def check_ranges(ranges: Iterable[ValueRange], arrays: Mapping[str, Array], of: str) -> None:
    """UserError for the first number beyond its range. One with a fraction counts as the layers cast it: cut off.

    of: the data, or the program that is fed, by name.
    """
    for one in ranges:
        array = arrays.get(one.input)
        if array is None or not array.size or _within(array, one.count):
            continue
        wrong = array[~((array > -1) & (array < one.count))]  # NaN is in no range
        if one.ignored is not None:
            wrong = wrong[~(np.trunc(wrong) == one.ignored)]
        if wrong.size:
            what = "label" if one.what == "classes" else "index"
            raise UserError(
                f"{of}: `{one.input}` holds the {what} {wrong[0]:g}; {one.reader} knows the "
                f"{one.count} {one.what} 0 to {one.count - 1}"
            )


def check_flags(ranges: Iterable[ValueRange], outputs: dict[str, Array], of: str) -> None:
    """Take the flags of numbers that the program computed out of its outputs; UserError for one that is set."""
    flags = [(one, outputs.pop(one.flag)) for one in ranges if one.flag in outputs]
    for one, flag in flags:
        if not flag < 0:
            what = "a label" if one.what == "classes" else "an index"
            told = f"the {one.count} {one.what} 0 to {one.count - 1}"
            raise UserError(f"{of}: {one.reader} was given {what} outside of {told}, which the net computes")


def _within(array: Array, count: int) -> bool:
    """Whether all numbers are, in one pass for whole ones: a negative one is a very large one without a sign."""
    if array.dtype in (np.int32, np.int64) and array.flags.c_contiguous:
        return bool(array.view(f"u{array.dtype.itemsize}").max() < count)
    return bool(array.min() > -1 and array.max() < count)
