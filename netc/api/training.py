"""Training and testing a file's nets: the `train` blocks in order, each on the weights of the one before.

Joins what the driver compiles with the loop of `runtime/train.py`: one state for the training step and its tests,
streams of the data that the block names, a folder for the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.build import Experiment, load
from ..compiler.build.nets import checked_sizes
from ..compiler.program import DataSpec, StateInfo, TestSpec, TrainSpec
from ..driver import Compilation, Mode, Request
from ..grammar.source import UserError
from ..numbers import GROWTH, Numbers
from ..passes.training.flatten import flat_layout
from .diagnose import diagnosis

if TYPE_CHECKING:
    from ..runtime.data import Stream
    from ..runtime.history import History
    from ..runtime.progress import Progress
    from ..runtime.state import State


@dataclass(frozen=True)
class Options:
    """What a run was asked for beside its file. steps and seed replace those of the block."""

    net: str | None = None
    steps: int | None = None
    seed: int | None = None
    batch: int | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    data_dir: Path | None = None
    fused: bool = True
    target: str = "numpy"
    numbers: Numbers = field(default_factory=Numbers)
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.batch is not None and self.dims.get("N", self.batch) != self.batch:
            raise UserError(f"a batch of {self.batch} and the dimension N of {self.dims['N']} contradict each other")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"`steps` takes a whole number from 1 up, not {self.steps}")

    @property
    def records(self) -> int | None:
        """The records of a batch, where they are not those that the data says."""
        return self.dims.get("N", self.batch)

    def applied(self, spec: TrainSpec) -> TrainSpec:
        """A block with what was asked in its place."""
        return replace(
            spec,
            steps=spec.steps if self.steps is None else self.steps,
            seed=spec.seed if self.seed is None else self.seed,
        )


def blocks(experiment: Experiment, options: Options) -> list[TrainSpec]:
    """The `train` blocks of a run (those of one net, if it is named), with the options applied."""
    found = [options.applied(s) for s in experiment.trains if options.net is None or s.net == options.net]
    if not found:
        named = f" for the net `{options.net}`" if options.net else ""
        raise UserError(f"the file has no `train` block{named}: it says what to learn from, and how")
    return found


def open_experiment(path: str | Path, options: Options) -> Experiment:
    """The file, read and checked; UserError where it computes nothing that the options ask about."""
    experiment = load(Path(path), settings=options.settings, dims=options.dims)
    if options.numbers.growth != GROWTH:
        steps = [step_of(experiment, spec, options) for spec in blocks(experiment, options)]
        if not any(step.scaling for step in steps):
            raise UserError(
                "--scale-growth is for the loss that is scaled in f16: use --precision f16, or leave it out"
            )
    return experiment


def train_experiment(
    experiment: Experiment,
    options: Options,
    *,
    folder: Path | None,
    resume: bool = False,
    progress: Progress | None = None,
) -> History:
    """Train by all blocks of a file; the history of the last one.

    folder: where the run keeps log, curves, snapshots and weights; with several blocks each has a folder in it, named
    by its number. resume: go on where the folder's run stopped.
    """
    specs = blocks(experiment, options)
    before: Path | State | None = None
    history: History | None = None
    for number, spec in enumerate(specs, 1):
        own = folder if folder is None or len(specs) == 1 else folder / str(number)
        done = None if own is None else own / f"{spec.net}.safetensors"
        if resume and done is not None and done.exists() and number < len(specs):
            before = done
            continue
        run = Run(experiment, spec, options)
        run.begin(before)
        history = run.train(own, resume=resume and own is not None and own.exists(), progress=progress)
        before = run.state if done is None else done
    assert history is not None
    return history


class Run:
    """One `train` block, compiled, with its state and its data open."""

    def __init__(self, experiment: Experiment, spec: TrainSpec, options: Options) -> None:
        self.experiment, self.spec, self.options = experiment, spec, options
        self.step = step_of(experiment, spec, options)
        self.tests = [(test, self._tested(test)) for test in spec.tests]
        layout = shared_layout([self.step, *(made for _, made in self.tests)])
        self.step.share(layout)
        for _, made in self.tests:
            made.share(layout)
        self.state = self.step.new_state(spec.seed)

    def _tested(self, test: TestSpec) -> Compilation:
        outputs = (*self.step.net.losses, *self.step.net.metrics)
        return _program_of(self.experiment, self.spec, self.options, "test", test.data, outputs)

    def begin(self, before: Path | State | None) -> None:
        """Take weights: those that the block names, else those of the block before."""
        from ..runtime.state import State

        if self.spec.weights is not None:
            files = [self.spec.folder / name for name in self.spec.weights]
            for line in self.state.load(files, fresh=self.spec.fresh).lines():
                self._note(line)
        elif isinstance(before, State):
            from ..runtime.loading import is_fresh

            for name in before:
                kept = name in self.state and not is_fresh(self.state.infos[name], self.spec.fresh)
                if kept and self.state[name].shape == before[name].shape:
                    self.state[name] = before[name]
        elif before is not None:
            self.state.load(before, fresh=self.spec.fresh)

    def _note(self, line: str) -> None:
        import sys

        print(f"netc: {line}", file=sys.stderr)

    def train(self, folder: Path | None, *, resume: bool, progress: Progress | None) -> History:
        """The loop, to its end."""
        from ..runtime.train import train

        options, net = self.options, self.step.net
        programs = self.step.executables(self.state)
        with ExitStack() as stack:
            stream = stack.enter_context(self.stream(self.spec.data, "train", self.step, options.records))
            tests = [
                (test, made.executables(self.state)[-1],
                 stack.enter_context(self.stream((test.data,), "test", made, options.records)))
                for test, made in self.tests
            ]  # fmt: skip
            return train(
                programs[-1],
                stream,
                self.spec,
                losses=net.losses,
                metrics=net.metrics,
                tests=tests,
                accumulate=programs[0] if len(programs) > 1 else None,
                folder=folder,
                resume=resume,
                threads=self.step.threads,
                device=programs[-1].where,
                diagnose=diagnosis(net.graph, self.step.stations["gradient"]),
                progress=progress,
            )

    def stream(self, data: Any, mode: str, made: Compilation, batch: int | None) -> Stream:
        return open_stream(made, data, mode, seed=self.spec.seed, batch=batch, data_dir=self.options.data_dir)


def step_of(experiment: Experiment, spec: TrainSpec, options: Options) -> Compilation:
    """The training step of a block."""
    return _program_of(experiment, spec, options, "train", spec.data[0], None)


def _program_of(
    experiment: Experiment,
    spec: TrainSpec,
    options: Options,
    mode: Mode,
    data: DataSpec,
    outputs: tuple[str, ...] | None,
) -> Compilation:
    """A program of a block's net, for batches as the data or the options say."""
    batch = options.records or int(data.get("batch") or 1)
    has_batch = "N" in checked_sizes(experiment.net(spec.net))
    request = Request(
        mode=mode,
        net=spec.net,
        dims={**({"N": batch} if has_batch else {}), **options.dims},
        outputs=outputs,
        fused=options.fused,
        target=options.target,
        device=options.device,
        threads=options.threads or 0,
        numbers=options.numbers,
    )
    return Compilation(experiment, request, spec=spec)


