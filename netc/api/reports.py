"""Questions about a net, as functions that return what the commands of their names print: what `import netc` offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..arguments import net_of
from ..compiler.kinds import function, number, truth, word
from ..grammar.source import UserError, path_of
from ..request import AnyMode, Mode
from .functions import requested, weights_of
from .models import Given, given

if TYPE_CHECKING:
    from ..report.explained import Explained
    from ..report.overview import Summary
    from ..report.profiling import Report
    from ..report.shown import Shown
    from ..runtime.state import State
    from ..verification import Verdict
    from .features import Features

__all__ = ["explain", "profile", "run", "show", "summary", "verify"]


def run(
    path: str | Path,
    inputs: Any = None,
    *,
    data: str | Path | None = None,
    weights: str | Path | Sequence[str | Path] | State | None = None,
    net: str | None = None,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    batch: int | None = None,
    as_is: bool = False,
    target: str = "auto",
    device: str = "auto",
    precision: str = "f32",
    tf32: bool = False,
    threads: int | None = None,
    seed: int | None = None,
    schedules: str | Path | None = None,
    frozen: bool = False,
    allow_python: bool = False,
    notify: Callable[[str], None] | None = None,
) -> Features:
    """The outputs of a trained net for all records of what it is given: arrays by name, a row a record.

    inputs: arrays by input, a tuple of arrays in their order, a data set or an iterable of batches as `netc.train`
    takes them; or the path of a `.npz`, or paths of images. data, in its place: the name of a data of the file, or a
    folder of images. weights: files, or a state; without any those of the net's last run. outputs: outputs of the net,
    bound values or layers by name; without any what the net calls outputs. batch: records at a time. as_is: files
    have values as the net takes them, as arrays in memory do; else they are records as the file's data hold them.
    notify: told what of the weights did not match, and what was done to records.

    >>> import netc, numpy as np
    >>> history = netc.train("examples/user_op.net", steps=2, quiet=True)
    >>> x = np.zeros((3, 1, 28, 28), np.float32)
    >>> netc.run("examples/user_op.net", x, weights=history.state, outputs=["prob"])["prob"].shape
    (3, 10)
    """
    from .inference import read_labels

    if (inputs is None) == (data is None):
        raise UserError("give `inputs`, or `data` with the name of a data of the file or a folder of images")
    want = requested(
        net=net,
        dims=dims,
        settings=settings,
        outputs=outputs,
        batch=batch,
        threads=threads,
        seed=seed,
        target=target,
        device=device,
        precision=precision,
        tf32=tf32,
        schedules=schedules,
        frozen=frozen,
        update=None,
        python=allow_python,
    )
    files, say = weights_of("weights", weights), function("notify", notify) or (lambda text: None)
    plain = truth("as_is", as_is)
    with given("path", path, want, files, say) as one:
        found = _rows(one, inputs, data, plain, say)
        return found if one.labels is None or found.classes else replace(found, classes=read_labels(one.labels))


def _rows(one: Given, inputs: Any, data: Any, plain: bool, say: Callable[[str], None]) -> Features:
    """The outputs for what `run` is given."""
    from .features import Features, extract
    from .feeding import Feed
    from .inference import run_files

    file, want, files = one.file, one.want, one.weights
    if data is not None:
        return extract(file, want, path_of("data", data), files, as_is=plain, notify=say)
    listed = [inputs] if isinstance(inputs, str | PathLike) else inputs
    if isinstance(listed, list | tuple) and listed and all(isinstance(one, str | PathLike) for one in listed):
        paths = [path_of("inputs", one) for one in listed]
        arrays, count, classes = run_files(file, want, paths, files, as_is=plain, notify=say)
        return Features(arrays, [str(one) for one in (paths if len(paths) == count else range(count))], classes)
    feed = Feed("inputs", inputs)
    if not feed.in_memory:
        return extract(file, want, feed, files, notify=say)
    arrays, count, classes = run_files(file, want, feed, files, notify=say)
    return Features(arrays, [str(number) for number in range(count)], classes)


def show(
    path: str | Path,
    stage: str = "graph",
    *,
    mode: AnyMode = "auto",
    net: str | None = None,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    target: str = "auto",
    device: str = "auto",
    precision: str = "f32",
    tf32: bool = False,
    threads: int | None = None,
    fused: bool = True,
    allow_python: bool = False,
) -> Shown:
    """A net at any stage of its compilation, as `netc show --stage` has it: the text, and a picture in a notebook.

    >>> import netc
    >>> shown = netc.show("examples/user_op.net", "kernels", dims={"N": 4}, mode="test")
    >>> print(str(shown).splitlines()[0].split(":")[0])
    # user_op (test) for numpy
    >>> shown.svg.startswith("<svg")
    True
    """
    from ..driver import compilation
    from ..report.shown import looked_at, shown, tree_shown

    machine = {"target": target, "device": device, "precision": precision, "tf32": tf32, "threads": threads}
    named = {"net": net, "dims": dims, "settings": settings, "outputs": outputs}
    want = requested(mode=mode, fused=fused, update=None, python=allow_python, **machine, **named)
    known = word("stage", stage)
    with given("path", path, want) as one:
        if known == "ast":
            return tree_shown(one.file, one.want)
        made = compilation(one.file, looked_at(one.want))
        made.net.require_outputs()
        return shown(made, known)


def explain(
    what: str | Path,
    *,
    laws: bool = False,
    whole: bool = False,
    arch: str = "",
    mode: AnyMode = "auto",
    net: str | None = None,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    target: str = "auto",
    device: str = "auto",
    precision: str = "f32",
    tf32: bool = False,
    threads: int | None = None,
    allow_python: bool = False,
) -> Explained:
    """More on an error code (`E310`), a layer, solver or data source (`relu`), or on a net: what `netc explain` says.

    Of a net, by its path or text, what was fused, what was not, and why; with `laws` which laws of arithmetic were
    applied. whole: fused edges too, or laws at each place. arch: the kernels compiled for that GPU.

    >>> import netc
    >>> print(str(netc.explain("E310")).splitlines()[0])
    E310: a layer that does not fit its input
    >>> [row["fused"] for row in netc.explain("examples/user_op.net", dims={"N": 2}, mode="test").rows][:2]
    [True, True]
    """
    from ..driver import compilation
    from ..report.explained import name_explained, net_explained
    from ..report.shown import looked_at

    machine = {"target": target, "device": device, "precision": precision, "tf32": tf32, "threads": threads}
    named = {"net": net, "dims": dims, "settings": settings, "outputs": outputs}
    want = requested(mode=mode, update=None, python=allow_python, **machine, **named)
    file = net_of("what", what)
    of_laws, of_all, gpu = truth("laws", laws), truth("whole", whole), word("arch", arch)
    if isinstance(file, Path) and isinstance(what, str) and file.suffix != ".net" and not file.exists():
        return name_explained(what)
    with given("what", what, want) as one:
        made = compilation(one.file, looked_at(one.want))
        made.net.require_outputs()
        return net_explained(made, laws=of_laws, whole=of_all, arch=gpu)


def verify(
    path: str | Path,
    *,
    mode: Literal["train", "test", "both"] = "both",
    net: str | None = None,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    target: str = "auto",
    device: str = "auto",
    precision: str = "f32",
    tf32: bool = False,
    threads: int | None = None,
    seed: int | None = None,
    safety: float = 4.0,
    budget: float = 60.0,
    allow_python: bool = False,
    notify: Callable[[str], None] | None = None,
) -> Verdict:
    """Compare what a target computes with the oracle in double precision, forward and backward, as `netc verify` does.

    safety: what the likely error of rounding is multiplied by. budget: on a fault, seconds in which a smaller net is
    looked for that still fails. notify: told what is being done.

    >>> import netc
    >>> netc.verify("examples/user_op.net", mode="test").ok
    True
    """
    from ..verification import Wanted
    from ..verification import verify as verified

    if word("mode", mode) not in ("train", "test", "both"):
        raise UserError(f"the mode is `train`, `test` or `both`, not `{mode!s:.40}`")
    want = requested(
        net=net,
        dims=dims,
        settings=settings,
        target=target,
        device=device,
        precision=precision,
        tf32=tf32,
        threads=threads,
        seed=seed,
        update=None,
        python=allow_python,
    )
    modes: tuple[Mode, ...] = ("train", "test") if mode == "both" else (mode,)
    likely, seconds = number("safety", safety, 1), number("budget", budget, 0)
    say = function("notify", notify)
    with given("path", path, want, notify=say) as one:
        return verified(one.file, Wanted(**vars(one.want), modes=modes, safety=likely, budget=seconds), say)


def profile(
    path: str | Path,
    *,
    mode: AnyMode = "auto",
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
    schedules: str | Path | None = None,
    frozen: bool = False,
    max_memory: str | int | None = None,
    allow_python: bool = False,
) -> Report:
    """Compile a net fused and unfused, run both in turns for about so many seconds, and compare.

    mode: `auto` is `train` where a loss is wanted, else `test`.

    >>> import netc
    >>> report = netc.profile("examples/user_op.net", dims={"N": 8}, seconds=0.1)
    >>> report.fused.kernels < report.unfused.kernels
    True
    """
    from ..driver import compilation
    from ..report.profiling import profiled

    want = requested(
        mode=mode,
        net=net,
        target=target,
        device=device,
        precision=precision,
        tf32=tf32,
        dims=dims,
        settings=settings,
        outputs=outputs,
        update=None,
        threads=threads,
        seed=seed,
        schedules=schedules,
        frozen=frozen,
        max_memory=max_memory,
        python=allow_python,
    )
    duration = number("seconds", seconds, 0)
    with given("path", path, want) as one:
        return profiled(compilation(one.file, one.want), duration)


def summary(
    path: str | Path,
    *,
    mode: Mode = "test",
    net: str | None = None,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    allow_python: bool = False,
) -> Summary:
    """A net in numbers: layers, shapes, parameters, operations, memory.

    >>> import netc
    >>> netc.summary("examples/lenet.net", outputs=["prob"]).params
    431080
    """
    from ..driver import compilation
    from ..report.overview import summarize

    want = requested(mode=mode, net=net, dims=dims, settings=settings, outputs=outputs, python=allow_python)
    with given("path", path, want) as one:
        made = compilation(one.file, one.want)
        return summarize(made.net, made.program)
