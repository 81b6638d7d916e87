"""Training and testing a file's nets: the `train` blocks in order, each on the weights of the one before.

Joins what the driver compiles with the loop of `runtime/train.py`: one state for the training step and its tests,
streams of the data that the block names, a folder for the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.build import load
from ..compiler.build.nets import checked_sizes
from ..compiler.program import StateInfo
from ..compiler.spec import DataSpec, TestSpec, TrainSpec
from ..compiler.types import TensorType
from ..compiler.value_ranges import value_ranges
from ..driver import Compilation
from ..grammar.source import Source, UserError, placed, printable
from ..numbers import GROWTH
from ..passes.training.flatten import flat_layout
from ..request import Mode, Request
from ..runtime.caffe.resuming import Began
from ..runtime.distributed.alone import ALONE, Alone
from ..runtime.progress import Silent
from ..stored_files import WEIGHTS, check_columns
from ..weights import NONE, Weights
from .choosing import by_work
from .diagnose import diagnosis
from .feeding import Fed, FedData, Feed, fed_data, open_fed
from .long_runs import with_algorithms
from .sharing import check_same, fingerprint, rows, step_of, tester_of

if TYPE_CHECKING:
    from ..runtime.data import Share, Stream
    from ..runtime.history import History
    from ..runtime.progress import Progress
    from ..runtime.state import State


class Training:
    """The `train` blocks of a file that are asked for (those of one net, if it is named), with their steps.

    group: the processes that train together, of which `want.ranks` says the number.

    weights: to begin with, instead of what the first block says. solver_state: of Caffe's, where that block goes on,
    with the weights that it names unless others are given. display: in the place of the blocks'. feed, tested: data in
    the place of those that the blocks learn from, and of those of their `test:` lines; where they have none it is a
    test after every so many steps, 0 for the last alone. tune: a long run may time its products first. The file is
    read and checked; UserError where it learns nothing, or computes nothing that was asked about.
    """

    def __init__(
        self,
        file: Source | Path,
        want: Request,
        weights: Weights = NONE,
        solver_state: Path | None = None,
        display: int | None = None,
        group: Alone = ALONE,
        *,
        feed: Feed | None = None,
        tested: Feed | None = None,
        test_every: int = 0,
        tune: bool = False,
    ) -> None:
        self.tune = tune
        self.want, self.weights, self.group = want, weights, group
        self.began = Began(solver_state) if solver_state is not None else None
        self.experiment = load(file, settings=want.settings, dims=want.dims, reading=want.reading)
        check_same(group, self.experiment.source.text, want)
        asked = {"steps": want.steps, "seed": want.seed, "display": display}
        own = {name: value for name, value in asked.items() if value is not None}
        trains = [spec for spec in self.experiment.trains if want.net in (None, spec.net)]
        if not trains:
            named = f" for the net `{want.net}`" if want.net else ""
            raise UserError(
                f"{self.experiment.source.path} has no `train` block{named}: it says what to learn from, and how"
            )
        trains = [replace(spec, **own) for spec in trains]  # type: ignore[arg-type]
        self.blocks = [self._fed(spec, feed, tested, test_every) for spec in trains]
        if lacking := [spec for spec in self.blocks if not spec.data]:
            net = f"the net `{lacking[0].net}`"
            raise UserError(f"{net} learns from no data that the file names; in Python they are given: `data=`")
        self.steps = [self.program(spec, "train", spec.data[0]) for spec in self.blocks]
        if want.numbers.growth != GROWTH and not any(step.scaling for step in self.steps):
            raise UserError(
                "--scale-growth is for the loss that is scaled in f16: use --precision f16, or leave it out"
            )

    @property
    def records(self) -> int | None:
        """The records of a batch, where they are not those that the data says."""
        return self.want.dims.get("N", self.want.batch)

    def _fed(self, spec: TrainSpec, feed: Feed | None, tested: Feed | None, every: int) -> TrainSpec:
        """A block with data that the caller gave."""
        if feed is not None:
            first = next(iter(spec.data), None)
            batch = self._batch_of(feed, spec, "train", first)
            shuffle = bool(first.get("shuffle")) if first is not None else True
            spec = replace(
                spec, data=(fed_data(first.name if first is not None else feed.what, feed, batch, shuffle=shuffle),)
            )
        if tested is not None:
            lines = spec.tests or (TestSpec(DataSpec("test", "", (), Path()), every),)
            made = [(line, self._batch_of(tested, spec, "test", line.data)) for line in lines]
            tests = [replace(line, data=fed_data(line.data.name, tested, batch, shuffle=False)) for line, batch in made]
            spec = replace(spec, tests=tuple(tests))
        return spec

    def _batch_of(self, feed: Feed, spec: TrainSpec, mode: Mode, like: DataSpec | None) -> int:
        """The records of a batch of data that the caller gave."""
        if self.records is not None:
            return self.records
        one = DataSpec("", "", (("batch", 1),), Path())
        return feed.batch(
            int(like.get("batch") or 0) if like is not None else 0, lambda: inputs_of(self.program(spec, mode, one))
        )

    def program(self, spec: TrainSpec, mode: Mode, data: DataSpec) -> Compilation:
        """A program of a block's net, for batches as the data or the request say."""
        batch = rows(data, self.records or int(data.get("batch") or 1), mode, self.want)
        has_batch = "N" in checked_sizes(self.experiment.net(spec.net))
        dims = {**self.want.dims, **({"N": batch} if has_batch or "N" in self.want.dims else {})}
        want = replace(self.want, mode=mode, net=spec.net, dims=dims, batch=None)
        if mode == "test":
            want = replace(want, max_memory=None, measured=True)  # the limit is about the step that learns
        return Compilation(self.experiment, want, spec=spec)

    def tested(self, spec: TrainSpec, test: TestSpec) -> Compilation:
        """The program of a test: the losses and metrics of the block's net, or of another one, in test mode."""
        block = spec if not test.net else replace(spec, net=test.net, settings={})
        return self.program(block, "test", test.data)

    def train(
        self,
        folder: Path | None,
        *,
        resume: bool = False,
        progress: Progress | None = None,
        callbacks: Sequence[Any] = (),
    ) -> History:
        """Train by all blocks; the history of the last one.

        folder: where the run keeps log, curves, snapshots and weights; with several blocks each has a folder in it,
        named by its number. resume: go on where the folder's run stopped. callbacks: see `runtime/callbacks.py`.
        """
        before: Path | State | None = None
        history: History | None = None
        numbers = range(1, len(self.blocks) + 1)
        folders = [folder / str(k) if folder and len(numbers) > 1 else folder for k in numbers]
        ends = [at / f"{spec.net}.safetensors" if at else None for at, spec in zip(folders, self.blocks, strict=True)]
        ended = [resume and done is not None and done.exists() for done in ends[:-1]]
        start = self.group.told([*ended, False].index(False))
        before = ends[start - 1] if start else None
        for number, own in [*enumerate(folders)][start:]:
            again = resume and own is not None and own.exists()
            run = Run(self, number, own, resume=again)
            run.begin(before)
            history = run.train(own, resume=again, progress=progress, callbacks=callbacks)
            before = ends[number] or run.state
        assert history is not None
        return history


