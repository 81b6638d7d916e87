"""The schemas of data sources: what may stand in `data NAME = source(...)`, as Python signatures.

A source is declared here once; `netc.runtime.data` reads it under the same name, and a test holds the two together.
Nothing but the standard library is imported, so that checking a `.net` file costs no time and needs no data.

A positional parameter is the path (relative to the `.net` file), everything else a named setting. The types say what a
setting takes: a `Literal` one of a few words, `Name` a bare word or a string, a tuple a list of values.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..packages import Registry
from ..spec import ColumnTransform
from .ranges import AtLeastOne, Count, NotNegative, Part


class Name(str):
    """A name that may stand bare in a `.net` file: `columns: [image, label]`."""

    __slots__ = ()


@dataclass(frozen=True)
class SourceSchema:
    """One source: the function whose signature is its path and settings, its docstring, and what is known unopened.

    `columns` maps the names of its columns to the shape of one record where every file of that source has it, else to
    None; it is empty where the file names the columns.
    opener: of a source of another package, as those of `netc.runtime.data`.
    """

    name: str
    function: Callable[..., None]
    doc: str
    columns: dict[str, tuple[int, ...] | None]
    opener: Callable[..., Any] | None = None

    @property
    def settings(self) -> dict[str, inspect.Parameter]:
        """The parameters by name, positional ones first."""
        return dict(inspect.signature(self.function).parameters)


def _of_a_package(found: object) -> SourceSchema:
    if not isinstance(found, SourceSchema) or found.opener is None:
        raise TypeError("it is no `source_of(…)` with an opener")
    return found


SOURCES: Registry[SourceSchema] = Registry("netc.sources", take=_of_a_package)


def _batching(
    *,
    batch: AtLeastOne,
    batches: Count = 0,
    shuffle: bool = False,
    columns: tuple[Name, ...] = (),
) -> None:
    """What every source takes.

    batch: records in a batch. batches: batches in a test pass, counted on past the end of the data; 0 is one pass in
    which every record counts once. shuffle: a new order in every epoch, drawn from the seed. columns: other names for
    the columns, in their order.
    """


def _pixels(
    *,
    scale: float = 1.0,
    mean: float | tuple[float, ...] | str | None = None,
    crop: Count | tuple[Count, ...] = 0,
    mirror: bool = False,
) -> None:
    """What every source of images takes: value = (pixel - mean) * scale, as Caffe does it.

    mean: one value, one for each channel, or a `.npy` or `.binaryproto` file of the uncropped image's size. crop: the
    size to cut out, or [height, width]; at a random place in training, in the middle in testing. mirror: half of the
    images, drawn at random (in testing too, as Caffe does), are turned left to right.
    """


COMMON = _batching, _pixels
COLUMN = inspect.signature(_pixels)  # what `transforms` gives a column


def source_of(
    *shared: Callable[..., None],
    columns: dict[str, tuple[int, ...] | None] | None = None,
    opener: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., None]], SourceSchema]:
    """The schema of a source that a function declares, with the settings that sources share added to its signature."""

    def schema(declare: Callable[..., None]) -> SourceSchema:
        own = list(inspect.signature(declare).parameters.values())
        for function in shared:
            own += inspect.signature(function).parameters.values()
        declare.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
        doc = inspect.cleandoc(declare.__doc__ or "")
        return SourceSchema(declare.__name__, declare, doc, columns or {}, opener)

    return schema


def _source(*shared: Callable[..., None], **more: Any) -> Callable[[Callable[..., None]], SourceSchema]:
    """Register the source of a function's name, which the runtime opens under that name."""

    def register(declare: Callable[..., None]) -> SourceSchema:
        found = source_of(*shared, **more)(declare)
        SOURCES.enter(found.name, found)
        return found

    return register


IMAGE_AND_LABEL: dict[str, tuple[int, ...] | None] = {"image": None, "label": ()}


@_source(*COMMON, columns={"image": (1, 28, 28), "label": ()})
def mnist(path: str = "", *, split: Literal["train", "test"] = "train") -> None:
    """Handwritten digits, 28 x 28, in ten classes: `image` f32[batch, 1, 28, 28] from 0 to 255, `label` i32[batch].

    The four IDX files, gzipped or not, are looked for in the folder `path`; without a path in the folder of `--data` or
    `NETC_DATA` (there also in `mnist`), then where `netc data fetch mnist` puts them. If they are nowhere, the digits
    that come with netc are used (5,000 for training, 1,000 for testing).
    """


@_source(*COMMON, columns={"image": (1, 28, 28), "label": ()})
def fashion_mnist(path: str = "", *, split: Literal["train", "test"] = "train") -> None:
    """Articles of clothing in the form of MNIST: `image` f32[batch, 1, 28, 28], `label` i32[batch], ten classes.

    Looked for as for `mnist`, in `fashion_mnist`.
    """


@_source(*COMMON, columns={"image": (3, 32, 32), "label": ()})
def cifar10(path: str = "", *, split: Literal["train", "test"] = "train") -> None:
    """CIFAR-10's binary batches: `image` f32[batch, 3, 32, 32] from 0 to 255, `label` i32[batch], ten classes.

    `path` is a folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin, or one file of that form, whatever
    the split; each may be compressed (.gz, .xz). Without a path: the folder of `--data` or `NETC_DATA` (there also in
    `cifar10`), then where `netc data fetch cifar10` puts it. Channels are red, green, blue, as in the files (and in
    Caffe's CIFAR-10 examples).
    """


