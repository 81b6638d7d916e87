"""Columns of data against the inputs of a net: names, shapes where every file of a source has them, batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...grammar.source import SourceError, Span
from ..program import TensorType
from ..schema.sources import SOURCES
from ..spec import DataSpec
from ..types import Dim
from .frame import Frame

Columns = dict[str, tuple[int, ...] | None]


def columns_of(data: DataSpec) -> Columns | None:
    """The columns of data by the names that inputs have, with the shape of a record where it is known; None: the file
    names them."""
    found: Columns = dict(SOURCES[data.source].columns)
    if not found:
        names = tuple(map(str, data.get("columns") or data.get("arrays") or ()))
        return dict.fromkeys(names) if names else None
    first = next(iter(found))
    shape, crop = found[first] or _set_shape(data), data.get("crop")
    found[first] = shape
    if shape is not None and len(shape) == 3 and crop:
        sides = tuple(crop) if isinstance(crop, tuple) else (crop,)
        found[first] = (shape[0], *(sides * 2 if len(sides) == 1 else sides))
    renamed = [str(name) for name in data.get("columns") or ()]
    return dict(zip([*renamed, *list(found)[len(renamed) :]], found.values(), strict=False))


def _set_shape(data: DataSpec) -> tuple[int, ...] | None:
    """The shape of a record that the settings of data give it."""
    shape, height, width = (data.get(name) for name in ("shape", "height", "width"))
    if shape:
        return tuple(map(int, shape))
    return (1 if data.get("gray") else 3, int(height), int(width)) if height and width else None


def check_columns(frame: Frame, inputs: Mapping[str, TensorType], data: Sequence[DataSpec], span: Span) -> None:
    """Reports an input without a column, a column twice, batches of two sizes, and records of another shape."""
    known: Columns = {}
    complete = True
    for one in data:
        columns = columns_of(one)
        if columns is None:
            complete = False
            continue
        for name, shape in columns.items():
            if name in known and name in inputs:
                message = f"two of the data have a column `{name}`"
                frame.report(SourceError("E426", message, span, "rename one with `columns: […]`"))
            known[name] = shape
    batches = {int(one.get("batch")) for one in data}
    if len(batches) > 1:
        sizes = " and ".join(map(str, sorted(batches)))
        frame.report(SourceError("E427", f"data side by side need one batch size, these have {sizes}", span))
    for name, type_ in inputs.items():
        if name not in known:
            if complete:
                hint = f"the data have {', '.join(known)}; `columns: […]` renames them"
                frame.report(SourceError("E425", f"no column for the input `{name}`", span, hint))
            continue
        shape = known[name]
        if shape is not None and tuple(map(int, type_.shape[1:])) != shape:
            record = f"[{', '.join(map(str, shape))}]"
            message = f"`{name}` is {_shown(type_)}, but a record of the data has the shape {record}"
            frame.report(SourceError("E428", message, span))
        _check_batch(frame, name, type_, batches, span)


def _check_batch(frame: Frame, name: str, type_: TensorType, batches: set[int], span: Span) -> None:
    """An input of a fixed size wants that batch."""
    if type_.shape and not any(isinstance(size, Dim) for size in type_.shape) and batches != {int(type_.shape[0])}:
        sizes = " and ".join(map(str, sorted(batches)))
        message = f"`{name}` is {_shown(type_)}, but a batch of the data has {sizes} records"
        frame.report(SourceError("E428", message, span, "write `N` for the batch's dimension"))


def _shown(type_: TensorType) -> str:
    return f"{type_.dtype}[{', '.join(map(str, type_.shape))}]"
