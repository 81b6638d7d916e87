"""What Caffe's get_cifar10.sh and create_cifar10.sh leave: two databases in examples/cifar10, beside Caffe's own files.

python prepare.py IMAGES PROTOTXTS      IMAGES: a tar of train/CLASS/*.jpg and test/CLASS/*.jpg

Records are as Caffe's convert_cifar_data makes them: red, green and blue planes, a label, and five digits as the key.
The tar's photos lie class by class, so they are put in an order drawn at random, as CIFAR-10's batches have it.
"""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import plyvel
from PIL import Image

from netc.caffe.proto import caffe_pb2

PLACE = Path("examples/cifar10")
SIDE = 32


def photos(source: Path) -> dict[str, list[tuple[str, str, bytes]]]:
    """Of each part: class, name, and the pixels, [3, 32, 32] bytes."""
    found: dict[str, list[tuple[str, str, bytes]]] = {"train": [], "test": []}
    with tarfile.open(source) as archive:
        for member in archive:
            parts = member.name.split("/")
            if not member.name.endswith(".jpg") or parts[-3] not in found:
                continue
            file = archive.extractfile(member)
            assert file is not None
            with Image.open(io.BytesIO(file.read()), formats=("JPEG",)) as image:
                pixels = np.asarray(image.convert("RGB"))
            if pixels.shape != (SIDE, SIDE, 3):
                sys.exit(f"{member.name} is {pixels.shape[1]} x {pixels.shape[0]}, not {SIDE} x {SIDE}")
            found[parts[-3]].append((parts[-2], parts[-1], np.moveaxis(pixels, -1, 0).tobytes()))
    return {part: sorted(rows) for part, rows in found.items()}


def write(path: Path, rows: list[tuple[str, str, bytes]], classes: list[str]) -> None:
    """A database of Datums."""
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    made = plyvel.DB(str(path), create_if_missing=True, error_if_exists=True)
    with made as database, database.write_batch() as batch:
        for number, index in enumerate(order):
            kind, _, pixels = rows[index]
            datum = caffe_pb2.Datum(channels=3, height=SIDE, width=SIDE, data=pixels, label=classes.index(kind))
            batch.put(f"{number:05d}".encode(), datum.SerializeToString())
    print(f"{path}: {len(rows):,} photos")


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    found = photos(Path(sys.argv[1]))
    classes = sorted({kind for kind, _, _ in found["train"]})
    if len(classes) != 10 or not found["test"]:
        sys.exit(f"{sys.argv[1]}: expected train and test with ten classes, found {', '.join(classes) or 'none'}")
    PLACE.mkdir(parents=True, exist_ok=True)
    for part, rows in found.items():
        write(PLACE / f"cifar10_{part}_leveldb", rows, classes)
    for path in sorted(Path(sys.argv[2]).glob("cifar10_*_*.prototxt")):
        shutil.copyfile(path, PLACE / path.name)
        print(PLACE / path.name)


if __name__ == "__main__":
    main()
