"""Photos and those that a net finds most like them: nearest neighbours by the angle between features.

python neighbours.py PHOTOS [KNOWN]      writes neighbours.png, and prints the figures as JSON

It reads photos.txt and the features of its photos, f32[photos, 256, 1, 1], from features.npz, features.h5 and
features_lmdb, which hold the same. The first KNOWN photos, 245 unless told, are those to find among; the others are
asked.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import lmdb
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from netc.caffe.io import datum_to_array
from netc.caffe.proto import caffe_pb2

Array = npt.NDArray[np.float32]
BLOB = "pool"
ROWS, COLUMNS = 6, 6  # photos that are asked, and each with its neighbours
CLASSES = ("ant", "bee")
SIDE = 160


def from_lmdb(path: Path, count: int) -> Array:
    """The first records of a database of Datums: [count, C, H, W]."""
    found = []
    with lmdb.open(str(path), readonly=True, lock=False) as database, database.begin() as records:
        for _, value in records.cursor():
            datum = caffe_pb2.Datum()
            datum.ParseFromString(value)
            found.append(datum_to_array(datum))
    return np.array(found[:count], np.float32)  # the last batch begins again at the first photo


def picture(asked: list[int], near: npt.NDArray[np.int64], files: list[Path], labels: npt.NDArray[np.int64]) -> None:
    """A row for each photo that was asked: it, then its neighbours, framed by whether they are of its class."""
    figure, axes = plt.subplots(len(asked), COLUMNS, figsize=(1.55 * COLUMNS, 1.72 * len(asked)))
    for row, photo in zip(axes, asked, strict=True):
        for place, (axis, which) in enumerate(zip(row, [photo, *near[photo][: COLUMNS - 1]], strict=True)):
            with Image.open(files[which]) as image:
                axis.imshow(ImageOps.fit(image.convert("RGB"), (SIDE, SIDE)))
            axis.set_xticks([])
            axis.set_yticks([])
            alike = labels[which] == labels[photo]
            for side in axis.spines.values():
                side.set_linewidth(3 if place else 0)
                side.set_color("tab:green" if alike else "tab:red")
            axis.set_title(("asked: " if not place else "") + CLASSES[labels[which]], fontsize=9, pad=3)
    figure.tight_layout(pad=0.6)
    figure.savefig("neighbours.png", dpi=80)
    with Image.open("neighbours.png") as drawn:  # 256 colours take a third of the room
        whole = drawn.convert("RGB")
        few = whole.quantize(palette=whole.quantize(256), dither=Image.Dither.FLOYDSTEINBERG)
    few.save("neighbours.png", optimize=True)


def main() -> None:
    photos, known = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 245
    lines = [line.rpartition(" ") for line in Path("photos.txt").read_text().splitlines()]
    files, labels = [photos / line[0] for line in lines], np.array([int(line[2]) for line in lines])
    features = np.load("features.npz")[BLOB]
    with h5py.File("features.h5") as file:
        others = {"HDF5": np.array(file[BLOB]), "LMDB": from_lmdb(Path("features_lmdb"), len(files))}
    apart = max(float(np.abs(other - features).max() / np.abs(features).max()) for other in others.values())
    flat = features.reshape(len(files), -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    near = np.argsort(-(flat @ flat[:known].T), axis=1, kind="stable")
    asked = np.arange(known, len(files))
    right = labels[near[asked, 0]] == labels[asked]
    # As many of each class, evenly apart in the list: not those that look best.
    shown = [int(of[k * len(of) // 3]) for one in range(2) for of in [asked[labels[asked] == one]] for k in range(3)]
    picture(shown, near, files, labels)
    print(json.dumps({"right": float(right.mean()), "photos": len(asked), "apart": apart}))


if __name__ == "__main__":
    main()
