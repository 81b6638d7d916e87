"""Referential integrity of a `.net` file: the data and weight files that it names are there, and fit its nets.

Headers alone are read, so that this is quick however much a file holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .compiler.build import Experiment, build
from .compiler.build.nets import checked_sizes
from .compiler.spec import DataSpec, TrainSpec
from .compiler.types import TensorType
from .grammar.source import PlacedError, SourceError, SourceErrors, UserError, placed

if TYPE_CHECKING:
    from .compiler.net import Net
    from .runtime.data import Mode, Stream

DATA, WEIGHTS = "E440", "E441"
HINT = "it is not on this machine; training needs it"


def check_columns(stream: Stream, inputs: Mapping[str, TensorType], data: Sequence[DataSpec], parts: int = 1) -> None:
    """PlacedError where data have no column for an input, or one of another shape. parts: in which a batch is fed."""
    names = ", ".join(one.name for one in data)
    with placed(DATA, data[0].span):
        for name, type_ in inputs.items():
            if name not in stream.columns:
                hint = f"the columns are {', '.join(stream.known)}: rename one, or say `columns: [...]` in the data"
                raise UserError(f"{names}: there is no column for the input `{name}`; {hint}")
            shape, fed = stream.columns[name][0], tuple(map(int, type_.shape))
            if shape != (fed if parts == 1 else (fed[0] * parts, *fed[1:])):
                raise UserError(f"{names}: the column `{name}` is {list(shape)}, the input is {type_}")


def problems(experiment: Experiment, folder: Path | None = None) -> Iterator[SourceError]:
    """What is wrong with the files that a file names; W608 for those that are not here. folder: that of --data."""
    used: set[str] = set()
    for spec in experiment.trains:
        passes: list[tuple[Mode, str, tuple[DataSpec, ...]]] = [("train", spec.net, spec.data)] if spec.data else []
        passes += [("test", test.net or spec.net, (test.data,)) for test in spec.tests]
        for mode, name, data in passes:
            used.update(one.name for one in data)
            yield from _data(data, mode, folder, _net(experiment, spec, mode, name, data))
        if spec.weights:
            yield from _weights(spec, _net(experiment, spec, "train", spec.net, spec.data))
    for name, one in experiment.data.items():
        if name not in used:
            yield from _data((one,), "test", folder, None)


def _net(experiment: Experiment, spec: TrainSpec, mode: Mode, name: str, data: Sequence[DataSpec]) -> Net | None:
    """A net as a `train` block has it; None where that needs what only a command says, or is not complete."""
    dims = {"N": int(data[0].get("batch") or 1)} if data and "N" in checked_sizes(experiment.net(name)) else {}
    settings: dict[str, Any] = {**spec.settings} if name == spec.net else {}
    settings |= {key: one for key, one in experiment.settings.items() if key in experiment.net(name).formals}
    kinds = ("loss", "metric") if mode == "test" else None
    try:
        return build(experiment, name, mode=mode, dims=dims, settings=settings, kinds=kinds)
    except (SourceErrors, UserError):
        return None


def _data(data: tuple[DataSpec, ...], mode: Mode, folder: Path | None, net: Net | None) -> Iterator[SourceError]:
    from .runtime.data import open_data

    inputs = {name: type_ for name, type_ in net.inputs.items() if not name.startswith(".")} if net else {}
    only = inputs if net is not None else None
    try:
        with open_data(data, mode=mode, data_dir=folder, only=only, prefetch=0, notify=lambda note: None) as stream:
            check_columns(stream, inputs, data)
    except PlacedError as error:
        yield _told(error)
    except UserError:  # of a prototxt: its text has no place for it
        return


def _weights(spec: TrainSpec, net: Net | None) -> Iterator[SourceError]:
    from .runtime.loading import Matching, match

    if net is None:
        return
    paths = [spec.folder / name for name in spec.weights or ()]
    infos = [info for info in net.state if not info.name.startswith(".")]
    try:
        with placed(WEIGHTS, spec.weights_span):
            match(paths, infos, Matching(spec.fresh, dict(spec.rename)), values=False)
    except PlacedError as error:
        yield _told(error)


def _told(error: PlacedError) -> SourceError:
    """What is not here is a warning: the text may be right all the same."""
    found = error.error
    return SourceError("W608", found.message, found.span, HINT) if error.absent else found
