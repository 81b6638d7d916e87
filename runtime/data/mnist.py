"""MNIST and Fashion-MNIST: four IDX files, or for MNIST the digits that come with netc (`digits.npz`, `digits.txt`)."""

from __future__ import annotations

from pathlib import Path

from ...compiler.program import Absent
from .arrays import npz
from .catalogue import locate
from .idx import idx_source
from .source import ArraySource, Mode, Place

CLASSES = 10
EMBEDDED = Path(__file__).with_name("digits.npz")
PARTS = {"train": "train", "test": "t10k"}


def mnist(place: Place, path: str = "", *, split: Mode = "train") -> ArraySource:
    """The source `mnist`."""
    found = _find("mnist", place, path, split)
    return idx_source(*found, classes=CLASSES) if found else _embedded(place, split)


def fashion_mnist(place: Place, path: str = "", *, split: Mode = "train") -> ArraySource:
    """The source `fashion_mnist`."""
    found = _find("fashion_mnist", place, path, split)
    if not found:
        raise Absent(
            f"{place.name}: Fashion-MNIST was not found; `netc data fetch fashion_mnist` gets it, or put its files "
            f"in a folder `fashion_mnist` of the folder given by --data or NETC_DATA"
        )
    return idx_source(*found, classes=CLASSES)


def files_of(folder: Path, split: Mode) -> tuple[Path, Path] | None:
    """The images and labels of a split in a folder, gzipped or not, also as `train-images.idx3-ubyte`; or None."""
    found = []
    for part in ("images-idx3", "labels-idx1"):
        stems = (f"{PARTS[split]}-{part}-ubyte", f"{PARTS[split]}-{part.replace('-idx', '.idx')}-ubyte")
        names = [stem + packed for stem in stems for packed in ("", ".gz")]
        found.append(next((file for name in names if (file := folder / name).is_file()), None))
    images, labels = found
    return (images, labels) if images and labels else None


def _find(name: str, place: Place, path: str, split: Mode) -> tuple[Path, Path] | None:
    """The files of a split: in the folder that is named, else where the data set is looked for."""
    if path:
        folder = place.path(path)
        if not (files := files_of(folder, split)):
            stem = PARTS[split]
            raise Absent(f"{folder}: there are no {stem}-images-idx3-ubyte and {stem}-labels-idx1-ubyte, plain or .gz")
        return files
    return next(filter(None, (files_of(folder, split) for folder in locate(name, place.data_dir))), None)


def _embedded(place: Place, split: Mode) -> ArraySource:
    """The digits that come with netc."""
    source = npz(place, str(EMBEDDED), arrays=(f"{split}_image", f"{split}_label"))
    whole, use = {"train": ("60,000", "training"), "test": ("10,000", "testing")}[split]
    place.notes.append(
        f"using the {source.records:,} embedded digits for {use}; `netc data fetch mnist` gets all {whole}"
    )
    return source.renamed({f"{split}_image": "image", f"{split}_label": "label"})
