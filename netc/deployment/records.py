"""Records at a compiled net: what its folder says of them, so that they are treated there as those it was tested on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import Program
from ..compiler.types import TensorType
from ..grammar.source import printable
from ..preprocessing import Preprocessing, class_names, preprocessing

if TYPE_CHECKING:
    from ..driver import Compilation

MEAN = "mean"  # of the files that hold means, `mean.npy`


@dataclass(frozen=True)
class Records:
    """transforms: for each input to whose records anything happens, as JSON. means: images by their files. labels: the
    names of the classes. images: of each input of images the `size` to which files are brought before, and the `order`
    of their channels.
    """

    transforms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    means: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    labels: Sequence[str] = ()
    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def write(self, folder: Path) -> list[Path]:
        """The files of the means."""
        for name, mean in self.means.items():
            np.save(folder / name, mean, allow_pickle=False)
        return [folder / name for name in self.means]

    def manifest(self, program: Program) -> dict[str, Any]:
        """What the manifest says of records."""
        told = {"transforms": dict(self.transforms), "images": dict(self.images), "labels": list(self.labels)}
        return {**told, "ranges": ranges_of(program)}


NO_RECORDS = Records()


def own_mean(name: str) -> bool:
    """Whether a file of a folder holds a mean."""
    return bool(re.fullmatch(rf"{MEAN}(_\d+)?\.npy", name))


def ranges_of(program: Program) -> list[list[Any]]:
    """The numbers that inputs may hold, or flags tell of, as the launchers check them."""
    return [[one.flag or one.input, one.count, one.ignored, one.what, one.reader] for one in program.ranges]


def records_of(made: Compilation, labels: Sequence[str] = ()) -> Records:
    """What the folder of a program says of records. labels: else the names of folders of images, where there are."""
    name, inputs = made.net.name, made.net.inputs
    transforms: dict[str, Mapping[str, Any]] = {}
    means: dict[str, npt.NDArray[np.float32]] = {}
    images: dict[str, Mapping[str, Any]] = {}
    for one in preprocessing(made.experiment, name, inputs).values():
        if inputs[one.input].rank == 4:
            size = one.image_size(tuple(map(int, inputs[one.input].shape)))
            images[one.input] = {"size": list(size), "order": one.setting("order") or "rgb"}
        if not one.plain:
            file = f"{MEAN}{f'_{len(means)}' if means else ''}.npy"
            transforms[one.input], mean = described(one, inputs[one.input], file)
            if mean is not None:
                means[file] = mean
    return Records(transforms, means, [printable(one) for one in labels or class_names(made.experiment, name)], images)


def described(
    before: Preprocessing, type_: TensorType, file: str
) -> tuple[dict[str, Any], npt.NDArray[np.float32] | None]:
    """What happens to the records of an input as JSON, and the mean where that is an image, which a file will hold.

    record: the shape of a record before it is cropped.
    """
    shape = tuple(map(int, type_.shape))
    mean = before.mean_values(shape[1:])
    whole = mean is not None and mean.ndim >= 2 and mean.shape[-2:] != (1, 1)
    record = [shape[1], *before.image_size(shape)] if len(shape) == 4 else list(shape[1:])
    table = {
        "text": printable(str(before).partition(": ")[2]),
        "scale": float(np.float32(before.scale)),
        "mean": [] if mean is None or whole else [float(x) for x in mean.reshape(-1)],
        "mean_file": file if whole else "",
        "crop": list(before.crop),
        "record": record,
    }
    return table, mean if whole else None
