"""Kinds of arguments: what a caller gives, as plain values, or a UserError of a line.

Whole numbers and truth values of numpy count as Python's.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from .program import UserError, shown

Found = TypeVar("Found")
MAX_COUNT = 2**31 - 1


def refuse(name: str, takes: str, value: object) -> UserError:
    """The error for an argument of another kind."""
    return UserError(f"`{name}` takes {takes}, not {shown(value)}")


def whole(name: str, value: Any, least: int, most: int = MAX_COUNT) -> int:
    """A whole number from `least` to `most`."""
    takes = f"a whole number from {least} up"
    try:
        number = operator.index(value)
    except TypeError:
        raise refuse(name, takes, value) from None
    if isinstance(value, bool | np.bool_) or number < least:
        raise refuse(name, takes, value)
    if number > most:
        raise refuse(name, f"a whole number from {least} to {most:,}", value)
    return number


def truth(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise refuse(name, "True or False", value)
    return bool(value)


def word(name: str, value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise refuse(name, "a text", value)
    return value


def words(name: str, value: Any) -> tuple[str, ...]:
    """A text or several."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence | set | frozenset) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise refuse(name, "a name or a list of them", value)


def table(name: str, value: Any) -> dict[str, Any]:
    """A dictionary whose keys are names."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise refuse(name, "a dictionary with names as keys", value)
    return dict(value)


def number(name: str, value: Any, least: float) -> float:
    """A number that is not less."""
    takes = f"a number from {least:g} up"
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise refuse(name, takes, value)
    if isinstance(value, np.complexfloating) or not least <= float(value) < math.inf:
        raise refuse(name, takes, value)
    return float(value)


def function(name: str, value: Any) -> Callable[..., Any] | None:
    """A function, or None."""
    if value is not None and not callable(value):
        raise refuse(name, "a function", value)
    return value  # type: ignore[no-any-return]


def optional(kind: Callable[[str, Any], Found], name: str, value: Any) -> Found | None:
    """A value of a kind, or None."""
    return None if value is None else kind(name, value)
