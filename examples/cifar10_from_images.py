"""CIFAR-10's files from a folder, or a tar, of its images, where the original is not at hand.

python cifar10_from_images.py IMAGES FOLDER      writes FOLDER/cifar10/data_batch_1.bin ... test_batch.bin

IMAGES holds train/CLASS/*.jpg and test/CLASS/*.jpg (or .png). Names of the classes in the order of the alphabet are
numbers 0 to 9, as CIFAR-10 has them. Then `netc train cifar10_quick.net --data FOLDER`, or NETC_DATA=FOLDER.
"""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG")
SPLITS = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}


def images(source: Path) -> Iterator[tuple[str, str, str, bytes]]:
    """The split, the class, the name and the bytes of each image, in no order."""
    if source.is_dir():
        for path in source.rglob("*.*"):
            yield path.parts[-3], path.parts[-2], path.name, path.read_bytes()
        return
    with tarfile.open(source) as archive:
        for member in archive:
            parts = member.name.split("/")
            if member.isfile() and len(parts) >= 3:
                file = archive.extractfile(member)
                assert file is not None
                yield parts[-3], parts[-2], parts[-1], file.read()


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, folder = Path(sys.argv[1]), Path(sys.argv[2]) / "cifar10"
    found: dict[str, list[tuple[str, str, bytes]]] = {"train": [], "test": []}
    for split, kind, name, data in images(source):
        if split in found and name.lower().endswith((".jpg", ".jpeg", ".png")):
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                pixels = np.asarray(image.convert("RGB"))
            if pixels.shape != (32, 32, 3):
                sys.exit(f"{split}/{kind}/{name} is {pixels.shape[1]} x {pixels.shape[0]}, not 32 x 32")
            found[split].append((kind, name, np.moveaxis(pixels, -1, 0).tobytes()))
    classes = sorted({kind for rows in found.values() for kind, _, _ in rows})
    if len(classes) != 10 or not all(found.values()):
        sys.exit(f"{source}: expected train and test with ten classes each, found {', '.join(classes) or 'none'}")
    folder.mkdir(parents=True, exist_ok=True)
    for split, files in SPLITS.items():
        rows = sorted(found[split])
        order = np.random.default_rng(0).permutation(len(rows))
        for file, part in zip(files, np.array_split(order, len(files)), strict=True):
            records = (bytes([classes.index(rows[k][0])]) + rows[k][2] for k in part)
            (folder / file).write_bytes(b"".join(records))
            print(f"{folder / file}: {len(part):,} images")


if __name__ == "__main__":
    main()
