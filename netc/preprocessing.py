"""Preprocessing: what a file's data do to a record before the net sees it, as one rule wherever a net is fed.

value = (record - mean) * scale, of a crop in the middle. `netc run` does so with images and with arrays alike, and a
compiled folder takes it along. It is that of the data on which the net is tested, else of those it learns from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .compiler.build.columns import columns_of
from .compiler.spec import DataSpec, Use
from .compiler.types import TensorType

if TYPE_CHECKING:
    from .compiler.build import Experiment
    from .runtime.data.transform import Pixels

Array = npt.NDArray[Any]
MAX_CLASSES = 1 << 16  # folders of a data that are names of classes


@dataclass(frozen=True)
class Preprocessing:
    """What happens to the records of one input.

    data: of the file, where one is for the input. said: its settings, or those that it gives the column.
    """

    input: str
    data: DataSpec | None = None
    said: DataSpec | Use | None = None

    def _get(self, key: str, default: Any = None) -> Any:
        found = self.said.get(key) if self.said is not None else None
        return default if found is None else found

    @property
    def scale(self) -> float:
        return float(self._get("scale", 1.0))

    @property
    def mean(self) -> float | tuple[float, ...] | str | None:
        """A number, one for each channel, or the name of a file; None where nothing is taken off."""
        found = self._get("mean")
        return found or None if isinstance(found, int | float) else found

    @property
    def crop(self) -> tuple[int, ...]:
        """Height and width; empty where nothing is cut off."""
        found = self._get("crop", 0)
        sides = (found, found) if isinstance(found, int) else tuple(map(int, found))
        return sides if all(sides) else ()

    @property
    def plain(self) -> bool:
        """Whether records are taken as they are."""
        return self.scale == 1 and self.mean is None and not self.crop

    def __str__(self) -> str:
        if self.plain:
            return f"{self.input}: values as they are"
        mean = self.mean
        what = "value"
        if mean is not None:
            numbers = [mean] if isinstance(mean, str | int | float) else mean
            shown = ", ".join(one if isinstance(one, str) else f"{one:g}" for one in numbers)
            what = f"value - {shown}" if len(numbers) == 1 else f"value - ({shown})"
        if self.scale != 1:
            what = f"({what}) * {self.scale:g}" if mean is not None else f"{what} * {self.scale:g}"
        cut = f", cropped to {' x '.join(map(str, self.crop))}" if self.crop else ""
        return f"{self.input}: {what}{cut}, as of the data `{self.data.name if self.data else ''}`"

    def setting(self, key: str) -> Any:
        """What the data say of their images besides: `order`, `resize`, `height`, `width`."""
        return self.data.get(key) if self.data is not None else None

    def pixels(self) -> Pixels:
        """The same as the sources of data take it."""
        from .runtime.data.transform import Pixels

        return Pixels(self.scale, self.mean, self.crop)

    def mean_values(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32] | None:
        """What is taken off records of a shape: a number, one for each channel (C, 1, 1), or an image, whatever its
        size; UserError for a file that cannot be read or has other channels."""
        from .runtime.data.source import Place
        from .runtime.data.transform import mean_of

        return mean_of(self.pixels(), shape, Place(*self._place()))

    def image_size(self, shape: Sequence[int]) -> tuple[int, int]:
        """The height and width that images are brought to before they are cropped, for an input [N, C, H, W]."""
        height, width = self.setting("height") or 0, self.setting("width") or 0
        if self.crop and height and width:
            return int(height), int(width)
        if self.crop and isinstance(self.mean, str):
            mean = self.mean_values(tuple(shape[1:]))
            if mean is not None and mean.shape[-2:] != (1, 1):
                return int(mean.shape[-2]), int(mean.shape[-1])
        return int(shape[2]), int(shape[3])

    def _place(self) -> tuple[str, Path]:
        return (self.data.name, self.data.folder) if self.data is not None else (self.input, Path())

    def apply(self, records: Array) -> npt.NDArray[np.float32]:
        """Records of numbers [n, *shape] as the net takes them; UserError where crop or mean do not fit them."""
        from .runtime.data.source import ArraySource, Column, Place
        from .runtime.data.transform import Transform

        stored = records if records.dtype == np.uint8 else records.astype(np.float32)
        columns = {self.input: Column(stored.shape[1:], stored.dtype)}
        source = ArraySource(columns, len(stored), {self.input: lambda: stored}, self.input)
        transform = Transform(source, self.input, self.pixels(), "test", Place(*self._place()))
        out = np.empty((len(stored), *transform.shape), np.float32)
        if transform.whole:
            transform.batch(stored, out)
        else:
            transform.images(source, np.arange(len(stored)), None, out)
        return out


def preprocessing(
    experiment: Experiment, net: str, inputs: Mapping[str, TensorType], *, as_is: bool = False
) -> dict[str, Preprocessing]:
    """What happens to the records of each input of a net; nothing where they are to be taken as they are.

    A column is for the input of its name; the only input that could hold images is for the first column, whatever it is
    called there.
    """
    floats = [name for name, type_ in inputs.items() if type_.is_float and not name.startswith(".")]
    rows = [name for name in floats if inputs[name].rank > 1]
    found = {name: Preprocessing(name) for name in inputs}
    for data in experiment.tested(net):
        first = _first(experiment, data)
        said: dict[str, DataSpec | Use] = {first: data} if first else {}
        said |= {one.name: one for one in data.get("transforms") or ()}
        if len(rows) == 1 and said and not said.keys() & set(floats):
            said = {rows[0]: next(iter(said.values()))}
        found |= {name: Preprocessing(name, data, one) for name, one in said.items() if name in floats}
    return {name: replace(one, said=None) for name, one in found.items()} if as_is else found


def lines_of(found: Mapping[str, Preprocessing]) -> list[str]:
    """What a user is told of it: a line for each input to whose records anything happens."""
    return [f"{one}; --as-is takes values as they are" for one in found.values() if not one.plain]


def _first(experiment: Experiment, data: DataSpec) -> str:
    """The column to which a data's scale, mean and crop are applied; empty where that is not known."""
    columns = columns_of(data)
    if columns is None and experiment.records is not None:  # the file names them, if it is here
        columns = dict.fromkeys(experiment.records([data]))
    return next(iter(columns or {}), "")


def class_names(experiment: Experiment, net: str) -> list[str]:
    """The names of the classes where the data are folders of images, one for each; none elsewhere, or without them."""
    for data in experiment.tested(net):
        if data.source == "images":
            with suppress(OSError, RuntimeError):
                folder = data.folder / Path(str(data.get("path"))).expanduser()
                found = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
                return found if len(found) <= MAX_CLASSES else []
    return []