@_source(*COMMON, columns=IMAGE_AND_LABEL)
def idx(*, images: str, labels: str) -> None:
    """Two files in the IDX form, gzipped or not: `image` f32[batch, 1, H, W], `label` i32[batch].

    A file with four axes is read as f32[batch, C, H, W], one with two as f32[batch, D].
    """


@_source(*COMMON)
def npz(path: str, *, arrays: tuple[Name, ...] = (), transforms: tuple[ColumnTransform, ...] = ()) -> None:
    """The arrays of a numpy `.npz` file, one record a row; a column has its array's name.

    Floats and bytes become f32, other whole numbers i32, booleans stay. `arrays` chooses and orders the columns. Scale,
    mean, crop and mirror are of the first column, where no other could be meant; `transforms: [image(scale: 1/256),
    depth(crop: 24)]` gives each column its own. Those cropped at random or mirrored are so alike. Pickled objects are
    refused.
    """


@_source(*COMMON, columns=IMAGE_AND_LABEL)
def images(
    path: str,
    *,
    height: Count = 0,
    width: Count = 0,
    gray: bool = False,
    order: Literal["rgb", "bgr"] = "rgb",
    resize: Literal["bilinear", "smooth"] = "bilinear",
) -> None:
    """A folder with a folder of images for each class: `image` f32[batch, 3, H, W] (gray: 1), `label` i32[batch].

    Classes are numbered from 0 in the order of their folders' names. `height` and `width` resize each image: `bilinear`
    as Caffe does, `smooth` averages where it shrinks. Channels are red, green, blue unless `order: bgr` is set: nets
    trained by Caffe expect bgr.
    """


@_source(*COMMON, columns=IMAGE_AND_LABEL)
def image_list(
    path: str,
    *,
    root: str = "",
    height: Count = 0,
    width: Count = 0,
    gray: bool = False,
    order: Literal["rgb", "bgr"] = "rgb",
    resize: Literal["bilinear", "smooth"] = "bilinear",
) -> None:
    """Images listed in a text file, a line `path label` each (Caffe: ImageData), with the columns of `images`.

    The paths are relative to `root`, without one to the folder of the list. The other settings are those of `images`.
    """


@_source(*COMMON, columns=IMAGE_AND_LABEL)
def synthetic(
    *,
    shape: tuple[AtLeastOne, ...],
    classes: AtLeastOne = 10,
    records: AtLeastOne = 1024,
    seed: Count = 0,
    split: Literal["train", "test"] = "train",
) -> None:
    """Made-up images for tests and timings: `image` f32[batch, *shape] from 0 to 255, `label` i32[batch].

    An image is the average of noise and of a pattern that its class has, so that a net can learn to tell the classes.
    Everything follows from `seed`; with `split: test` the patterns are the same, noise and labels are others.
    """


@_source(_batching, columns={"value": None})
def noise(
    *,
    shape: tuple[AtLeastOne, ...] = (),
    kind: Literal["uniform", "gaussian"] = "uniform",
    min: float = 0.0,
    max: float = 1.0,
    mean: float = 0.0,
    std: NotNegative = 1.0,
    records: AtLeastOne = 1024,
) -> None:
    """Numbers drawn at random (Caffe: DummyData with a random filler): `value` f32[batch, *shape].

    `uniform` from `min` to below `max`, or `gaussian` of `mean` and `std`; the seed of the run decides, and each record
    is new whenever it comes. `records` is how many a pass over the data has.
    """


@_source(*COMMON, columns=IMAGE_AND_LABEL)
def lmdb(path: str, *, colors: Literal["stored", "color", "gray"] = "stored") -> None:
    """A Caffe LMDB of Datum records (Caffe: Data, LMDB): `image` f32[batch, C, H, W], `label` i32[batch].

    Records come in the order of their keys. Images that are stored as files (JPEG, PNG) are decoded as Caffe decodes
    them, channels blue, green, red; `colors` makes them of three channels, or of one. With `crop` they may differ in
    size.
    """


@_source(*COMMON, columns=IMAGE_AND_LABEL)
def leveldb(path: str, *, colors: Literal["stored", "color", "gray"] = "stored") -> None:
    """A Caffe LevelDB of Datum records (Caffe: Data, LEVELDB), as `lmdb`. Nothing is written into its folder."""


@_source(_batching)
def hdf5(path: str) -> None:
    """A text file with the name of an HDF5 file a line, or one such file (Caffe: HDF5Data): a record a row.

    A column has its array's name; floats become f32, whole numbers i32. Names are relative to the list, else to the
    working folder, or one above the list. A file is read whole when it is needed.
    """


@_source(*COMMON, columns=IMAGE_AND_LABEL)
def windows(
    path: str,
    *,
    root: str = "",
    mode: Literal["warp", "square"] = "warp",
    context: Count = 0,
    foreground: Part = 0.5,
    background: Part = 0.5,
    fraction: Part = 0.25,
    order: Literal["rgb", "bgr"] = "rgb",
) -> None:
    """Windows cut out of images, as R-CNN trains (Caffe: WindowData): `image` f32[batch, 3, H, W], `label` i32[batch].

    `crop`, which must be given, is the size of the square that a window becomes; mode: warped, or made a square first.
    context: pixels around it. foreground, background: the overlap from which on a window has an object, and that below
    which it has none (class 0). fraction: the share of objects in a batch. root: stands before each path of the file;
    without it paths are relative to its folder. Windows are drawn at random, in testing too, as Caffe does.
    """
