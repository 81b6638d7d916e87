"""Path resolution: the files that a prototxt names, which Caffe looks for in the folder where it is started."""

from __future__ import annotations

from os.path import exists  # unlike a Path's own, it says no of names that no file can have
from pathlib import Path


def located(name: str, folder: Path) -> Path | None:
    """The file or folder of a name: seen from here, or from the folder of the prototxt or one above it; else None."""
    path = Path(name)
    if not name or not name.isprintable() or len(name) > 1000:
        return None
    if path.is_absolute():
        return path if exists(path) else None
    whole = folder.resolve()
    for place in (Path(), whole, *whole.parents):
        if exists(place / path):
            return place / path
    beside = folder / path.name  # a folder that was moved keeps its files together
    return beside if exists(beside) else None


def written(name: str, folder: Path) -> str:
    """A name as a source of data wants it, which is relative to `folder`: whole where the file is found."""
    found = located(name, folder)
    return str(found.resolve()) if found is not None else name
