"""From a `data` form to a stream: the sources by name, their settings taken apart.

The schemas are those of `compiler/schema/sources.py`; a test holds the two together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

from ...compiler.packages import Registry
from ...compiler.program import UserError, ValueRange, placed, printable
from ...compiler.spec import DataSpec
from .arrays import npz
from .caffe_sources import hdf5, leveldb, lmdb, windows
from .cifar import cifar10
from .drawn import noise
from .idx import idx
from .images import image_list, images
from .mnist import fashion_mnist, mnist
from .reader import Batching, Reader
from .source import DATA, Mode, Place, Source
from .stream import PREFETCH, Share, Stream
from .synthetic import synthetic
from .transform import Pixels

_OWN = (mnist, fashion_mnist, cifar10, idx, npz, images, image_list, synthetic, noise, lmdb, leveldb, hdf5, windows)
OPENERS: Registry[Callable[..., Source]] = Registry(
    "netc.sources", {opener.__name__: opener for opener in _OWN}, take=lambda schema: schema.opener
)

_said: set[str] = set()


def open_data(
    spec: DataSpec | Sequence[DataSpec],
    *,
    mode: Mode,
    seed: int = 0,
    data_dir: Path | None = None,
    only: Collection[str] | None = None,
    batch: int | None = None,
    prefetch: int = PREFETCH,
    ranges: Sequence[ValueRange] = (),
    share: Share | None = None,
    notify: Callable[[str], None] | None = None,
) -> Stream:
    """Open a data of a `.net` file, or several side by side; headers and lists are read now, values when wanted.

    mode: random crops, or centred ones. seed: of shuffling, crops and mirroring. data_dir: the folder of `--data`.
    only: the columns that are wanted; others are not read. batch: instead of the data's own. prefetch: batches to read
    ahead. ranges: of the numbers that columns may hold. share: `batch` is then the rows of one process. notify: takes a
    remark for the user, such as that embedded digits are used (else it goes to standard error, once).
    """
    specs = [spec] if isinstance(spec, DataSpec) else list(spec)
    readers = []
    for one in specs:
        place = Place(one.name, one.folder, data_dir, span=one.span)
        with placed(DATA, one.span):
            readers.append(_reader(one, place, mode=mode, seed=seed, only=only, batch=batch))
        for note in place.notes:
            (notify or _say_once)(note)
    with placed(DATA, specs[0].span):
        return Stream(readers, prefetch=prefetch, ranges=ranges, share=share)


def _reader(
    spec: DataSpec, place: Place, *, mode: Mode, seed: int, only: Collection[str] | None, batch: int | None
) -> Reader:
    """One data, opened."""
    if spec.source not in OPENERS:
        raise UserError(f"{spec.name}: there is no source `{spec.source}`; there are {', '.join(OPENERS)}")
    settings = dict(spec.settings)
    if batch is not None:
        settings["batch"] = batch
    opener = OPENERS[spec.source]
    accepted = signature(opener).parameters
    batching = Batching(**_take(settings, Batching))
    pixels = Pixels(**_take(settings, Pixels, accepted))
    own = {one.name: Pixels(**dict(one.settings)) for one in settings.pop("transforms", ())}
    if "pixels" in accepted:  # it transforms what it reads itself
        settings["pixels"], pixels = pixels, Pixels()
    source = opener(place, **settings)
    return Reader(source, batching, pixels, place, own=own, mode=mode, seed=seed, only=only)


def _take(settings: dict[str, Any], group: type[Batching] | type[Pixels], but: Collection[str] = ()) -> dict[str, Any]:
    """Take the settings of a group out of all of them, but those that mean something else to a source."""
    names = [field.name for field in fields(group) if field.name in settings and field.name not in but]
    return {name: settings.pop(name) for name in names}


def _say_once(note: str) -> None:
    if note not in _said:
        _said.add(note)
        print(f"netc: {printable(note)}", file=sys.stderr)
