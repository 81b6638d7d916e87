"""The Python API: what `import netc` offers. Each function does what the command of its name does, and returns objects.

Everything a file says wrong is raised as `SourceErrors`, every other mistake of a caller's as `UserError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arguments import checked, net_of
from ..compiler.kinds import function, refuse, truth, whole, word, words
from ..grammar.source import UserError, path_of
from ..request import Mode, Request, request
from ..stored_models import is_model, untrainable
from ..weights import NONE, Weights
from .checking import Problem, check
from .models import given

if TYPE_CHECKING:
    from ..compiler.host import HostLayer
    from ..runtime.callbacks import Callback, Running
    from ..runtime.history import History
    from ..runtime.state import State
    from .compiled import Compiled

__all__ = ["Problem", "check", "compile", "export", "host_layer", "test", "train"]


def requested(**wanted: Any) -> Request:
    """The request of arguments, each of its kind."""
    return request(**checked(wanted))


def weights_of(name: str, held: Any) -> Weights:
    """Files, or a state that is held in memory; of None those of the last run."""
    from ..runtime.state import State

    if isinstance(held, State):
        return Weights(held=held)
    several = isinstance(held, list | tuple)
    return Weights(tuple(path_of(name, one) for one in (held if several else (held,)))) if held is not None else NONE


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
    update: bool | None = None,
    fused: bool = True,
    threads: int | None = None,
    seed: int | None = None,
    schedules: str | Path | None = None,
    frozen: bool = False,
    state: State | None = None,
    max_memory: str | int | None = None,
    allow_python: bool = False,
) -> Compiled:
    """Compile a net of a `.net` file, or of its text, with first values from `seed` in its state.

    path: as of every function here, the path of a file, or a text, which is a str with a line end in it. A file may be
    a prototxt, of a net or of a solver, and a model of ONNX or a package of the zoo, which has its weights.

    mode: `test` for values, `train` for a training step (forward, backward and the solver's update in one program),
    which commits the update; with `update=False` no parameter moves, but running statistics still follow the batches.
    A file without a `train` block learns nothing, and is refused unless gradients are asked for.
    dims: values of symbolic dimensions, as `{"N": 64}`. settings: of the net, as `{"classes": 20}`. outputs: the values
    wanted; what they do not need, inputs too, is left out. gradients: inputs, parameters, values whose gradients (of
    the loss of the batch, before a step clips or decays them) are returned as `<name>.grad`. target, device: `numpy` on
    `cpu`, or `triton` on `cuda` (a GPU) or on `cpu` (an interpreter: slow, to check kernels); one of them says the
    other, and without both it is numpy. precision: `f32`, or `bf16` or `f16` for mixed precision; in f16 the scale of
    the loss doubles after `scale_growth` good steps. tf32: products of f32 by TF32, on GPUs. schedules: a file of
    measured blocks for a GPU's kernels, as `netc tune` writes; with `frozen` a kernel that is in no file is an error.
    state: of another executable, to be shared with it. max_memory: bytes, or a text as `200M`, that all arrays of a
    step may take: a training step then computes again in its backward pass what would be too much to keep.
    allow_python: whether modules that the file's `host` layers name are imported and run; what `host_layer` made in a
    module that is imported already may run in any case.

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
    from .binding import on_state
    from .compiled import Compiled, Step

    want = requested(
        mode=mode,
        net=net,
        target=target,
        device=device,
        precision=precision,
        tf32=tf32,
        scale_growth=scale_growth,
        dims=dims,
        settings=settings,
        outputs=outputs,
        gradients=gradients,
        update=True if update is None and not words("gradients", gradients) else update,
        fused=fused,
        threads=threads,
        seed=seed,
        schedules=schedules,
        frozen=frozen,
        max_memory=max_memory,
        python=allow_python,
    )
    with given("path", path, want) as one:
        made = compilation(one.file, one.want)
        if state is not None:
            made = on_state(made, state)
        else:
            state = made.new_state()
            if one.weights:
                one.weights.load(state)
    return Step(made, state) if made.learns else Compiled(made, state)


def host_layer(
    forward: Callable[..., Any], backward: Callable[..., Any] | None = None, shapes: Callable[..., Any] | None = None
) -> HostLayer:
    """Python functions as a layer of a net, which calls it as `y = host("module:name", x)`, or `"__main__:name"`.

    forward: takes an array for each operand and returns an array or a tuple of them, also of other sizes at each call.
    backward: takes the gradients by the results, the operands and the results, and returns the gradient by each
    operand, None for 0. shapes: takes the shape of each operand and returns that of the result or a list of them;
    without it there is one result of the first operand's shape.

    >>> import netc
    >>> clip = netc.host_layer(lambda x: x.clip(0, 6), lambda g, x, y: g * ((x > 0) & (x < 6)))
    """
    from ..compiler.host import HostLayer

    if not callable(forward):
        raise refuse("forward", "a function", forward)
    return HostLayer(forward, function("backward", backward), function("shapes", shapes))


def export(
    path: str | Path,
    folder: str | Path,
    *,
    weights: str | Path | Sequence[str | Path] | State | None = None,
    mode: Mode = "test",
    net: str | None = None,
    target: str = "auto",
    precision: str = "f32",
    tf32: bool = False,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    archs: Sequence[str] = (),
    labels: Sequence[str] = (),
    embed: bool = False,
    cc: str = "",
    untrained: bool = False,
    update: bool = False,
    seed: int | None = None,
    schedules: str | Path | None = None,
    frozen: bool = False,
    allow_python: bool = False,
    notify: Callable[[str], None] | None = None,
    told: Callable[[int, int, str], None] | None = None,
) -> list[Path]:
    """Compile a net into a folder that runs with numpy alone: `<net>.py`, `<net>.safetensors`, `manifest.json`.

    weights: files, else those that the net's last run ended with; with `untrained` first values from `seed`.
    outputs: without them those that the net calls outputs. labels: names of the classes, which come along as scale,
    mean and crop of the file's data do. notify: told what was chosen.

    With the target `c` it is C that needs the C library alone; embed: with weights in the source; cc: a C compiler's
    command, which builds the program. With `triton` the folder holds kernels compiled for GPUs (archs, as
    `["cuda:90"]`; without any for all that are known), and launchers in Python and C that need the GPU's driver only.
    update: a training step that learns; it begins with first values where weights are not named. told: how many
    kernels are compiled, of how many, and a name.
    """
    from ..deployment.exporting import export
    from .inference import read_labels

    want = requested(
        mode=mode,
        net=net,
        target=target,
        precision=precision,
        tf32=tf32,
        dims=dims,
        settings=settings,
        outputs=None if outputs is None else words("outputs", outputs) or None,
        update=update,
        seed=seed,
        schedules=schedules,
        frozen=frozen,
        python=allow_python,
        ahead=True,
    )
    files, names = weights_of("weights", weights), words("archs", archs)
    classes = words("labels", labels)
    say = function("notify", notify) or (lambda text: None)
    place = path_of("folder", folder)
    plain = truth("untrained", untrained)
    told = function("told", told)
    with given("path", path, want, files, say) as one:
        return export(
            one.file,
            one.want,
            place,
            one.weights,
            archs=names,
            labels=classes or (read_labels(one.labels) if one.labels is not None else ()),
            embed=truth("embed", embed),
            cc=word("cc", cc),
            untrained=plain,
            told=told,
            notify=say,
        )


def train(
    path: str | Path,
    data: Any = None,
    *,
    steps: int | None = None,
    net: str | None = None,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    batch: int | None = None,
    weights: str | Path | Sequence[str | Path] | State | None = None,
    test_data: Any = None,
    test_every: int = 0,
    callbacks: Callback | Callable[[Running], object] | Sequence[Any] = (),
    target: str = "auto",
    device: str = "auto",
    precision: str = "f32",
    tf32: bool = False,
    scale_growth: int = 2000,
    threads: int | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    display: int | None = None,
    quiet: bool = False,
    schedules: str | Path | None = None,
    frozen: bool = False,
    max_memory: str | int | None = None,
    allow_python: bool = False,
) -> History:
    """Train as the `train` blocks of a file say; `steps`, `seed`, `batch` and `display` replace what they say.

    data: what to learn from, in the place of the file's data: arrays by input, a tuple of arrays in the order of the
    inputs, a data set (`len` and records by number), an iterable of batches or of records, or a function that returns
    an iterator; of numpy, torch or another library. Or a path: the folder in which data sets are looked for first.
    test_data: the same for the `test:` line; where there is none, for a test after every `test_every` steps and the
    last. weights: to begin with. callbacks: functions that are called after each step, or objects as `netc.Callback`.
    folder: where log, curves, snapshots and weights go; without one nothing is written. resume: go on from the folder's
    last snapshot. quiet: print nothing. Target, device, precision, schedules, max_memory (of a training step) and
    allow_python are those of `netc.compile`. What was learned is the history's `state`.

    >>> import netc
    >>> history = netc.train("examples/user_op.net", steps=20, quiet=True)
    >>> len(history.losses)
    20
    >>> bool(history.losses[-1] < history.losses[0])
    True
    """
    from ..runtime.progress import Silent
    from .feeding import Feed
    from .training import Training

    place = path_of("folder", folder) if folder is not None else None
    named = data is None or isinstance(data, str | bytes | PathLike)
    want = requested(
        net=net,
        steps=steps,
        seed=seed,
        batch=batch,
        dims=dims,
        settings=settings,
        threads=threads,
        data=data if named else None,
        target=target,
        device=device,
        precision=precision,
        tf32=tf32,
        scale_growth=scale_growth,
        schedules=schedules,
        frozen=frozen,
        max_memory=max_memory,
        python=allow_python,
    )
    if truth("resume", resume) and place is None:
        raise UserError("`resume` goes on with the run in a folder: name it with `folder`")
    if resume and weights is not None:
        raise UserError("`resume` goes on with the run's own weights: leave out `weights`")
    file = net_of("path", path)
    if isinstance(file, Path) and is_model(file):
        raise untrainable(file)
    training = Training(
        file,
        want,
        weights_of("weights", weights),
        display=whole("display", display, 0) if display is not None else None,
        feed=None if named else Feed("data", data),
        tested=Feed("test_data", test_data) if test_data is not None else None,
        test_every=whole("test_every", test_every, 0),
    )
    told = callbacks if isinstance(callbacks, list | tuple) else (callbacks,)
    progress = Silent() if truth("quiet", quiet) else None
    return training.train(place, resume=resume, progress=progress, callbacks=told)


def test(
    path: str | Path,
    weights: str | Path | Sequence[str | Path] | State | None = None,  # noqa: PT028  (this is no test of pytest's)
    data: Any = None,  # noqa: PT028
    *,
    net: str | None = None,  # noqa: PT028
    settings: Mapping[str, Any] | None = None,  # noqa: PT028
    target: str = "auto",  # noqa: PT028
    device: str = "auto",  # noqa: PT028
    precision: str = "f32",  # noqa: PT028
    tf32: bool = False,  # noqa: PT028
    threads: int | None = None,  # noqa: PT028
    batch: int | None = None,  # noqa: PT028
    schedules: str | Path | None = None,  # noqa: PT028
    frozen: bool = False,  # noqa: PT028
    allow_python: bool = False,  # noqa: PT028
) -> dict[str, dict[str, float]]:
    """The means of losses and metrics over the data of each `test:` line, by the data's name.

    weights: files, or a state; without any those of the net's last run. data: what to test on in the place of those
    lines' data, as `netc.train` takes it; or a path, the folder in which data sets are looked for first.
    """
    from .feeding import Feed
    from .training import test_file

    named = data is None or isinstance(data, str | bytes | PathLike)
    want = requested(
        net=net,
        settings=settings,
        threads=threads,
        data=data if named else None,
        batch=batch,
        target=target,
        device=device,
        precision=precision,
        tf32=tf32,
        schedules=schedules,
        frozen=frozen,
        python=allow_python,
    )
    files, feed = weights_of("weights", weights), None if named else Feed("data", data)
    with given("path", path, want, files) as one:
        found = test_file(one.file, one.want, one.weights, notify=lambda text: None, feed=feed)
    return {name: means for name, (means, _) in found.results.items()}