class Run:
    """One `train` block, compiled, with its state and its data open.

    folder, resume: see `Training.train`; a run that goes on takes the algorithms that its folder keeps.
    """

    def __init__(self, training: Training, number: int, folder: Path | None = None, *, resume: bool = False) -> None:
        self.training, self.number = training, number
        self.spec, self.step = training.blocks[number], training.steps[number]
        self.began = training.began if number == 0 else None
        self.tests = [(test, training.tested(self.spec, test)) for test in self.spec.tests]
        layout = shared_layout([self.step, *(made for _, made in self.tests)])
        self.step.share(layout)
        for _, made in self.tests:
            made.share(layout)
        self.step, programs = by_work(self.spec, self.step, [made for _, made in self.tests], self._note)
        measures = training.tune and training.group.ranks == 1
        self.chosen = with_algorithms(
            self.spec, self.step, programs, folder, self._note, resume=resume, measures=measures
        )
        self.step, programs = self.chosen.step, [*self.chosen.tests]
        self.tests = [(test, made) for (test, _), made in zip(self.tests, programs, strict=True)]
        self.state = self.step.new_state(self.spec.seed)
        if self.step.fit is not None:
            self._note(str(self.step.fit))

    def begin(self, before: Path | State | None) -> None:
        """Take weights: those that the block names, else those of the block before."""
        from ..runtime.state import State

        weights = self._weights()
        if weights:
            given = self.began is not None or (self.number == 0 and self.training.weights)
            with placed(WEIGHTS, None if given else self.spec.weights_span):
                for line in weights.load(self.state, self.spec.fresh):
                    self._note(line)
        elif isinstance(before, State):
            from ..runtime.loading import is_fresh

            for name in before:
                kept = name in self.state and not is_fresh(self.state.infos[name], self.spec.fresh)
                if kept and self.state[name].shape == before[name].shape:
                    self.state[name] = before[name]
        elif before is not None:
            self.state.load(before, fresh=self.spec.fresh)
        if self.began is not None:
            self.began.restore(self.state, self.spec, self.step.net.state)
            self._note(f"goes on after step {self.began.step:,} of {self.began.path}; the data begins anew")

    def _weights(self) -> Weights:
        """The weights that the user names, or the state of Caffe's where the run began, or the block."""
        spec, training = self.spec, self.training
        if self.number == 0 and training.weights:
            return training.weights
        if self.began is not None:
            return Weights((self.began.weights(),))
        return Weights(tuple(spec.folder / name for name in spec.weights or ()), dict(spec.rename))

    def _note(self, line: str) -> None:
        import sys

        if self.training.group.first:
            print(f"netc: {printable(line)}", file=sys.stderr)

    def train(
        self, folder: Path | None, *, resume: bool, progress: Progress | None, callbacks: Sequence[Any] = ()
    ) -> History:
        """The loop, to its end."""
        from ..runtime.train import train

        net, group = self.step.net, self.training.group
        made = self.step.executables(self.state)
        programs = step_of(made, self.spec.accumulate, self.training.want, group)
        with ExitStack() as stack:
            stream = stack.enter_context(self.stream(self.spec.data, "train", self.step))
            tests = [
                (
                    test,
                    tester_of(one.executables(self.state), group),
                    stack.enter_context(self.stream((test.data,), "test", one)),
                )
                for test, one in self.tests
            ]
            text = [one.program.source for one in made[: 1 if self.training.want.owner else None]]
            group.check_same({"program": fingerprint(*text), "data": str(stream.position)})
            if group.first:
                self.chosen.keep(folder, resume=resume)
            history = train(
                programs[-1],
                stream,
                self.spec,
                losses=net.losses,
                metrics=net.metrics,
                tests=tests,
                accumulate=programs[0] if len(programs) > 1 else None,
                folder=folder,
                resume=resume,
                start=self.began.step if self.began is not None else 0,
                threads=self.step.threads,
                device=made[-1].where,
                diagnose=diagnosis(net.graph, self.step.stations["gradient"]),
                progress=progress if group.first else Silent(),
                callbacks=callbacks,
                group=group,
            )
        history.state = self.state
        return history

    def stream(self, data: tuple[DataSpec, ...], mode: Mode, made: Compilation) -> Fed:
        """The data of a program; of each batch the share of this process."""
        from ..runtime.data import Share

        if isinstance(data[0], FedData):
            return open_fed(data[0], inputs_of(made), seed=self.spec.seed, mode=mode)

        want, batch, parts = self.training.want, self.training.records, 1
        if want.shares > 1:
            parts = want.shares // want.ranks if mode == "train" else 1
            batch = int(made.net.dims["N"]) * parts
        share, seed, folder = Share(self.training.group.rank, want.ranks), self.spec.seed, want.data
        return open_stream(made, data, mode, seed=seed, batch=batch, data_dir=folder, share=share, parts=parts)


