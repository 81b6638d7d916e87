"""The Python API: what `import netc` offers. Each function does what the command of its name does, and returns objects.

Everything a file says wrong is raised as `SourceErrors`, every other mistake of a caller's as `UserError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .checking import Problem, check
from .grammar.source import UserError

if TYPE_CHECKING:
    from .compiled import Compiled
    from .overview import Summary
    from .profiling import Report
    from .runtime.history import History

__all__ = ["Problem", "check", "compile", "export", "profile", "summary", "test", "train"]

Mode = Literal["train", "test"]


def compile(
    path: str | Path,
    *,
    mode: Mode = "test",
    net: str | None = None,
    target: str = "numpy",
    device: str = "auto",
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
    wanted; what they do not need, inputs too, is left out. gradients: inputs and parameters whose gradients are
    returned as `<name>.grad`.

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
    from .commands.options import check_device, check_target
    from .compiled import Compiled, Step
    from .driver import compilation

    check_target(target)
    check_device(device)
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
        target=target,
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
    target: str = "numpy",
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    seed: int | None = None,
    notify: Callable[[str], None] | None = None,
) -> list[Path]:
    """Compile a net into a folder that runs with numpy alone: `<net>.py`, `<net>.safetensors`, `manifest.json`.

    weights: files, else those that the net's last run ended with; where there is none, first values from `seed`.
    outputs: without them those that the net calls outputs. notify: told what was chosen.
    """
    from .commands.options import check_target
    from .deploy import deploy
    from .inference import Runner
    from .training import last_weights

    check_target(target)
    runner = Runner(
        Path(path),
        mode=mode,
        net=net,
        dims=dims or {},
        settings=settings or {},
        outputs=outputs or (),
        target=target,
    )
    made = runner.compilation(threads=1)  # so that the folder needs no pool, and BLAS may use its own threads
    state = made.new_state(seed)
    files = [Path(file) for file in weights or ()]
    if not files:
        try:
            files = [last_weights(made.net.name)]
        except UserError:
            _tell(notify, "there are no weights: first values are used (--weights names others)")
    if files:
        state.load(files)
        _tell(notify, f"weights: {', '.join(map(str, files))}")
    return deploy(made.program, made.layout, state, Path(folder))


def _tell(notify: Callable[[str], None] | None, text: str) -> None:
    if notify is not None:
        notify(text)


def train(
    path: str | Path,
    *,
    steps: int | None = None,
    net: str | None = None,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    batch: int | None = None,
    threads: int | None = None,
    data: str | Path | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> History:
    """Train as the `train` blocks of a file say; `steps`, `seed` and `batch` replace what they say.

    folder: where log, curves, snapshots and weights go; without one nothing is written. resume: go on from the folder's
    last snapshot. data: the folder in which data sets are looked for first. quiet: print nothing.

    >>> import netc
    >>> history = netc.train("examples/user_op.net", steps=20, quiet=True)
    >>> len(history.losses)
    20
    >>> bool(history.losses[-1] < history.losses[0])
    True
    """
    from .runtime.progress import Silent
    from .training import Options, open_experiment, train_experiment

    options = Options(
        net=net,
        steps=steps,
        seed=seed,
        batch=batch,
        dims=dims or {},
        settings=settings or {},
        threads=threads,
        data_dir=Path(data) if data is not None else None,
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
    threads: int | None = None,  # noqa: PT028
    data: str | Path | None = None,  # noqa: PT028
) -> dict[str, dict[str, float]]:
    """The means of losses and metrics over the data of each `test:` line, by the data's name."""
    from .training import Options, open_experiment, test_experiment

    files = [weights] if isinstance(weights, str | Path) else list(weights)
    options = Options(
        net=net, settings=settings or {}, threads=threads, data_dir=Path(data) if data is not None else None
    )
    found = test_experiment(open_experiment(path, options), options, [Path(file) for file in files])
    return {name: means for name, (means, _) in found.results.items()}


def profile(
    path: str | Path,
    *,
    mode: Mode = "train",
    net: str | None = None,
    target: str = "numpy",
    device: str = "auto",
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
    from .commands.options import check_device, check_target
    from .driver import compilation
    from .profiling import compare

    check_target(target)
    used = check_device(device)
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
            threads=threads,
        )
        programs.append(made.executables(made.new_state(seed))[0])
    return compare(programs[0], programs[1], net=made.net.name, device=used, threads=made.threads, seconds=seconds)


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
    from .driver import compilation
    from .overview import summarize

    made = compilation(path, mode=mode, net=net, dims=dims, settings=settings, outputs=outputs)
    return summarize(made.net, made.program)
