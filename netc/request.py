"""Compilation options as one value: which program of a file is wanted, what runs it. Made once, handed on whole.

`request` makes it of what a user says: the flags of a command (`netc/commands/options.py`) or the arguments of a
function of the API. It imports nothing heavy: commands start with it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .compiler.caffe.options import Reading
from .compiler.codegen.target import that
from .compiler.fault import Fault
from .compiler.host import Across
from .grammar.source import TEXT, UserError
from .numbers import GROWTH, Numbers, numbers
from .record_shapes import RecordShapes
from .targets import AUTO, Choice, check_threads, choose
from .tuning_files import TuningFiles

Mode = Literal["train", "test"]
AnyMode = Literal["train", "test", "auto"]


@dataclass(frozen=True)
class Request:
    """Which program of a file is wanted.

    auto: the mode is `train` where a loss is wanted, else `compilation` takes `test`. net: of the file; without it
    that of its last `train` block. dims: values of symbolic dimensions. settings: of the net, or of the `train` block.
    outputs: the values wanted; without it all losses, metrics and (to test) outputs, or, of a net that is `deployed`,
    what it calls outputs; of one that is `measured`, its losses and metrics. gradients: inputs, parameters and any
    other values whose gradients become outputs `<name>.grad`. update: whether a training step learns; None where the
    file has a `train` block, else all gradients, or those asked for, are all of it. fused: False keeps each op a kernel
    of its own. device: what runs it. threads: how many share the work; 0 is one for each core. arch: the GPU it is
    written for; without it the one it runs on. numbers: in which it computes. schedules: the files of measured blocks.

    max_memory: bytes that all arrays of a step may take; a training step recomputes what it must to keep to it.
    batch: records at a time, where that is not the dimension N. ranks: processes that share each batch of a step.
    parts: in which it is computed, added in an order that is the same on any number of processes; else one a process.
    sharded, owner: this process and how many there are, where each has a share of the solver's histories.
    across: those processes, for layers that are synchronized.
    seed, steps: instead of those of the `train` block.
    data: the folder in which data sets are looked for first. python: whether layers in Python may run.
    reading: how texts of Caffe's are read. free: the target was left to netc, so that a long run may have another.
    """

    mode: Mode = "test"
    auto: bool = False
    net: str | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] | None = None
    deployed: bool = False
    measured: bool = False
    gradients: tuple[str, ...] = ()
    update: bool | None = True
    fused: bool = True
    target: str = "numpy"
    threads: int = 0
    device: str = "cpu"
    arch: str = ""
    numbers: Numbers = field(default_factory=Numbers)
    schedules: TuningFiles = field(default_factory=TuningFiles)
    max_memory: int | None = None
    batch: int | None = None
    ranks: int = 1
    parts: int | None = None
    sharded: bool = False
    owner: tuple[int, int] | None = None
    across: Across | None = None
    seed: int | None = None
    steps: int | None = None
    data: Path | None = None
    python: bool = False
    reading: Reading = field(default_factory=Reading)
    free: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ("train", "test"):
            raise UserError(f"the mode is `train` or `test`, not `{self.mode}`")
        check_threads(self.target, self.threads)
        if self.batch is not None and self.dims.get("N", self.batch) != self.batch:
            raise UserError(f"a batch of {self.batch} and the dimension N of {self.dims['N']} contradict each other")
        if self.parts is not None and (self.parts & (self.parts - 1) or self.parts % self.ranks):
            where = f", of which {self.ranks} processes take as many each" if self.ranks > 1 else ""
            raise UserError(f"--parts is a power of two{where}, not {self.parts}")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"`steps` takes a whole number from 1 up, not {self.steps}")

    @property
    def shares(self) -> int:
        """In how many parts a batch of a step is computed."""
        return self.parts or self.ranks

    @property
    def kinds(self) -> tuple[str, ...] | None:
        """The kinds of roles that are wanted where no outputs are named; None: those of the mode."""
        return ("output",) if self.deployed else ("loss", "metric") if self.measured else None

    @property
    def choice(self) -> Choice:
        """The target with the device."""
        return Choice(self.target, self.device)

    @contextmanager
    def repeated(self, file: str | Path, dims: Mapping[str, int]) -> Iterator[None]:
        """A fault inside is told with the command that makes the same program of the file; of a text there is none."""
        try:
            yield
        except Fault as error:
            if file != TEXT:
                error.command = error.command or shlex.join(self._command(file, dims))
            raise

    def _command(self, file: str | Path, dims: Mapping[str, int]) -> list[str]:
        # `verify` where it is for another architecture than this machine's.
        how = ["verify", str(file)] if self.arch else ["show", str(file), "--stage", "source"]
        words = ["netc", *how, "--mode", self.mode, "--target", self.target]
        for name, size in dims.items():
            words += ["--dim", f"{name}={int(size)}"]
        for name, value in self.settings.items():
            words += ["--set", f"{name}={_spelled(value)}"]
        if not self.arch:
            words += [word for name in self.outputs or () for word in ("--output", name)]
            words += [] if self.fused else ["--unfused"]
        precision = self.numbers.precision if self.numbers.precision != "f32" else ""
        threads = str(self.threads) if self.threads else ""
        of = (("net", self.net), ("arch", self.arch), ("precision", precision), ("threads", threads))
        words += [word for flag, value in of if value for word in (f"--{flag}", value)]
        words += ["--tf32"] if self.numbers.tf32 else []
        words += ["--direct"] if self.numbers.direct else []
        return words + (["--allow-python"] if self.python else [])


def _spelled(value: Any) -> str:
    """A setting as --set reads it."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_spelled, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Names as a caller gives them: one, or several."""
    return (given,) if isinstance(given, str) else tuple(given)