def shared_layout(compilations: list[Compilation]) -> tuple[StateInfo, ...]:
    """One layout for programs that share a state: all tensors, those of the first in front."""
    infos: dict[str, StateInfo] = {}
    for made in compilations:
        for info in made.net.state:
            held = infos.setdefault(info.name, info)
            if held.type != info.type:
                message = f"`{info.name}` is {info.type} in the net `{made.net.name}`, but {held.type} in the one"
                raise UserError(f"{message} that it shares its state with")
    return flat_layout(list(infos.values()))


def inputs_of(made: Compilation) -> dict[str, TensorType]:
    """What a program's data feed, in the order of the net's inputs."""
    return {name: type_ for name, type_ in made.net.inputs.items() if not name.startswith(".")}


def open_stream(
    made: Compilation,
    data: Any,
    mode: str,
    *,
    seed: int,
    batch: int | None,
    data_dir: Path | None,
    share: Share | None = None,
    parts: int = 1,
) -> Stream:
    """The data of a program, only the columns that it reads; UserError where an input has no column.

    share: the rows that are read here. parts: in how many these are computed.
    """
    from ..runtime.data import open_data

    wanted = [name for name in made.net.inputs if not name.startswith(".")]
    stream = open_data(
        tuple(data),
        mode="train" if mode == "train" else "test",
        seed=seed,
        data_dir=data_dir,
        only=wanted,
        batch=batch,
        ranges=value_ranges(made.net),
        share=share,
        notify=(lambda note: None) if share is not None and share.rank else None,
    )
    try:
        check_columns(stream, {name: made.net.inputs[name] for name in wanted}, tuple(data), parts)
    except UserError:
        stream.close()
        raise
    return stream


@dataclass(frozen=True)
class Tested:
    """The means over the data of each `test:` line, by the data's name, each with the number of records."""

    net: str
    weights: tuple[Path, ...]
    results: Mapping[str, tuple[dict[str, float], int]]

    def as_dict(self) -> dict[str, Any]:
        """The form of `netc test --json`."""
        return {
            "net": self.net,
            "weights": [str(path) for path in self.weights],
            "results": {name: {"values": means, "records": count} for name, (means, count) in self.results.items()},
        }


def test_file(
    file: Source | Path,
    want: Request,
    weights: Weights,
    *,
    notify: Callable[[str], None],
    feed: Feed | None = None,  # noqa: PT028  (no test of pytest's)
) -> Tested:
    """Test on the data of each `test:` line of the last block. weights: without any those of the net's last run.

    notify: told what of them did not match. feed: data in the place of those.
    """
    from ..runtime.evaluate import evaluate

    training = Training(file, want, feed=feed, tested=feed)
    spec = training.blocks[-1]
    if not spec.tests:
        raise UserError(f"the `train {spec.net}` block has no `test:` line, so there is nothing to test on")
    used = weights.or_last(spec.net)
    run = Run(training, -1)
    for line in used.load(run.state):
        notify(line)
    results = {}
    for test, made in run.tests:
        executable = made.executables(run.state)[-1]
        with run.stream((test.data,), "test", made) as stream:
            means = evaluate(executable, stream, [*made.net.losses, *made.net.metrics])
        assert means is not None
        results[test.data.name] = means
    return Tested(spec.net, used.files, results)
