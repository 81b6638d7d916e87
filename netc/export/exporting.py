"""From a `.net` file to a folder that runs elsewhere: which program, which weights, and for which machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..compiler.codegen.target import TARGETS
from ..grammar.source import UserError
from ..numbers import Numbers

if TYPE_CHECKING:
    from ..compiler.build import Experiment
    from ..driver import Compilation
    from ..runtime.state import State


Told = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Pixels:
    """How the data that a net was tested on makes numbers of pixels: (pixel - mean of its channel) * scale."""

    scale: float
    mean: tuple[float, ...]


@dataclass(frozen=True)
class Wish:
    """What is to be exported. weights: files; without any those of the net's last run, or first values from `seed`.

    update: a training step that learns. outputs: without any those that the net calls outputs.
    """

    path: Path
    weights: Sequence[Path] = ()
    mode: Literal["train", "test"] = "test"
    update: bool = False
    net: str | None = None
    target: str = "numpy"
    numbers: Numbers = field(default_factory=Numbers)
    dims: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    outputs: Sequence[str] = ()
    seed: int | None = None
    notify: Callable[[str], None] = lambda text: None


def needs_triton() -> None:
    """UserError where the compiler of kernels is not installed, or too old."""
    from ..runtime.triton.compile.version import REMEDY, unusable_triton

    if told := unusable_triton():
        raise UserError(f"kernels are compiled by Triton. {told}: {REMEDY}")


def compilation_of(wish: Wish) -> Compilation:
    from ..api.inference import Runner
    from ..driver import Compilation, Request

    if wish.update:
        from ..compiler.build import load

        experiment = load(wish.path, settings=wish.settings, dims=wish.dims)
        net = experiment.net(wish.net).definition.name.name if wish.net is not None else None
        request = Request(
            mode="train", net=net, dims=wish.dims, outputs=tuple(wish.outputs) or None, numbers=wish.numbers
        )
    else:
        runner = Runner(
            wish.path,
            mode=wish.mode,
            net=wish.net,
            dims=wish.dims,
            settings=wish.settings,
            outputs=wish.outputs,
            numbers=wish.numbers,
        )
        experiment, request = runner.experiment, runner.request
    row = TARGETS[wish.target]
    # One thread, so that a folder for numpy needs no pool, and BLAS may use its own; a GPU's has memory of its own.
    device, arch, threads = row.ways[0].device, next(iter(row.archs), ""), int(row.threads)
    return Compilation(experiment, replace(request, target=wish.target, device=device, arch=arch, threads=threads))


def weighted(made: Compilation, wish: Wish) -> State:
    """State with the weights that were asked for; a training step begins with first values where none were."""
    from ..api.training import last_weights

    state = made.new_state(wish.seed)
    files = list(wish.weights)
    if not files and not wish.update:
        with suppress(UserError):
            files = [last_weights(made.net.name)]
    if files:
        state.load(files)
        wish.notify(f"weights: {', '.join(map(str, files))}")
    else:
        said = "a training step begins with" if wish.update else "there are no weights: the folder has"
        wish.notify(f"{said} first values (--weights names others)")
    return state


def pixels_of(experiment: Experiment) -> Pixels | None:
    """How the data that the file tests on makes numbers of pixels; None where that cannot be said in a few numbers."""
    from ..api.inference import test_data

    data = test_data(experiment)
    if data is None:
        return None
    mean, scale = data.get("mean"), data.get("scale", 1.0)
    means = [mean or 0.0] if mean is None or isinstance(mean, int | float) else mean
    if isinstance(means, str) or not isinstance(scale, int | float):
        return None
    return Pixels(float(scale), tuple(float(one) for one in means))


@contextmanager
def kernel_progress() -> Iterator[Told | None]:
    """A bar on a terminal for kernels that are being compiled; nothing elsewhere."""
    import sys

    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("kernels"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task("", total=None)

        def told(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=name)

        yield told