def request(
    *,
    mode: AnyMode = "test",
    target: str = AUTO,
    device: str = AUTO,
    precision: str = "f32",
    tf32: bool = False,
    direct: bool = False,
    scale_growth: int = GROWTH,
    schedules: str | Path | None = None,
    frozen: bool = False,
    ahead: bool = False,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    gradients: Sequence[str] = (),
    threads: int | None = None,
    data: str | Path | None = None,
    max_memory: str | int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    lenient: bool = False,
    **others: Any,
) -> Request:
    """The request of what a user says, checked: UserError for what does not go together.

    mode: `auto` is `train` where a loss is wanted, else `test`. target, device: one of them says the other. ahead: it
    is compiled for GPUs that need not be here. others: as they stand in `Request`.
    """
    choice = choose(target, device)
    check_threads(choice.target, threads)
    if (schedules is not None or frozen) and not (choice.measurable or (ahead and choice.row.schedules)):
        flags = f"--target {that(lambda row: row.schedules)}" if ahead else "--device cuda or --target c"
        here = f"the target {choice.target}" if ahead else f"{choice.target} on {choice.device}"
        raise UserError(f"--schedules and --frozen are for what `netc tune` measures, not for {here}: use {flags}")
    return Request(
        mode="train" if mode == "auto" else mode,
        auto=mode == "auto",
        target=choice.target,
        device=choice.device,
        free=target == AUTO,
        numbers=numbers(precision, tf32=tf32, growth=scale_growth, direct=direct, target=choice.target),
        schedules=TuningFiles(Path(schedules) if schedules is not None else None, frozen),
        dims=dims or {},
        settings=settings or {},
        outputs=names(outputs) if outputs is not None else None,
        gradients=names(gradients),
        threads=threads or 0,
        data=Path(data) if data is not None else None,
        max_memory=bytes_of(max_memory) if isinstance(max_memory, str) else max_memory,
        reading=Reading(
            {name: tuple(shape) for name, shape in (shapes or {}).items()},
            lenient,
            RecordShapes(Path(data) if data is not None else None),
        ),
        **others,
    )


def bytes_of(text: str, flag: str = "max-memory") -> int:
    """A size such as `200M` or `1.5G` in bytes; K, M and G are thousands, as in what netc prints. flag: whose it is."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([KMG]?)B?", text.strip(), re.IGNORECASE | re.ASCII)
    size = round(float(found[1]) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}[found[2].upper()]) if found else 0
    if size < 1:
        raise UserError(f"--{flag} wants a size such as 200M or 1.5G, not `{text}`")
    return size
