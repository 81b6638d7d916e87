"""CIFAR-10's binary batches: records of a label byte and 3 x 32 x 32 pixels, red, green and blue planes in turn.

(www.cs.toronto.edu/~kriz/cifar.html; Caffe's convert_cifar_data reads the same.) Each file may be compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from ...compiler.program import Absent, UserError
from .catalogue import locate
from .files import check_size, explained, memory_limit, packing, read_array, unpacked
from .source import Array, ArraySource, Column, Mode, Place

SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
CLASSES = 10
PACKED = ("", ".gz", ".xz")
OFFICIAL = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}


def cifar10(place: Place, path: str = "", *, split: Mode = "train") -> ArraySource:
    """The source `cifar10`: the files of a folder for this split, or the one file that is named."""
    if path and not place.path(path).is_dir():
        files: Sequence[Path] = [place.path(path)]
    else:
        folders = [place.path(path)] if path else locate("cifar10", place.data_dir)
        files = next(filter(None, (files_of(folder, split) for folder in folders)), [])
        if not files and path:
            raise Absent(f"{place.path(path)}: there is no {' ... '.join(OFFICIAL[split])} in this folder")
        if not files:
            raise Absent(
                f"{place.name}: CIFAR-10 was not found; `netc data fetch cifar10` gets it, or put "
                f"data_batch_1.bin ... test_batch.bin in a folder `cifar10` of the folder given by --data or NETC_DATA"
            )
    counts = [_records(file) for file in files]
    records = sum(counts)

    @cache
    def read() -> tuple[Array, Array]:
        images, labels = np.empty((records, *SHAPE), np.uint8), np.empty(records, np.int32)
        start = 0
        for file, count in zip(files, counts, strict=True):
            raw = read_array(file, np.dtype(np.uint8), (count, RECORD), 0, f"{count:,} records")
            images.reshape(records, -1)[start : start + count] = raw[:, 1:]
            labels[start : start + count] = raw[:, 0]
            if raw[:, 0].max() >= CLASSES:
                at = int(np.argmax(raw[:, 0] >= CLASSES))
                raise UserError(f"{file}: label {raw[at, 0]} of record {at} is outside 0..{CLASSES - 1}")
            start += count
        return images, labels

    columns = {"image": Column(SHAPE, np.dtype(np.uint8)), "label": Column((), np.dtype(np.int32))}
    return ArraySource(columns, records, {"image": lambda: read()[0], "label": lambda: read()[1]}, "image")


def files_of(folder: Path, split: Mode) -> list[Path]:
    """The files of a split in a folder: the official ones, else the one that begins with the split's name; or none."""
    for place in (folder, folder / "cifar-10-batches-bin"):
        found = [next((f for p in PACKED if (f := place / (name + p)).is_file()), None) for name in OFFICIAL[split]]
        files = [file for file in found if file]
        if len(files) == len(found):
            return files
        if files:
            missing = next(name for name, file in zip(OFFICIAL[split], found, strict=True) if file is None)
            raise UserError(f"{place}: {missing} is missing beside {files[0].name}")
    own = [f for p in PACKED for f in sorted(folder.glob(f"{split}*.bin{p}")) if f.is_file()]
    return own[:1]


def _records(file: Path) -> int:
    """How many records a file holds; a compressed one is unpacked once to know it."""
    with explained(file):
        size = file.stat().st_size
    if packing(file):
        size = 0
        with unpacked(file) as stream:
            while size <= memory_limit() and (block := stream.read(1 << 20)):
                size += len(block)
    if not size or size % RECORD:
        raise UserError(
            f"{file}: not a CIFAR-10 file: {size:,} bytes, expected a multiple of {RECORD:,} (label and pixels)"
        )
    check_size(file, size, "records")
    return size // RECORD
