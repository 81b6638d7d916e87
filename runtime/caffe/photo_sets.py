"""A labelled set of photos before it is prepared: what there is to learn from and to test on, and the classes.

Three forms are read: `train/` and `val/` with a folder for each class; either of them with a list beside it
(`train.txt`, `val.txt`: a line `path label` for each photo, as Caffe's ImageNet recipe has them); or class folders
alone, of which a share is held out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...compiler.program import UserError, printable
from ..data.files import check_regular, explained
from ..data.images import image_list, images
from ..data.order import permutation
from ..data.source import Array, Place

TRAIN, HELD_OUT = "train", "val"
PLACE = Place("photos", Path())
MAX_CLASSES = 1 << 20


@dataclass(frozen=True)
class Split:
    """One part of a set: files as they lie, the name of each in the prepared set, and labels i32 [photos]."""

    name: str
    files: Sequence[str]
    names: Sequence[str]
    labels: Array


@dataclass(frozen=True)
class PhotoSet:
    """classes: names, in the order of their labels."""

    classes: Sequence[str]
    splits: Sequence[Split]


def find_photos(source: Path, *, share: float = 0.1, seed: int = 0, labels: Path | None = None) -> PhotoSet:
    """The photos of a folder; nothing of them is opened.

    share: of each class, what is held out where the folder has no `val`; drawn by the seed. labels: a file with the
    name of each class, a line each; else classes are called by their folders. A `UserError` where lists or folders do
    not fit.
    """
    with explained(source):
        inside = {entry.name for entry in os.scandir(source)}
    if not inside & {TRAIN, f"{TRAIN}.txt"}:
        whole, classes = _folders(source, TRAIN)
        splits = _held_out(whole, share, seed)
    else:
        first, classes = _read(source, TRAIN, inside)
        splits = [first]
        if inside & {HELD_OUT, f"{HELD_OUT}.txt"}:
            second, others = _read(source, HELD_OUT, inside)
            splits.append(_relabelled(second, others, classes) if others and classes else second)
        else:
            splits = _held_out(first, share, seed)
    return PhotoSet(_names(splits, classes, labels), splits)


def _read(source: Path, name: str, inside: set[str]) -> tuple[Split, list[str]]:
    """One part, by its list where there is one; its classes where they are folders."""
    listing = source / f"{name}.txt"
    if listing.name not in inside:
        return _folders(source / name, name)
    root = _root(source, name, listing)
    found = image_list(PLACE, str(listing), root=str(root), height=1, width=1)
    for label in (int(found.labels.min()), int(found.labels.max())):
        if not 0 <= label < MAX_CLASSES:
            raise UserError(f"{listing}: the label {label:,}; classes are numbered from 0 on, to {MAX_CLASSES - 1:,}")
    return _split(name, found.files, found.labels, root), []


def _root(source: Path, name: str, listing: Path) -> Path:
    """The folder that the paths of a list begin at: `train/` of `train.txt`, or that of the list itself."""
    check_regular(listing)
    with explained(listing), listing.open(encoding="utf-8", errors="surrogateescape") as file:
        first = next((line.strip() for line in file if line.strip()), "").rpartition(" ")[0].rstrip()
    inner = source / name
    return inner if inner.is_dir() and ((inner / first).exists() or not (source / first).exists()) else source


def _folders(folder: Path, name: str) -> tuple[Split, list[str]]:
    """Class folders, in the order of their names."""
    with explained(folder):
        flat = not any(entry.is_dir() for entry in os.scandir(folder))
    if flat:
        raise UserError(
            f"{folder}: expected a folder for each class; where photos lie side by side, a list {name}.txt beside it "
            f"says their classes, a line `path label` each"
        )
    found = images(PLACE, str(folder), height=1, width=1)
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    return _split(name, found.files, found.labels, folder), classes


def _split(name: str, files: Sequence[str], labels: Array, root: Path) -> Split:
    """A part of the set. Names are the files' under the root, so that a prepared photo is found by its source's."""
    names = [os.path.relpath(file, root) for file in files]
    outside = next((file for file, short in zip(files, names, strict=True) if short.startswith("..")), None)
    if outside is not None:
        raise UserError(f"{printable(outside)}: lies outside of {root}; a list names photos below its folder")
    short = [one.removeprefix(f"{name}{os.sep}") for one in names]
    return Split(name, files, short, labels)


def _relabelled(split: Split, own: Sequence[str], classes: Sequence[str]) -> Split:
    """The part with the labels of the first part's classes, which may be more."""
    if unknown := sorted(set(own) - set(classes)):
        raise UserError(f"{split.name} has the class {printable(unknown[0])}, which {TRAIN} lacks")
    numbers = np.array([classes.index(name) for name in own], np.int32)
    return Split(split.name, split.files, split.names, numbers[split.labels])


def _held_out(split: Split, share: float, seed: int) -> list[Split]:
    """Two parts of one: of each class a share, at least one photo and not all, is held out."""
    if not share:
        return [split]
    out = np.zeros(len(split.files), bool)
    for label in np.unique(split.labels):
        at = np.flatnonzero(split.labels == label)
        count = min(max(1, round(share * len(at))), len(at) - 1)
        out[at[permutation(seed, int(label), len(at))[:count]]] = True
    return [_part(split, TRAIN, np.flatnonzero(~out)), _part(split, HELD_OUT, np.flatnonzero(out))]


def _part(split: Split, name: str, at: Array) -> Split:
    rows = at.tolist()
    return Split(name, [split.files[row] for row in rows], [split.names[row] for row in rows], split.labels[at])


def _names(splits: Sequence[Split], classes: list[str], file: Path | None) -> list[str]:
    """What the classes are called: as a file says, as their folders, or by their numbers."""
    count = len(classes) or 1 + max(int(split.labels.max()) for split in splits if len(split.labels))
    if file is not None:
        check_regular(file)
        with explained(file):
            said = [line for line in file.read_text(encoding="utf-8", errors="replace").split("\n") if line.strip()]
        if len(said) < count:
            raise UserError(f"{file}: has {len(said)} names of classes, the photos {count}: a line for each class")
        return said
    if classes:
        return classes
    seen: list[set[str]] = [set() for _ in range(count)]
    for split in splits:
        for name, label in zip(split.names, split.labels.tolist(), strict=True):
            seen[label].add(os.path.basename(os.path.dirname(name)))
    alone = all(len(folders) == 1 for folders in seen) and "" not in set.union(*seen)
    return [next(iter(folders)) for folders in seen] if alone else [str(label) for label in range(count)]
