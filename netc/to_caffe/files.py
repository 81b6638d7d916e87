"""The files of Caffe's that a `.net` becomes: a net to deploy, the one that is trained, its solver, and weights.

Each text is read again and held to its source (`proof.py`) before anything is written.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..compiler.build import Experiment, load
from ..compiler.build.dims import symbols
from ..compiler.caffe.export.solver import NoSolver, solver_of
from ..compiler.caffe.export.sources import NoSource, data_layer
from ..compiler.caffe.export.walk import input_layers
from ..compiler.caffe.options import Reading
from ..compiler.spec import DataSpec, TrainSpec
from ..grammar.caffe.message import Message
from ..grammar.caffe.unparse import text_of
from ..grammar.source import PlacedError, Source, SourceErrors, Span, UserError
from ..request import Request
from ..runtime.atomic import write_text
from .nets import Mode, NetFile, Shapes, Whole, write_net
from .proof import difference

# The batch of a net to deploy, unless --batch gives another.
ALONE = 1


@dataclass
class Files:
    """What is to be written: texts by path, and the nets among them. notes: remarks, in order.

    experiment: of the source; whole: the net with all its parameters, and what it was read to again.
    """

    experiment: Experiment
    target: Path
    texts: dict[Path, str] = field(default_factory=dict)
    nets: dict[Path, NetFile] = field(default_factory=dict)
    read: dict[Path, Experiment] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> Path:
        """The net that has all parameters: the last that was written."""
        return [*self.nets][-1]

    def write(self) -> None:
        """Write all texts."""
        for path, text in self.texts.items():
            write_text(path, text)


def files_of(file: Path, target: Path, request: Request) -> Files:
    """The texts of a net, proved. Raises SourceErrors with all that Caffe cannot say; UserError where one is not equal.

    Of a net with a `train` block that has outputs they are three: the one to deploy, that of both phases, the solver.
    """
    experiment = load(file, settings=request.settings, dims=request.dims, reading=request.reading)
    name = request.net or experiment.default_net()
    spec = experiment.block_of(name)
    own = {key: value for key, value in experiment.settings.items() if key in experiment.net(name).formals}
    settings = {**(spec.settings if spec else {}), **own}
    made = _Making(Files(experiment, target), name, spec, settings, request)
    if spec is None or request.outputs is not None:
        made.net(target, deployed=False)
        return made.files
    whole = target
    if made.has_outputs:
        made.net(target, deployed=True)
        whole = target.with_name(f"{target.stem}_train_test.prototxt")
    made.net(whole, deployed=False)
    made.solver(whole)
    return made.files


@dataclass
class _Making:
    files: Files
    name: str
    spec: TrainSpec | None
    settings: Mapping[str, Any]
    request: Request
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def has_outputs(self) -> bool:
        found = self._dims(deployed=True)
        whole = Whole(self.files.experiment, self.name, self.settings, found, deployed=True, python=self.request.python)
        return bool(whole.phase("test").wanted)

    def _dims(self, *, deployed: bool) -> dict[Mode, dict[str, int]]:
        """The sizes of symbols by mode: the batch is that of the data."""
        entry = self.files.experiment.net(self.name)
        free = "N" in symbols(entry.definition.body, {*entry.module.consts, *entry.formals})
        found: dict[Mode, dict[str, int]] = {}
        modes: tuple[Mode, ...] = ("train", "test")
        for mode in modes:
            data = self._data(mode) if not deployed else ()
            batch = int(data[0].get("batch")) if data else ALONE
            found[mode] = {**({"N": batch} if free else {}), **self.request.dims}
        return found

    def _data(self, mode: Mode) -> tuple[DataSpec, ...]:
        if self.spec is None:
            return ()
        return self.spec.data if mode == "train" else tuple(test.data for test in self.spec.tests[:1])

    def net(self, path: Path, *, deployed: bool) -> None:
        """A net's text, held to its source."""
        files, dims = self.files, self._dims(deployed=deployed or self.request.outputs is not None)
        whole = Whole(
            files.experiment, self.name, self.settings, dims, self.request.outputs, deployed, self.request.python
        )
        written = write_net(whole, None if deployed else self._feeds)
        files.nets[path] = written
        files.texts[path] = f"# From {Path(files.experiment.source.path).name}.\n{written.text}"
        reading = Reading(found={name: shape[1:] for name, shape in self.shapes.items()})
        files.read[path] = load(Source(str(path), files.texts[path]), reading=reading)
        if problem := difference(written, files.experiment, files.read[path]):
            raise UserError(f"{files.experiment.source.path}: has no equal in Caffe's layers: {problem}")
        batches = {dims[mode]["N"] for mode in written.phases if "N" in dims[mode]}
        if batches and "N" not in self.request.dims and not self._data("train"):
            files.notes.append(f"{path.name}: the batch N is {batches.pop()}; --batch gives another")
        files.notes += [note for note in written.notes if note not in files.notes]

    def _feeds(self, mode: Mode, shapes: Shapes, place: Span) -> list[Message]:
        """The layers that bring the inputs of a mode: those of Caffe's where it has all sources, else Inputs."""
        made: list[Message] = []
        left = dict(shapes)
        if self._all_are_caffes(shapes, place):
            for spec in self._data(mode):
                layer, notes = data_layer(spec, left, place, _located)
                made.append(layer)
                self.files.notes += notes
                self.shapes |= {top: left.pop(top) for top in layer.all("top")}
        return [*made, *input_layers(left, place)]

    def _all_are_caffes(self, shapes: Shapes, place: Span) -> bool:
        """Whether the data of both modes are sources of Caffe's; a note about the first that is not."""
        for spec in (*self._data("train"), *self._data("test")):
            try:
                data_layer(spec, shapes, place, _located)
            except NoSource as error:
                told = f"{spec.name}: {error}; inputs are Input layers, which somebody has to feed"
                self.files.notes += [told] if told not in self.files.notes else []
                return False
        return True

    def solver(self, whole: Path) -> None:
        """The solver of a net's file; a note where Caffe has none."""
        files, spec = self.files, self.spec
        assert spec is not None
        path = files.target.with_name(f"{files.target.stem}_solver.prototxt")
        prefix = str(files.target.with_suffix(""))
        weights = [
            _located_path(spec.folder, one) for one in spec.weights or () if one.endswith((".caffemodel", ".h5"))
        ]
        counts = [self._batches(test.data) for test in spec.tests]
        place = files.nets[whole].place
        try:
            message, notes = solver_of(
                spec, place, net=str(whole), test_iterations=counts, weights=weights, prefix=prefix
            )
        except NoSolver as error:
            files.notes.append(f"no solver is written: {error}")
            return
        files.notes += notes
        if spec.weights and len(weights) < len(spec.weights):
            files.notes.append("the weights that it begins with are netc's: write them as a .caffemodel, and name that")
        files.texts[path] = f"# From {Path(files.experiment.source.path).name}.\n{text_of(message)}"
        if problem := self._solver_difference(files.texts[path], whole, counts):
            raise UserError(f"{files.experiment.source.path}: its training has no equal in Caffe's solver: {problem}")

    def _solver_difference(self, text: str, whole: Path, counts: list[int]) -> str:
        """What the solver that was written does otherwise; empty where nothing."""
        spec = self.spec
        assert spec is not None
        with tempfile.TemporaryDirectory(prefix="netc-solver-") as folder:
            net = Path(folder, "net.prototxt")
            net.write_text(self.files.texts[whole])
            named = text.replace(f'net: "{whole}"', f'net: "{net}"')
            reading = Reading(found={name: shape[1:] for name, shape in self.shapes.items()})
            try:
                other = load(Source(str(Path(folder, "solver.prototxt")), named), reading=reading).trains[-1]
            except SourceErrors as errors:
                return errors.errors[0].message
        for key in ("solver", "schedule", "steps", "clip", "accumulate", "seed", "display", "snapshot"):
            if str(getattr(spec, key)) != str(getattr(other, key)):
                return f"{key} is {getattr(spec, key)}, it would be {getattr(other, key)}"
        data = [test.data.source for test in other.tests]
        if data and [test.due(spec.steps) for test in spec.tests] != [test.due(spec.steps) for test in other.tests]:
            return "its tests would be at other times"
        if data and counts != [test.data.get("batches") for test in other.tests]:
            return "its tests would be of other lengths"
        return ""

    def _batches(self, spec: DataSpec) -> int:
        """How many batches a test takes; counted where it goes over all data once."""
        if count := int(spec.get("batches") or 0):
            return count
        from ..runtime.data import open_data

        batch = int(spec.get("batch"))
        try:
            stream = open_data(spec, mode="test", data_dir=self.request.data, prefetch=0, notify=lambda note: None)
        except UserError as error:
            told = error.error.message if isinstance(error, PlacedError) else str(error)
            self.files.notes.append(f"{spec.name}: how many batches a test has is not known ({told}): test_iter is 1")
            return 1
        count = -(-stream.records // batch)
        stream.close()
        return count


def _located(spec: DataSpec, path: str) -> str:
    return _located_path(spec.folder, path)


def _located_path(folder: Path, path: str) -> str:
    """A path beside the `.net` as seen from the working folder, which is where Caffe looks for it."""
    return path if os.path.isabs(path) else os.path.normpath(folder / path)
