"""Input preparation of a compiled net: records become what the net takes, and numbers that it cannot know are refused.

Relies on numpy only: shipped beside the launcher for GPUs, and written into the module that numpy runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def transformed(name: str, records: Any, rule: Mapping[str, Any], mean: Any) -> Any:
    """Records [n, …] as the net takes them: (value - mean) * scale, of a crop in the middle.

    mean: an image for each record, or nothing where the rule has the numbers.
    """
    values = np.asarray(records).astype(np.float32)
    if mean is None and rule["mean"]:
        mean = np.asarray(rule["mean"], np.float32)
        mean = mean.reshape(-1, 1, 1) if mean.size > 1 else mean.reshape(())
    if mean is not None and mean.ndim >= 2 and mean.shape[-2:] != (1, 1) and values.shape[1:] != mean.shape:
        raise ValueError(f"{name} has records of {list(values.shape[1:])}, the mean is one of {list(mean.shape)}")
    if mean is not None and mean.ndim == 3 and values.shape[1:2] != mean.shape[:1]:
        raise ValueError(f"{name} has records of {list(values.shape[1:])}, the mean has {len(mean)} channels")
    if rule["crop"]:
        height, width = rule["crop"]
        if values.ndim < 3 or values.shape[-2] < height or values.shape[-1] < width:
            raise ValueError(f"{name} has records of {list(values.shape[1:])}, which are cropped to {rule['crop']}")
        top, left = (values.shape[-2] - height) // 2, (values.shape[-1] - width) // 2
        values = values[..., top : top + height, left : left + width]
        if mean is not None and mean.ndim >= 2 and mean.shape[-2:] != (1, 1):
            mean = mean[..., top : top + height, left : left + width]
    if mean is not None:
        values = values - mean
    return values * np.float32(rule["scale"])


def told(name: str, rule: Mapping[str, Any]) -> str:
    """The rule in a line."""
    return f"{name}: {rule['text']}; --as-is takes values as they are"


def check_flags(ranges: Iterable[Any], outputs: dict[str, Any]) -> None:
    """Take the flags out of the outputs; ValueError where one tells that a layer was given what it cannot know."""
    flags = [(outputs.pop(flag), *rest) for flag, *rest in ranges if flag in outputs]
    for flag, count, _, what, reader in flags:
        if not flag < 0:
            one = "a label" if what == "classes" else "an index"
            raise ValueError(f"{reader} was given {one} outside of the {count} {what} 0 to {count - 1}")


def check_ranges(ranges: Iterable[Any], name: str, values: Any) -> None:
    """ValueError for a label or an index that a layer cannot know. ranges: (input, count, ignored, what, reader)."""
    array = np.asarray(values)
    for input_, count, ignored, what, reader in ranges:
        if input_ != name or not array.size or (array.min() > -1 and array.max() < count):
            continue
        wrong = array[~((array > -1) & (array < count))]
        if ignored is not None:
            wrong = wrong[~(np.trunc(wrong) == ignored)]
        if wrong.size:
            one = "label" if what == "classes" else "index"
            raise ValueError(f"{name} holds the {one} {wrong[0]:g}; {reader} knows the {count} {what} 0 to {count - 1}")
