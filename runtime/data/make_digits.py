"""Makes `digits.npz`, the digits that come with netc, from a folder with MNIST's four IDX files.

    python -m netc.runtime.data.make_digits FOLDER [OUTPUT]

It draws 500 training and 100 test digits of each class from MNIST's own two parts, so that no test digit is trained
on. The draw and the order follow from SEED; run again on the same files, it writes the same arrays.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ...compiler.program import UserError
from ..atomic import replace_file
from .idx import open_idx
from .mnist import CLASSES, EMBEDDED, files_of
from .order import permutation
from .source import Array, Mode

SEED = 28
PER_CLASS: dict[Mode, int] = {"train": 500, "test": 100}


def sample(images: Array, labels: Array, per_class: int) -> tuple[Array, Array]:
    """The first so many of each class in a seeded order of the records."""
    order = permutation(SEED, 0, len(labels))
    rank = np.zeros(len(labels), np.int64)
    for label in range(CLASSES):
        of_class = labels[order] == label
        rank[of_class] = np.arange(of_class.sum())
    chosen = order[rank < per_class]
    return images[chosen], labels[chosen].astype(np.int32)


def main(folder: Path, output: Path) -> None:
    """Read the four files and write the sample."""
    arrays: dict[str, Array] = {}
    for split, per_class in PER_CLASS.items():
        files = files_of(folder, split)
        if files is None:
            raise UserError(f"{folder}: MNIST's files for {split} are not there")
        images, labels = (open_idx(file).read() for file in files)
        images, labels = sample(images, labels, per_class)
        arrays[f"{split}_image"] = images[:, None]
        arrays[f"{split}_label"] = labels

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # mypy takes them for settings as well

    replace_file(output, write)
    print(f"{output}: {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else EMBEDDED)
    except (IndexError, UserError) as error:
        sys.exit(str(error) if isinstance(error, UserError) else __doc__)
