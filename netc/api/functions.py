"""The Python API: what `import netc` offers. Each function does what the command of its name does, and returns objects.

Everything a file says wrong is raised as `SourceErrors`, every other mistake of a caller's as `UserError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..grammar.source import UserError
from .checking import Problem, check

if TYPE_CHECKING:
    from ..report.overview import Summary
    from ..report.profiling import Report
    from ..runtime.history import History
    from .compiled import Compiled

__all__ = ["Problem", "check", "compile", "export", "profile", "summary", "test", "train"]

Mode = Literal["train", "test"]


def compile(
    path: str | Path,
    *,
    mode: Mode = "test",
    net: str | None = None,
    target: str = "auto",
    device: str = "auto",
    precision: str = "f32",
    tf32: bool = False,
    scale_growth: int = 2000,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    gradients: Sequence[str] = (),
    update: bool = True,
    fused: bool = True,
    threads: int | None = None,
    seed: int | None = None,
) -> Compiled:
    """Compile a net of a `.net` file, with first values from `seed` in its state.

    mode: `test` for values, `train` for a training step (forward, backward and the solver's update in one program),
    which commits the update; with `update=False` no parameter moves, but running statistics still follow the batches.
    dims: values of symbolic dimensions, as `{"N": 64}`. settings: of the net, as `{"classes": 20}`. outputs: the values
    wanted; what they do not need, inputs too, is left out. gradients: inputs, parameters, values whose gradients are
    returned as `<name>.grad`. target, device: `numpy` on `cpu`, or `triton` on `cuda` (a GPU) or on `cpu` (an
    interpreter: slow, to check kernels); one of them says the other, and without both it is numpy. precision: `f32`, or
    `bf16` or `f16` for mixed precision; in f16 the scale of the loss doubles after `scale_growth` good steps. tf32:
    products of f32 by TF32, on GPUs.

    >>> import netc, numpy as np
    >>> exe = netc.compile("examples/lenet.net", dims={"N": 2}, outputs=["prob"])
    >>> exe(image=np.zeros((2, 1, 28, 28), np.float32))["prob"].shape
    (2, 10)
    >>> exe.state["score.weight"].shape
    (10, 500)

    >>> step = netc.compile("examples/user_op.net", mode="train", dims={"N": 4})
    >>> x, y = np.zeros((4, 1, 28, 28), np.float32), np.arange(4, dtype=np.int32)
    >>> first = step(image=x, label=y)["nll"]
    >>> bool(step(image=x, label=y)["nll"] < first)
    True
    """
    from ..driver import compilation
    from ..numbers import numbers
    from ..targets import choose
    from .compiled import Compiled, Step

    choice = choose(target, device)
    made = compilation(
        path,
        mode=mode,
        net=net,
        dims=dims,
        settings=settings,
        outputs=outputs,
        gradients=gradients,
        update=update and not gradients,
        fused=fused,
        target=choice.target,
        numbers=numbers(precision, tf32=tf32, growth=scale_growth, target=choice.target),
        device=choice.device,
        threads=threads,
    )
    state = made.new_state(seed)
    return Step(made, state) if made.learns else Compiled(made, state)


def export(
    path: str | Path,
    folder: str | Path,
    *,
    weights: Sequence[str | Path] | None = None,
    mode: Mode = "test",
    net: str | None = None,
    target: str = "auto",
    precision: str = "f32",
    tf32: bool = False,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    archs: Sequence[str] = (),
    update: bool = False,
    seed: int | None = None,
    notify: Callable[[str], None] | None = None,
    told: Callable[[int, int, str], None] | None = None,
) -> list[Path]:
    """Compile a net into a folder that runs with numpy alone: `<net>.py`, `<net>.safetensors`, `manifest.json`.

    weights: files, else those that the net's last run ended with; where there is none, first values from `seed`.
    outputs: without them those that the net calls outputs. notify: told what was chosen.

    With the target `triton` the folder holds kernels compiled for GPUs (archs, as `["cuda:90"]`; without any for all
    that are known), and launchers in Python and C that need the GPU's driver only. update: a training step that learns;
    it begins with first values where weights are not named. told: how many kernels are compiled, of how many, and a
    name.
    """
    from ..compiler.codegen.target import TARGETS, imported, that
    from ..export.exporting import Wish
    from ..numbers import numbers
    from ..targets import choose

    chosen = choose(target).target
    wish = Wish(
        path=Path(path),
        weights=[Path(file) for file in weights or ()],
        mode=mode,
        update=update,
        net=net,
        target=chosen,
        numbers=numbers(precision, tf32=tf32, target=chosen),
        dims=dims or {},
        settings=settings or {},
        outputs=outputs or (),
        seed=seed,
        notify=notify or (lambda text: None),
    )
    if (archs or update) and not TARGETS[chosen].archs:
        those = that(lambda row: row.archs)
        raise UserError(f"--arch and --train compile for GPUs: use --target {those} as well")
    write = imported(f"{TARGETS[chosen].folder}:export")
    found: list[Path] = write(wish, Path(folder), (archs,) if isinstance(archs, str) else archs, told)
    return found


def train(
    path: str | Path,
    *,
    steps: int | None = None,
    net: str | None = None,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    batch: int | None = None,
    target: str = "auto",
    device: str = "auto",
    precision: str = "f32",
    tf32: bool = False,
    scale_growth: int = 2000,
    threads: int | None = None,
    data: str | Path | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> History:
    """Train as the `train` blocks of a file say; `steps`, `seed` and `batch` replace what they say.

    folder: where log, curves, snapshots and weights go; without one nothing is written. resume: go on from the folder's
    last snapshot. data: the folder in which data sets are looked for first. quiet: print nothing. Target, device
    and precision are those of `netc.compile`.

    >>> import netc
    >>> history = netc.train("examples/user_op.net", steps=20, quiet=True)
    >>> len(history.losses)
    20
    >>> bool(history.losses[-1] < history.losses[0])
    True
    """
    from ..numbers import numbers
    from ..runtime.progress import Silent
    from ..targets import choose
    from .training import Options, open_experiment, train_experiment

    choice = choose(target, device)
    options = Options(
        net=net,
        steps=steps,
        seed=seed,
        batch=batch,
        dims=dims or {},
        settings=settings or {},
        threads=threads,
        data_dir=Path(data) if data is not None else None,
        target=choice.target,
        numbers=numbers(precision, tf32=tf32, growth=scale_growth, target=choice.target),
        device=choice.device,
    )
    return train_experiment(
        open_experiment(path, options),
        options,
        folder=Path(folder) if folder is not None else None,
        resume=resume,
        progress=Silent() if quiet else None,
    )


def test(
    path: str | Path,
    weights: str | Path | Sequence[str | Path],
    *,
    net: str | None = None,  # noqa: PT028  (this is no test of pytest's)
    settings: Mapping[str, Any] | None = None,  # noqa: PT028
    target: str = "auto",  # noqa: PT028
    device: str = "auto",  # noqa: PT028
    precision: str = "f32",  # noqa: PT028
    tf32: bool = False,  # noqa: PT028
    threads: int | None = None,  # noqa: PT028
    data: str | Path | None = None,  # noqa: PT028
) -> dict[str, dict[str, float]]:
    """The means of losses and metrics over the data of each `test:` line, by the data's name."""
    from ..numbers import numbers
    from ..targets import choose
    from .training import Options, open_experiment, test_experiment

    choice = choose(target, device)
    files = [weights] if isinstance(weights, str | Path) else list(weights)
    options = Options(
        net=net,
        settings=settings or {},
        threads=threads,
        data_dir=Path(data) if data is not None else None,
        target=choice.target,
        numbers=numbers(precision, tf32=tf32, target=choice.target),
        device=choice.device,
    )
    found = test_experiment(open_experiment(path, options), options, [Path(file) for file in files])
    return {name: means for name, (means, _) in found.results.items()}


def profile(
    path: str | Path,
    *,
    mode: Mode = "train",
    net: str | None = None,
    target: str = "auto",
    device: str = "auto",
    precision: str = "f32",
    tf32: bool = False,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    threads: int | None = None,
    seed: int | None = None,
    seconds: float = 4.0,
) -> Report:
    """Compile a net fused and unfused, run both in turns for about so many seconds, and compare.

    >>> import netc
    >>> report = netc.profile("examples/user_op.net", dims={"N": 8}, seconds=0.1)
    >>> report.fused.kernels < report.unfused.kernels
    True
    """
    from ..driver import compilation
    from ..numbers import numbers
    from ..report.profiling import compare
    from ..targets import choose

    choice = choose(target, device)
    programs = []
    for fused in (True, False):
        made = compilation(
            path,
            mode=mode,
            net=net,
            dims=dims,
            settings=settings,
            outputs=outputs,
            update=None,
            fused=fused,
            target=choice.target,
            numbers=numbers(precision, tf32=tf32, target=choice.target),
            device=choice.device,
            threads=threads,
        )
        programs.append(made.executables(made.new_state(seed))[0])
    return compare(
        programs[0], programs[1], net=made.net.name, device=choice.device, threads=made.threads, seconds=seconds
    )


def summary(
    path: str | Path,
    *,
    mode: Mode = "test",
    net: str | None = None,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
) -> Summary:
    """A net in numbers: layers, shapes, parameters, operations, memory.

    >>> import netc
    >>> netc.summary("examples/lenet.net", outputs=["prob"]).params
    431080
    """
    from ..driver import compilation
    from ..report.overview import summarize

    made = compilation(path, mode=mode, net=net, dims=dims, settings=settings, outputs=outputs)
    return summarize(made.net, made.program)
