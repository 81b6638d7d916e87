"""Labels are held against the classes of the net, batch by batch, on the thread that reads.

A label outside of the classes would match none of them: the loss would stay small, the net learn nonsense in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ...compiler.program import UserError
from .source import Array


@dataclass(frozen=True)
class LabelRange:
    """The column `column` numbers `classes` classes from 0, for the layer `reader`; `ignored` may stand for none."""

    column: str
    classes: int
    ignored: int | None
    reader: str


def check_labels(ranges: Iterable[LabelRange], columns: Mapping[str, Array], data: str) -> None:
    """UserError for the first label that is no class. Labels with a fraction count as the layers cast them: cut off."""
    for one in ranges:
        labels = columns.get(one.column)
        if labels is None or not labels.size or (labels.min() > -1 and labels.max() < one.classes):
            continue
        wrong = labels[(labels <= -1) | (labels >= one.classes)]
        if one.ignored is not None:
            wrong = wrong[np.trunc(wrong) != one.ignored]
        if wrong.size:
            raise UserError(
                f"{data}: the column `{one.column}` holds the label {wrong[0]:g}; {one.reader} knows the "
                f"{one.classes} classes 0 to {one.classes - 1}"
            )
