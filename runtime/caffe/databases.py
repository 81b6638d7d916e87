"""Caffe's databases of records as sources of data: `lmdb` and `leveldb`, whose values are Datums."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Protocol

import numpy as np

from ...compiler.program import UserError
from ..data.images import opened_image, unreadable
from ..data.opencv import Colors, pixels_of
from ..data.source import Array, Column, Indices, Source
from .datum import Datum, parse_datum
from .wire import Damaged


class Database(Protocol):
    """Records in the order of their keys."""

    path: Path

    def __len__(self) -> int: ...

    def value(self, number: int, /) -> bytes: ...


class Datums(Source):
    """The records of a database: `image` [C, H, W], bytes or floats as they are stored, and `label`.

    Images in files (JPEG, PNG) are decoded as Caffe decodes them, blue first. Records may differ in size.
    """

    image = "image"
    uneven = True

    def __init__(self, database: Database, colors: Colors) -> None:
        self._database = database
        self._colors = colors
        self.records = len(database)
        if not self.records:
            raise UserError(f"{database.path}: has no records")
        # Labels of records that were read for their image, so that these are not read again.
        self._labels = np.zeros(self.records, np.int32)
        self._known = np.zeros(self.records, np.bool_)
        first = self.record("image", 0)
        self.columns = {"image": Column(first.shape, first.dtype), "label": Column((), np.dtype(np.int32))}

    def record(self, column: str, index: int) -> Array:
        if column == "label":
            if not self._known[index]:
                self._datum(index)
            label: Array = self._labels[index]
            return label
        datum = self._datum(index)
        return datum.image if datum.image is not None else self._decoded(index, datum.file)

    def gather(self, column: str, indices: Indices, out: Array) -> None:
        for row, index in enumerate(indices.tolist()):
            out[row] = self.record(column, index)

    def _datum(self, index: int) -> Datum:
        """A record, parsed; its label is noted."""
        try:
            datum = parse_datum(self._database.value(index))
        except Damaged as error:
            raise UserError(f"{self._database.path}: record {index:,} is no Datum: {error}") from None
        self._labels[index] = datum.label
        self._known[index] = True
        return datum

    def _decoded(self, index: int, file: bytes) -> Array:
        name = f"{self._database.path}: record {index:,}"
        with opened_image(io.BytesIO(file), name) as image:
            try:
                pixels = pixels_of(image, self._colors)
            except Exception as error:  # Pillow raises many kinds on damaged files
                raise unreadable(name, error) from None
        return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels[..., ::-1], -1, 0)