def shared_layout(compilations: list[Compilation]) -> tuple[StateInfo, ...]:
    """One layout for programs that share a state: all tensors, those of the first in front."""
    infos: dict[str, StateInfo] = {}
    for made in compilations:
        for info in made.net.state:
            infos.setdefault(info.name, info)
    return flat_layout(list(infos.values()))


def open_stream(
    made: Compilation, data: Any, mode: str, *, seed: int, batch: int | None, data_dir: Path | None
) -> Stream:
    """The data of a program, only the columns that it reads; UserError where an input has no column."""
    from ..runtime.data import open_data
    from .labels import label_ranges

    wanted = [name for name in made.net.inputs if not name.startswith(".")]
    stream = open_data(
        tuple(data),
        mode="train" if mode == "train" else "test",
        seed=seed,
        data_dir=data_dir,
        only=wanted,
        batch=batch,
        labels=label_ranges(made.net),
    )
    for name in wanted:
        type_ = made.net.inputs[name]
        if name not in stream.columns:
            stream.close()
            raise UserError(
                f"{', '.join(d.name for d in data)}: there is no column for the input `{name}`; "
                f"the columns are {', '.join(stream.known)}: rename one, or say `columns: [...]` in the data"
            )
        shape = stream.columns[name][0]
        if shape != tuple(map(int, type_.shape)):
            stream.close()
            raise UserError(
                f"{', '.join(d.name for d in data)}: the column `{name}` is {list(shape)}, the input is {type_}"
            )
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


def test_experiment(experiment: Experiment, options: Options, weights: list[Path] | None) -> Tested:
    """Test on the data of each `test:` line of the last block. weights: without any those of the net's last run."""
    from ..runtime.evaluate import evaluate

    spec = blocks(experiment, options)[-1]
    if not spec.tests:
        raise UserError(f"the `train {spec.net}` block has no `test:` line, so there is nothing to test on")
    files = weights or [last_weights(spec.net)]
    run = Run(experiment, spec, options)
    run.state.load(files)
    results = {}
    for test, made in run.tests:
        executable = made.executables(run.state)[-1]
        with run.stream((test.data,), "test", made, options.records) as stream:
            means = evaluate(executable, stream, [*made.net.losses, *made.net.metrics])
        assert means is not None
        results[test.data.name] = means
    return Tested(spec.net, tuple(files), results)


def last_weights(net: str) -> Path:
    """The weights that the last run of a net ended with; UserError where there are none."""
    from ..runtime.folder import RUNS, last_run

    try:
        folder = last_run(net)
    except UserError:
        raise UserError(f"no run of `{net}` is in {RUNS / net}: train it here first, or use --weights") from None
    found = sorted(folder.rglob(f"{net}.safetensors"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(f"{folder}: the last run of `{net}` has not ended, so it has no weights; use --weights")
    return found[-1]
